"""Times of a layer on a mesh, against sums done by hand."""

import dataclasses

import pytest

from helix_jax.activations.chips import CHIPS, Chip
from helix_jax.activations.links import axis_speed, layer_time
from helix_jax.models import ModelSpec
from helix_jax.models.spec import ExpertSpec

# Attention kernels: 32 * 2 * (32 + 16); feed-forward: 3 * 32 * 64 numbers.
SPEC = ModelSpec("made", 128, 32, 2, 4, 2, 8, 64, 512)
KERNELS = 32 * 2 * (32 + 16) + 3 * 32 * 64
FLOPS = 2 * KERNELS + 4 * 32 * 16  # a token of a text of 16
SLICE = Chip(1e9, 0.9, 1e6, 1e5, 1e5, 1e4)


def time_on(sizes, chip=SLICE, **changes):
    settings = {"dtype": "bfloat16", "length": 16} | changes
    return layer_time(SPEC, sizes, chip, **settings)


def test_one_device_computes_and_reads():
    layer = time_on({})
    assert layer == pytest.approx((FLOPS / 1e6, 0, 0, 2 * KERNELS / 1e5, 0))
    assert layer.tokens_for(0.5) == pytest.approx(0.5 * layer.reading / layer.computing)
    assert time_on({}, dtype="float32").computing == pytest.approx(FLOPS / 1e5)
    assert time_on({}, dtype="int8").reading == pytest.approx(KERNELS / 1e5)


def test_kernels_are_gathered_meanwhile():
    layer = time_on({"data": 1, "fsdp": 4})
    assert layer.gathering == pytest.approx(2 * KERNELS * 3 / 4 / 1e4)
    half = layer.tokens_for(0.5)
    assert layer.share(half) == pytest.approx(0.5)
    assert layer.seconds(half) == layer.gathering
    assert 0.8 < layer.share(100 * half) < 1


def test_sums_are_waited_for():
    """Two of a layer, and half of one of the embedding for each of two layers."""
    layer = time_on({"tensor": 2})
    assert layer.computing == pytest.approx(FLOPS / 2 / 1e6)
    assert layer.reducing == pytest.approx(2.5 * 2 * 32 * 2 * (1 / 2) / 1e4)
    assert layer.tokens_for(0.5) is None
    assert layer.share(1e9) == pytest.approx(
        layer.computing / (layer.computing + layer.reducing)
    )


def test_links_are_shared_and_machines_have_an_adapter_a_gpu():
    v5e, h100 = CHIPS["v5e"], CHIPS["H100"]
    assert axis_speed(v5e, {"fsdp": 256}, "fsdp") == 200e9
    assert axis_speed(v5e, {"fsdp": 16, "tensor": 16}, "tensor") == 100e9
    speeds = {
        sizes: axis_speed(h100, {"fsdp": sizes[0], "tensor": sizes[1]}, "fsdp")
        for sizes in ((8, 1), (32, 1), (4, 8), (4, 4))
    }
    assert speeds == {(8, 1): 450e9, (32, 1): 400e9, (4, 8): 50e9, (4, 4): 100e9}


def test_experts_send_rows_and_are_read_block_by_block():
    """4 experts of 3 * 32 * 64 numbers each, 2 a token, and the router's 32 * 4."""
    mixture = dataclasses.replace(SPEC, experts=ExpertSpec(4, 2))

    def time_of(sizes):
        return layer_time(mixture, sizes, SLICE, dtype="bfloat16", length=16)

    expert = 2 * 3 * 32 * 64
    alone = time_of({})
    assert alone.reading == pytest.approx(
        (2 * KERNELS + 3 * expert + 2 * 32 * 4) / SLICE.read_bytes
    )
    assert alone.blocks == pytest.approx(2 * expert / 64 / SLICE.read_bytes)
    assert alone.reducing == 0
    spread = time_of({"expert": 2})
    gathered, reduced = 2 * 2 * 32 / 2, 4 * 32  # n - 1 of n parts; of n results
    assert spread.reducing == pytest.approx((gathered + reduced) / 1e4)
    assert spread.blocks == alone.blocks
    # Two of the blocks, one of attention, half of one of the embedding.
    cut = time_of({"tensor": 2})
    assert cut.reducing == pytest.approx((2 + 1 + 0.5) * 2 * 32 / 1e4, rel=1e-3)
    assert cut.blocks == alone.blocks / 2
    both = time_of({"expert": 2, "tensor": 2})
    slower = 1e4 / 2 / axis_speed(SLICE, {"expert": 2, "tensor": 2}, "expert")
    assert slower == 1
    assert both.reducing == pytest.approx(
        2 * (spread.reducing + cut.reducing), rel=1e-3
    )
    assert both.tokens_for(0.5) is None
