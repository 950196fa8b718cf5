"""Garbled circuits: half gates, free XOR, point and permute.

A wire has two labels of 128 bits, L for false and L + D for true. The garbler chooses D
with last bit 1, so that the last bits of the two labels, their colours, differ. The
evaluator holds one label of each wire and does not know its value. Exclusive or is the
^ of labels; only the garbler acts for "not"; an "and" takes two rows of 16 bytes and
four hashes.

A bit v that the garbler knows is a wire whose held label is zero: L = v D.

Circuits are functions of `gates`, a `Garbler` or an `Evaluator`, with `both` and
`invert` on arrays of labels [..., 2] uint64, which are combined by ^.

The hash is pi(pi(x) + i) + pi(x), where pi is AES-128 under a fresh key for each
circuit: circular correlation robust with tweaks if pi is an ideal permutation.

Reference: Zahur, Rosulek, Evans 2015, eprint 2014/756, figure 2; the hash: Guo, Katz,
  Wang, Yu 2020, eprint 2019/074, section 7.4.
"""

import hashlib
from typing import Protocol

import numpy as np

from helix_jax.extras import optional_imports
from helix_jax.private.sampling import secret_bytes

ROW_BYTES = 16
GATE_BYTES = 2 * ROW_BYTES


class Gates(Protocol):
    """The gates of a circuit, to make it or to evaluate it."""

    def both(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether both wires are true; labels of equal shapes."""

    def invert(self, a: np.ndarray) -> np.ndarray:
        """Whether a wire is false."""


class TweakedHash:
    """The hash of labels, under a key of 16 bytes and for one use."""

    def __init__(self, key: bytes, use: bytes):
        with optional_imports():
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        own = hashlib.sha256(b"helix_jax labels 1: " + use + key).digest()[:16]
        self._cipher = Cipher(algorithms.AES(own), modes.ECB()).encryptor()

    def __call__(self, labels: np.ndarray, tweaks: np.ndarray) -> np.ndarray:
        """Hash labels [n, 2] uint64 with tweaks [n], integers: [n, 2] uint64."""
        once = self._permuted(labels)
        tweaked = once.copy()
        tweaked[:, 0] ^= tweaks.astype(np.uint64)
        return self._permuted(tweaked) ^ once

    def _permuted(self, labels: np.ndarray) -> np.ndarray:
        data = self._cipher.update(np.ascontiguousarray(labels, "<u8").tobytes())
        return np.frombuffer(data, "<u8").reshape(labels.shape)


def draw_offset() -> np.ndarray:
    """A fresh D: [2] uint64, its last bit 1."""
    offset = np.frombuffer(secret_bytes(ROW_BYTES), "<u8").copy()
    offset[0] |= np.uint64(1)
    return offset


def colours(labels: np.ndarray) -> np.ndarray:
    """The last bits of labels [..., 2]: [...] uint64."""
    return labels[..., 0] & np.uint64(1)


def result_tweaks(count: int) -> np.ndarray:
    """Tweaks of the hashes of results, [2, count]: for false, then for true.

    They differ, so that exchanging the two hashes cannot flip a result.
    """
    return np.arange(2 * count).reshape(2, -1)


def where(bits: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The label where a bit is 1, else zero: [..., 2] uint64."""
    return -bits.astype(np.uint64)[..., None] & label


class Garbler:
    """Makes a circuit: wires are represented by their labels of false.

    Attributes:
      offset: D.
    """

    def __init__(self, offset: np.ndarray, key: bytes):
        self.offset, self._hash = offset, TweakedHash(key, b"gates")
        self._rows: list[np.ndarray] = []
        self._count = 0

    def both(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """See `Gates`."""
        shape, a, b = a.shape, a.reshape(-1, 2), b.reshape(-1, 2)
        first, second = _tweaks(self._count, len(a))
        of_a, of_other_a, of_b, of_other_b = np.split(
            self._hash(
                np.concatenate([a, a ^ self.offset, b, b ^ self.offset]),
                np.concatenate([first, first, second, second]),
            ),
            4,
        )
        generator = of_a ^ of_other_a ^ where(colours(b), self.offset)
        evaluator = of_b ^ of_other_b ^ a
        self._rows.append(np.stack([generator, evaluator]))
        self._count += len(a)
        out = of_a ^ where(colours(a), generator)
        return (out ^ of_b ^ where(colours(b), evaluator ^ a)).reshape(shape)

    def invert(self, a: np.ndarray) -> np.ndarray:
        """See `Gates`."""
        return a ^ self.offset

    def tables(self) -> bytes:
        """The rows of all gates so far, GATE_BYTES each."""
        return b"".join(rows.astype("<u8").tobytes() for rows in self._rows)


class Evaluator:
    """Evaluates a circuit: wires are represented by the labels held."""

    def __init__(self, tables: memoryview, key: bytes):
        self._rows = np.frombuffer(tables, "<u8").reshape(-1, 2)
        self._hash, self._count = TweakedHash(key, b"gates"), 0

    def both(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """See `Gates`."""
        shape, a, b = a.shape, a.reshape(-1, 2), b.reshape(-1, 2)
        start, stop = 2 * self._count, 2 * (self._count + len(a))
        generator, evaluator = np.split(self._rows[start:stop], 2)
        hashed = self._hash(
            np.concatenate([a, b]), np.concatenate(_tweaks(self._count, len(a)))
        )
        self._count += len(a)
        of_a, of_b = np.split(hashed, 2)
        out = of_a ^ of_b ^ where(colours(a), generator)
        return (out ^ where(colours(b), evaluator ^ a)).reshape(shape)

    def invert(self, a: np.ndarray) -> np.ndarray:
        """See `Gates`."""
        return a


def _tweaks(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The tweaks of the two halves of each gate."""
    numbers = 2 * np.arange(start, start + count, dtype=np.uint64)
    return numbers, numbers + np.uint64(1)
