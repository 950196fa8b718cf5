"""Fused attention against `attend`: what is asked of the kernels, and splash's result.

cuDNN runs on a GPU alone: here XLA computes what is asked of it. Splash attention is
interpreted, and lowered for a TPU.

Tolerance: of the largest, in float32 1e-5, observed below 1e-6; in bfloat16 0.02,
observed 0.006.
"""

import dataclasses

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.models import ModelSpec
from helix_jax.models.attention import attend
from helix_jax.models.kernels import attend_by_kernel, kernel_for
from helix_jax.models.scores import Reach

T, H, K, D = 256, 4, 2, 16
SPEC = ModelSpec("made", 11, 64, 2, H, K, D, 48, T, attention_scale=D**-0.5)
RNG = np.random.default_rng(0)


def inputs(dtype, causal=True, window=None):
    """Queries, keys, values and the reach of two texts, padded on either side."""
    q, k, v = (
        jnp.asarray(RNG.normal(size=(2, heads, T, D)), dtype) for heads in (H, K, K)
    )
    slots = np.arange(T)
    mask = np.stack([slots < 200, slots >= 31])
    positions = jnp.asarray(np.maximum(mask.cumsum(1) - 1, 0), jnp.int32)
    mask = jnp.asarray(mask)
    return (q, k, v, Reach(positions, positions, mask, causal, window)), mask


def difference(found, wanted, mask):
    """Of tokens, over the largest."""
    found, wanted = (np.asarray(x, np.float64) for x in (found, wanted))
    wanted = wanted.reshape(2, T, H, D).swapaxes(1, 2)
    real = np.asarray(mask)[:, None, :, None]
    return np.abs((found - wanted) * real).max() / np.abs(wanted * real).max()


@pytest.mark.parametrize(
    ("causal", "window"), [(True, None), (True, 40), (False, None), (False, 40)]
)
def test_what_is_asked_of_cudnn(causal, window):
    spec = dataclasses.replace(SPEC, causal=causal)
    arrays, mask = inputs(jnp.float32, causal, window)
    found = attend_by_kernel("cuda", *arrays, spec, options={"implementation": "xla"})
    assert difference(found, attend(*arrays, spec), mask) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"windows": (0, 40), "attention_softcap": 3.0},
        {"causal": False, "windows": (40, 40)},
    ],
)
def test_splash_attention(changes):
    spec = dataclasses.replace(SPEC, **changes)
    window = None if spec.windows is None else jnp.int32(40)
    sinks = jnp.asarray(RNG.normal(size=H), jnp.float32) if changes else None
    arrays, mask = inputs(jnp.bfloat16, spec.causal, window)
    found = jax.jit(
        lambda *own: attend_by_kernel(
            "tpu", *own, spec, sinks=sinks, options={"interpret": True}
        )
    )(*arrays)
    assert found.dtype == jnp.bfloat16
    error = difference(found, attend(*arrays, spec, sinks=sinks), mask)
    assert error < 0.02


def test_splash_attention_is_lowered_for_a_tpu():
    spec = dataclasses.replace(SPEC, windows=(0, 40), head_width=64)
    q, k, v = (
        jax.ShapeDtypeStruct((2, heads, 1000, 64), jnp.bfloat16) for heads in (H, K, K)
    )
    ids = jax.ShapeDtypeStruct((2, 1000), jnp.int32)
    mask = jax.ShapeDtypeStruct((2, 1000), bool)

    def run(q, k, v, ids, mask, window):
        reach = Reach(ids, ids, mask, True, window)
        return attend_by_kernel("tpu", q, k, v, reach, spec)

    window = jax.ShapeDtypeStruct((), jnp.int32)
    exported = jax.export.export(jax.jit(run), platforms=("tpu",))
    text = exported(q, k, v, ids, mask, window).mlir_module()
    assert text.count("tpu_custom_call") >= 2  # of each window


def test_which_kernel():
    def chosen(platform, dtype="bfloat16", tokens=T, width=64, sinks=False, **changes):
        by_head = changes.pop("by_head", None)
        reach = Reach(None, None, None, by_head=by_head)
        q = jax.ShapeDtypeStruct((2, H, tokens, width), dtype)
        spec = dataclasses.replace(SPEC, **changes)
        return kernel_for(platform, q, reach, spec, sinks=sinks)

    assert chosen("gpu") == chosen("gpu", "float16") == "cuda"
    assert chosen("tpu") == chosen("tpu", sinks=True, attention_softcap=3.0) == "tpu"
    assert {chosen("cpu"), chosen("gpu", "float32"), chosen("tpu", "float32")} == {None}
    assert chosen("gpu", sinks=True) is None
    assert chosen("gpu", attention_softcap=3.0) is None
    assert chosen("gpu", width=256) is chosen("gpu", width=12) is None
    for platform in ("gpu", "tpu"):
        assert chosen(platform, tokens=100) is None
        assert chosen(platform, by_head=lambda reach: reach) is None
