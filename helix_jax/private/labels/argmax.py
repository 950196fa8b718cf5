"""The circuit of a label: which of k differences of shares is the largest.

Numbers have `bits` bits, modulo 2^bits, lowest bit first: arrays [bits, B, k, 2] of
wires, see `garbling`. The difference of shares is read as signed; equal numbers give
the first class, as in numpy's argmax. A query takes nearly (3 bits - 1) k "and" gates.
"""

import numpy as np

from helix_jax.private.labels.garbling import Gates


def index_bits(classes: int) -> int:
    """Number of bits that a class's index takes."""
    return (classes - 1).bit_length()


def count_gates(classes: int, bits: int) -> int:
    """Number of "and" gates for one query."""
    total, left, known = classes * (bits - 1), classes, 0
    while left > 1:
        pairs = left // 2
        carried = bits if left > 2 else 0
        total += pairs * (bits + carried + known)
        left, known = left - pairs, known + 1
    return total


def argmax(gates: Gates, shares: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The class of the largest of shares - offsets.

    Args:
      gates: of the circuit.
      shares: [bits, B, k, 2] uint64, wires of the results with their offsets, as read.
      offsets: [bits, B, k, 2] uint64, wires of the offsets.

    Returns:
      [index_bits, B, 2] uint64, wires of the class, lowest bit first.
    """
    borrows = _borrows(gates, shares[:-1], offsets[:-1])
    numbers = shares ^ offsets ^ borrows
    # With the highest bit inverted, signed numbers compare like unsigned ones.
    numbers[-1] = gates.invert(numbers[-1])
    index = numbers[:0]
    while numbers.shape[2] > 1:
        pairs = numbers.shape[2] // 2
        low, high = (numbers[:, :, side : 2 * pairs : 2] for side in (0, 1))
        greater = _borrows(gates, low, high)[-1]
        last = numbers.shape[2] == 2
        carried = index if last else np.concatenate([numbers, index])
        low, high = (carried[:, :, side : 2 * pairs : 2] for side in (0, 1))
        chosen = low
        if len(carried):
            chosen = low ^ gates.both(np.broadcast_to(greater, low.shape), low ^ high)
        chosen = np.concatenate([chosen, carried[:, :, 2 * pairs :]], axis=2)
        # A number without a partner wins, as if it were the left one.
        missing = numbers.shape[2] % 2
        greater = np.pad(greater, ((0, 0), (0, missing), (0, 0)))[None]
        known = len(index)
        numbers = chosen[: len(chosen) - known] if not last else greater[:0]
        index = np.concatenate([chosen[len(chosen) - known :], greater])
        if last:
            break
    return index[:, :, 0]


def _borrows(gates: Gates, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Borrows of x - y into every bit and out of the highest: [bits + 1, ..., 2]."""
    found = [np.zeros_like(x[0])]
    for one, other in zip(gates.invert(x), y):
        carry = found[-1]
        found.append(carry ^ gates.both(one ^ carry, other ^ carry))
    return np.stack(found)
