"""Layers whose weights do not fit: the same answers, in bounded memory, in pieces."""

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private import PROFILES, Client, Provider, packing, wire
from helix_jax.private.internals import sign_anew
from helix_jax.private.weights import Weights, measure_kernel
from tests.conftest import cases

WIDTH, CLASSES, TILES = 40, 600, 1  # six answers, in two parts of three


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """So that few answers are several parts."""
    monkeypatch.setattr("helix_jax.private.packing.PART", 4)


class Reader:
    """A kernel that is read in slices and remembers how large they were."""

    def __init__(self, kernel: np.ndarray):
        self.kernel, self.shape, self.largest = kernel, kernel.shape, 0

    def __getitem__(self, index):
        block = self.kernel[index]
        self.largest = max(self.largest, block.size)
        return block


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(2)
    kernel = generator.standard_normal((WIDTH, CLASSES)).astype(np.float16)
    x = generator.standard_normal((9, WIDTH)) / 2
    return kernel, generator.standard_normal(CLASSES), x


def make(client, kernel, bias, **settings):
    provider = Provider(
        kernel,
        bias,
        input_norm=8.0,
        profile=client.profile.name,
        tiles=TILES,
        **settings,
    )
    provider.register(client.public_bundle())
    return provider, client.read_layer(provider.layer.to_bytes())


def renumbered(client: Client, query: bytes, number: int) -> bytes:
    return sign_anew(client, query[:24] + bytes([number]) * 16 + query[40:])


@pytest.mark.parametrize(
    ("name", "kept"), cases([("open", 1), ("swift", 0)], ("open", 0), ("swift", 1))
)
@pytest.mark.slow
def test_weights_made_anew_give_the_same_bytes(client, problem, name, kept):
    """None kept, or the first part only: the bytes of a layer that keeps all."""
    kernel, bias, x = problem
    own = client(name)
    whole, layer = make(own, kernel, bias)
    size = whole._prepared.weights.part_bytes
    few, same = make(own, kernel, bias, weights_bytes=(kept + 1) * size - 1)
    assert same == layer
    assert (layer.plan.answers, len(layer.plan.parts)) == (6, 2)
    assert whole._prepared.weights.kept_bytes == 2 * size
    assert few._prepared.weights.kept_bytes == kept * size
    for rows in (x[0], x):  # two groups of queries
        query = own.encrypt(layer, rows)
        answer = whole.answer(query)
        assert few.answer(query) == answer
        found = own.decrypt(answer)
        expected = rows @ kernel.astype(np.float64) + bias
        assert np.abs(found - expected).max() <= layer.error


def test_weights_equal_one_transform(problem):
    kernel, profile = problem[0], PROFILES["guarded"]
    plan = packing.plan_tiles(WIDTH, CLASSES, profile, 2)
    kept, made = (Weights(kernel, 10, plan, profile, size) for size in (2**40, 0))
    assert len(kept) == len(made) == len(plan.parts)
    for one, other in zip(kept, made):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_memory_mapped_file(client, problem, tmp_path):
    kernel, bias, x = problem
    np.save(tmp_path / "kernel.npy", kernel)
    mapped = np.load(tmp_path / "kernel.npy", mmap_mode="r")
    provider, layer = make(client("guarded"), mapped, bias, weights_bytes=0)
    query = client("guarded").encrypt(layer, x[0])
    found = client("guarded").decrypt(provider.answer(query))
    assert np.abs(found - (x[0] @ kernel.astype(float) + bias)).max() <= layer.error


def test_kernels_are_read_in_blocks(client, problem):
    kernel, bias, _ = problem
    wide = Reader(np.tile(kernel, (200, 1)))
    sizes = measure_kernel(wide)
    np.testing.assert_allclose(sizes.sums, np.abs(wide.kernel.astype(float)).sum(0))
    np.testing.assert_allclose(sizes.squares, (wide.kernel.astype(float) ** 2).sum(0))
    assert sizes.largest == np.abs(wide.kernel).max()
    assert wide.largest <= 2**22 < wide.kernel.size
    bad = kernel.copy()
    bad[3, CLASSES - 1] = np.nan
    with pytest.raises(ValueError, match="kernel: values must be finite"):
        make(client("open"), Reader(bad), bias)
    with pytest.raises(TypeError, match="kernel: expected real numbers, got complex"):
        make(client("open"), kernel.astype(complex), bias)


def test_masks_too_large_to_be_prepared(client, problem, monkeypatch):
    """They are made part by part, each afresh."""
    monkeypatch.setattr("helix_jax.private.layer_keys.PREPARED", 5)
    kernel, bias, x = problem
    own = client("guarded")
    provider, layer = make(own, kernel, bias)
    with pytest.raises(ValueError, match="masks of 6 ciphertexts are not prepared"):
        provider.masks(own.key)
    query = own.encrypt(layer, x[0])
    pending = own._pending[query[24:40]]
    payloads = []
    for number in (1, 2):
        answer = provider.answer(renumbered(own, query, number))
        payloads.append(np.frombuffer(answer[wire.HEADER_BYTES :], np.uint8))
        own._pending[bytes([number]) * 16] = pending
        found = own.decrypt(answer)
        expected = x[0] @ kernel.astype(float) + bias
        assert np.abs(found - expected).max() <= layer.error
    assert (payloads[0] == payloads[1]).mean() < 0.01


@pytest.mark.slow
def test_answers_in_pieces(client, problem):
    """Pieces of every length are read, and what is missing or too much is refused."""
    kernel, bias, x = problem
    own = client("open")
    provider, layer = make(own, kernel, bias)
    query = own.encrypt(layer, x)
    pending = own._pending[query[24:40]]
    pieces = list(provider.answer_pieces(query))
    assert len(pieces) == 1 + 2 * 2
    whole = b"".join(pieces)
    expected = own.decrypt(whole)

    def read(parts):
        own._pending[query[24:40]] = pending._replace(read=set())
        return own.decrypt(iter(parts))

    for size in (1000, 77_777, len(whole)):
        cut = [whole[i : i + size] for i in range(0, len(whole), size)]
        np.testing.assert_array_equal(read(cut), expected)
    for parts, message in (
        ([], "is 80 bytes too short"),
        (pieces[:-1], "bytes too short"),
        ([whole[:-1]], "is 1 bytes too short"),
        ([whole, b"", b"x"], "bytes follow the end"),
        ([whole + b"x"], "bytes follow the end"),
        ([whole[:72] + bytes(8) + whole[80:]], "expected sizes"),
    ):
        with pytest.raises(ProtocolError, match=message):
            read(parts)
    del own._pending[query[24:40]]
