"""Garbled circuits beside the same circuits on plain bits."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from helix_jax.private.labels import garbling
from helix_jax.private.labels.argmax import argmax, count_gates, index_bits
from helix_jax.private.labels.garbling import Evaluator, Garbler, colours, where
from tests.conftest import cases

KEY = bytes(range(16))


class Plain:
    """Wires are their values, as labels that are 0 or 1; counts."""

    def __init__(self):
        self.count = 0

    def both(self, a, b):
        self.count += a[..., 0].size
        return a & b

    def invert(self, a):
        return a ^ np.uint64(1)


def plain(bits):
    return np.repeat(bits[..., None], 2, axis=-1).astype(np.uint64)


def garbled(circuit, *inputs, known):
    """Values of a circuit, garbled and evaluated; the last inputs are the garbler's."""
    offset = garbling.draw_offset()
    gates = Garbler(offset, KEY)
    rng = np.random.default_rng()
    false, held = [], []
    for number, bits in enumerate(inputs):
        if number >= len(inputs) - known:
            label = where(bits, offset)
        else:
            label = rng.integers(0, 2**64, (*bits.shape, 2), np.uint64)
        false.append(label)
        held.append(label ^ where(bits, offset))
    out = circuit(gates, *false)
    evaluator = Evaluator(memoryview(gates.tables()), KEY)
    found = circuit(evaluator, *held)
    values = colours(out) ^ colours(found)
    np.testing.assert_array_equal(found, out ^ where(values, offset))
    return values, len(gates.tables())


def random_circuit(seed, length):
    """Forty random gates over all wires so far."""

    def circuit(gates, *wires):
        rng, wires = np.random.default_rng(seed), list(wires)
        for _ in range(length):
            a, b = (wires[i] for i in rng.integers(0, len(wires), 2))
            kind = rng.integers(3)
            wires.append((gates.both(a, b), a ^ b, gates.invert(a))[kind])
        return np.stack(wires)

    return circuit


@pytest.mark.parametrize("seed", cases(range(6), *range(6, 60)))
def test_random_circuits(seed):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 2, (5, 7))
    circuit = random_circuit(seed, 40)
    expected = circuit(Plain(), *plain(inputs))[..., 0]
    found, _ = garbled(circuit, *inputs, known=2)
    np.testing.assert_array_equal(found, expected)


def test_every_and_in_every_colour():
    """All four values, with labels of all colours: 64 gates."""
    a, b = (np.tile(bits, 16) for bits in ([0, 0, 1, 1], [0, 1, 0, 1]))
    found, size = garbled(lambda gates, x, y: gates.both(x, y), a, b, known=0)
    np.testing.assert_array_equal(found, a & b)
    assert size == 64 * garbling.GATE_BYTES


@pytest.mark.parametrize(
    "classes", cases([2, 3, 5, 11], *range(4, 40), 64, 65, 100, 1000)
)
def test_the_label_is_numpys_argmax(classes):
    """Signed numbers under offsets modulo 2^bits, ties and all; and their cost."""
    bits, queries = 6, 25
    rng = np.random.default_rng(classes)
    numbers = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (queries, classes))
    offsets = rng.integers(0, 2**bits, numbers.shape)
    shares = (numbers + offsets) % 2**bits
    wires = [
        (some >> np.arange(bits)[:, None, None] & 1).astype(np.uint8)
        for some in (shares, offsets)
    ]
    gates = Plain()
    expected = argmax(gates, *map(plain, wires))[..., 0]
    found, size = garbled(argmax, *wires, known=1)
    np.testing.assert_array_equal(found, expected)
    labels = (found.astype(int) << np.arange(len(found))[:, None]).sum(axis=0)
    np.testing.assert_array_equal(labels, numbers.argmax(axis=1))
    assert len(found) == index_bits(classes)
    assert gates.count == queries * count_gates(classes, bits)
    assert size == gates.count * garbling.GATE_BYTES


def test_the_hash_is_the_one_of_the_paper():
    """pi(pi(x) + i) + pi(x), by AES one block at a time."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2**64, (5, 2), np.uint64)
    found = garbling.TweakedHash(KEY, b"use")(labels, np.arange(3, 8))
    own = garbling.hashlib.sha256(b"helix_jax labels 1: use" + KEY).digest()[:16]
    cipher = Cipher(algorithms.AES(own), modes.ECB()).encryptor()
    for label, tweak, hashed in zip(labels, range(3, 8), found):
        once = int.from_bytes(cipher.update(label.tobytes()), "little")
        twice = cipher.update((once ^ tweak).to_bytes(16, "little"))
        assert hashed.tobytes() == (int.from_bytes(twice, "little") ^ once).to_bytes(
            16, "little"
        )


def test_a_table_shows_nothing_of_the_garblers_bits():
    """Bits of tables and of held labels are fair whatever the garbler's are."""
    for known in (0, 1):
        offset = garbling.draw_offset()
        gates = Garbler(offset, KEY)
        rng = np.random.default_rng(7)
        labels = rng.integers(0, 2**64, (400, 2), np.uint64)
        gates.both(labels, where(np.full(400, known), offset))
        bits = np.unpackbits(np.frombuffer(gates.tables(), np.uint8))
        assert abs(bits.mean() - 0.5) < 4 / np.sqrt(4 * len(bits))
