"""Oblivious transfers of random keys by Diffie-Hellman: 128 of them start all others.

In transfer i the sender gets two keys, and the receiver the one that its bit b selects:

    sender      y_i, sends B_i = y_i G
    receiver    t_i and a uniform element r_(1 - b); r_b = t_i G - H_b(r_(1 - b));
                sends (r_0, r_1), and has the key K_b(t_i B_i)
    sender      has both keys, K_j(y_i (r_j + H_j(r_(1 - j))))

G generates ristretto255. H_j hashes into the group and K_j to 32 bytes, both including
the numbers of the conversation and of the transfer. r_0 and r_1 are uniform whatever
the bits are, so the sender learns nothing about them. The receiver knows the logarithm
of at most one of the two sums r_j + H_j(r_(1 - j)): whichever hash it computes last
moves its sum to a uniform element. So a receiver with both keys would have solved a
Diffie-Hellman problem. No y is used twice.

Reference: Masny and Rindal 2019, eprint 2019/706 ("endemic" transfers: a
  dishonest party may choose its own keys, which the extension allows); what goes wrong
  if transfers share hashes: McQuoid, Rosulek, Roy 2021, eprint 2021/682.
"""

import hashlib
import os
from collections.abc import Iterator

from helix_jax.private.labels import ristretto
from helix_jax.private.labels.ristretto import BYTES

COUNT = 128
OFFER_BYTES = COUNT * BYTES
REPLY_BYTES = COUNT * 2 * BYTES
_NAME = b"helix_jax base transfers 1: "


def draw_scalars() -> list[int]:
    """Draw the sender's secret scalars y for one conversation."""
    return [ristretto.random_scalar() for _ in range(COUNT)]


def offer(scalars: list[int]) -> bytes:
    """The sender's message: all B_i."""
    return b"".join(ristretto.encode(ristretto.multiply_base(y)) for y in scalars)


def reply(offered: bytes, bits: list[int], number: bytes) -> tuple[bytes, list[bytes]]:
    """The receiver's message, all (r_0, r_1), and its keys.

    Args:
      offered: the sender's message.
      bits: [COUNT] 0 or 1, the keys that the receiver selects.
      number: of the conversation.

    Raises:
      ProtocolError: the message contains bytes that encode no element.
    """
    sent, keys = [], []
    elements = [(part, ristretto.decode(part)) for part in _cut(offered, BYTES)]
    for i, (bit, (theirs, element)) in enumerate(zip(bits, elements)):
        secret = ristretto.random_scalar()
        other = ristretto.from_uniform(os.urandom(ristretto.UNIFORM_BYTES))
        hidden = _hash(number, i, bit, ristretto.encode(other))
        own = ristretto.add(ristretto.multiply_base(secret), ristretto.negate(hidden))
        both = [ristretto.encode(point) for point in (own, other)]
        pair = b"".join(both if bit == 0 else both[::-1])
        shared = ristretto.multiply(secret, element)
        keys.append(_key(number, i, bit, theirs + pair, shared))
        sent.append(pair)
    return b"".join(sent), keys


def open_reply(
    scalars: list[int], offered: bytes, replied: bytes, number: bytes
) -> list[tuple[bytes, bytes]]:
    """The sender's keys, two for each transfer.

    Raises:
      ProtocolError: the receiver's message contains bytes that encode no element.
    """
    keys, pairs = [], []
    for pair in _cut(replied, 2 * BYTES):
        halves = pair[:BYTES], pair[BYTES:]
        pairs.append((halves, [ristretto.decode(half) for half in halves]))
    for i, (y, own, (halves, points)) in enumerate(
        zip(scalars, _cut(offered, BYTES), pairs)
    ):
        found = []
        for j in (0, 1):
            moved = ristretto.add(points[j], _hash(number, i, j, halves[1 - j]))
            shared = ristretto.multiply(y, moved)
            found.append(_key(number, i, j, own + halves[0] + halves[1], shared))
        keys.append((found[0], found[1]))
    return keys


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (bytes(data[i : i + size]) for i in range(0, len(data), size))


def _place(number: bytes, transfer: int, bit: int) -> bytes:
    return number + bytes([transfer, bit])


def _hash(number: bytes, transfer: int, bit: int, element: bytes) -> ristretto.Point:
    """H_bit of an encoded element."""
    text = _NAME + b"hash" + _place(number, transfer, bit) + element
    return ristretto.from_uniform(hashlib.sha512(text).digest())


def _key(
    number: bytes, transfer: int, bit: int, sent: bytes, shared: ristretto.Point
) -> bytes:
    """K_bit of a shared element and of all that was sent for its transfer."""
    text = _NAME + b"key" + _place(number, transfer, bit) + sent
    return hashlib.sha256(text + ristretto.encode(shared)).digest()
