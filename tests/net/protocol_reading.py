"""docs/protocol.md read by the standard library, numpy and primitives of RFCs alone.

Nothing of helix_jax is used here: this is the other implementation.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

WORD = 2**40


class Read(NamedTuple):
    """A message, cut at its offsets."""

    magic: bytes
    version: int
    kind: int
    profile: int
    key: bytes
    number: bytes
    binding: bytes
    sizes: tuple[int, ...]
    length: int
    payload: bytes


def read_message(data: bytes) -> Read:
    """Cut a message."""
    version, kind, profile = struct.unpack("<HBB", data[4:8])
    names = (data[start : start + 16] for start in (8, 24, 40))
    (length,) = struct.unpack("<Q", data[72:80])
    sizes = struct.unpack("<4I", data[56:72])
    return Read(data[:4], version, kind, profile, *names, sizes, length, data[80:])


def is_signed(data: bytes, verifying: bytes) -> bool:
    """Whether its last 64 bytes sign all before them."""
    digest = hashlib.sha256(b"helix_jax private" + data[:-64]).digest()
    try:
        Ed25519PublicKey.from_public_bytes(verifying).verify(data[-64:], digest)
    except InvalidSignature:
        return False
    return True


def integers(data: bytes, width: int) -> list[int]:
    """Little-endian integers of so many bytes."""
    cuts = range(0, len(data), width)
    return [int.from_bytes(data[i : i + width], "little") for i in cuts]


def expand(
    seed: bytes, use: str, name: str, ring: dict[str, Any], count: int = 1
) -> list[list[int]]:
    """Of each prime the residues of `count` polynomials that a seed stands for."""
    domain = f"helix_jax uniform residues 1: {use}/{name}/".encode()
    key, found = hashlib.sha256(domain + seed).digest(), []
    for number, prime in enumerate(ring["primes"]):
        start = struct.pack("<IQI", 0, number, 0)  # counter 0; nonce: the number
        bits = prime.bit_length()
        size = 4 if bits <= 32 else 8
        wanted = count * ring["degree"]
        cipher = Cipher(algorithms.ChaCha20(key, start), mode=None).encryptor()
        stream = cipher.update(bytes(size * 4 * wanted))
        words = (word & (2**bits - 1) for word in integers(stream, size))
        found.append([word for word in words if word < prime][:wanted])
    return found


def _sums(values: list[int], root: int, prime: int) -> list[int]:
    """sum_j values[j] root^(j k) for every k."""
    if len(values) == 1:
        return values
    square = root * root % prime
    even, odd = (_sums(values[i::2], square, prime) for i in (0, 1))
    power, low, high = 1, [], []
    for a, b in zip(even, odd, strict=True):
        turned = power * b % prime
        low.append((a + turned) % prime)
        high.append((a - turned) % prime)
        power = power * root % prime
    return low + high


def _reversed(count: int) -> list[int]:
    width = count.bit_length() - 1
    return [int(f"{i:0{width}b}"[::-1], 2) for i in range(count)]


def transform(coefficients: Sequence[int], root: int, prime: int) -> list[int]:
    """Values at root^(2 rev(i) + 1)."""
    turned = [
        c * pow(root, j, prime) % prime for j, c in enumerate(map(int, coefficients))
    ]
    values = _sums(turned, root * root % prime, prime)
    return [values[k] for k in _reversed(len(values))]


def inverse_transform(values: Sequence[int], root: int, prime: int) -> list[int]:
    """Coefficients, from -p / 2 to p / 2."""
    count, back = len(values), pow(root, -1, prime)
    ordered = [values[k] for k in _reversed(count)]
    sums = _sums(ordered, back * back % prime, prime)
    scale = pow(count, -1, prime)
    found = (c * scale * pow(back, j, prime) % prime for j, c in enumerate(sums))
    return [c - prime if c > prime // 2 else c for c in found]


def negacyclic(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """a b modulo X^N + 1, over the integers: one product of long integers."""
    count, size = len(a), 16
    longs = []
    for part in (a, b):  # of both signs: the positive part less the negative
        signs = [[max(sign * int(c), 0) for c in part] for sign in (1, -1)]
        longs.append(
            [
                int.from_bytes(
                    b"".join(c.to_bytes(size, "little") for c in one), "little"
                )
                for one in signs
            ]
        )
    total = [0] * (2 * count)
    for i, x in enumerate(longs[0]):
        for j, y in enumerate(longs[1]):
            raw = integers((x * y).to_bytes(2 * count * size, "little"), size)
            total = [t + (1 - 2 * (i ^ j)) * r for t, r in zip(total, raw, strict=True)]
    return [total[i] - total[i + count] for i in range(count)]


def secret_of(signs: str) -> list[int]:
    """Coefficients of a secret that is written as signs."""
    return ["-0+".index(sign) - 1 for sign in signs]


def open_words(
    first: Sequence[int],
    second: Sequence[int],
    positions: Sequence[int],
    secret: Sequence[int],
) -> np.ndarray:
    """Phases as fractions of q, from -1/2 to 1/2, of one pair of words."""
    product = negacyclic(second, secret)
    words = [(w + product[i]) % WORD for w, i in zip(first, positions, strict=True)]
    return np.array([w - WORD if w >= WORD // 2 else w for w in words]) / WORD


class Hash:
    """The hash of labels: 16 bytes as one integer."""

    def __init__(self, key: bytes, use: bytes):
        own = hashlib.sha256(b"helix_jax labels 1: " + use + key).digest()[:16]
        self._cipher = Cipher(algorithms.AES(own), modes.ECB()).encryptor()

    def _permuted(self, label: int) -> int:
        return int.from_bytes(
            self._cipher.update(label.to_bytes(16, "little")), "little"
        )

    def __call__(self, label: int, tweak: int) -> int:
        once = self._permuted(label)
        return self._permuted(once ^ tweak) ^ once


class Evaluated:
    """A garbled circuit, evaluated: wires are labels as integers."""

    def __init__(self, tables: bytes, key: bytes):
        self._rows, self._hash, self._done = (
            integers(tables, 16),
            Hash(key, b"gates"),
            0,
        )

    def both(self, a: list[int], b: list[int]) -> list[int]:
        """The "and"s of one step: of all first their left rows, then the right ones."""
        count, done = len(a), self._done
        rows = self._rows[2 * done : 2 * (done + count)]
        self._done += count
        found = []
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            out = self._hash(x, 2 * (done + i)) ^ self._hash(y, 2 * (done + i) + 1)
            out ^= rows[i] * (x & 1) ^ (rows[count + i] ^ x) * (y & 1)
            found.append(out)
        return found

    def borrows(self, x: list[list[int]], y: list[list[int]]) -> list[list[int]]:
        """Into every bit and out of the last, of x - y."""
        found = [[0] * len(x[0])]
        for one, other in zip(x, y, strict=True):
            carry = found[-1]
            both = self.both(_xor(one, carry), _xor(other, carry))
            found.append(_xor(carry, both))
        return found

    def largest(self, shares: list[list[int]]) -> list[int]:
        """Wires of the place of the largest, lowest first; shares[bit][class]."""
        nothing = [[0] * len(shares[0])] * len(shares)
        borrows = self.borrows(shares[:-1], nothing[:-1])
        numbers = [_xor(one, other) for one, other in zip(shares, borrows, strict=True)]
        index: list[list[int]] = []
        while len(numbers[0]) > 1:
            pairs, last = len(numbers[0]) // 2, len(numbers[0]) == 2
            even, odd = ([bit[i : 2 * pairs : 2] for bit in numbers] for i in (0, 1))
            greater = self.borrows(even, odd)[-1]
            carried = index if last else numbers + index
            low, high = ([bit[i : 2 * pairs : 2] for bit in carried] for i in (0, 1))
            differ = [bit for a, b in zip(low, high, strict=True) for bit in _xor(a, b)]
            picked = self.both(greater * len(low), differ)
            chosen = [
                _xor(bit, picked[i * pairs : (i + 1) * pairs]) + carried[i][2 * pairs :]
                for i, bit in enumerate(low)
            ]
            greater = greater + [0] * (len(numbers[0]) % 2)
            known = len(index)
            index = [*chosen[len(chosen) - known :], greater]
            numbers = [greater] if last else chosen[: len(chosen) - known]
            if last:
                break
        return [bit[0] for bit in index]


def _xor(a: list[int], b: list[int]) -> list[int]:
    return [x ^ y for x, y in zip(a, b, strict=True)]
