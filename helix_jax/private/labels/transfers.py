"""Any number of oblivious transfers, from 128 base transfers and hashes.

The receiver of the transfers holds 128 pairs of keys, and the sender one key of each
pair, selected by its secret bits D. For m choices x the receiver expands all keys to
columns of m bits and sends, for each pair,

    u_i = G(k_i0) + G(k_i1) + x,   so that   q_i = G(k_iD) + D_i u_i = t_i + D_i x

with t_i = G(k_i0). Rows j of the two matrices satisfy q_j = t_j + x_j D. The sender
derives what it sends from q_j and q_j + D; the receiver knows the one of the two that
its choice selects.

The check. A receiver could send columns u_i for different x. So it adds 128 random
choices and sends the hash x' = [R I] x and a digest of [R I] t, where R is the bits of
a hash of all u; the sender compares the digest with that of [R I] q + x' D. A column
for an x with another hash passes for only one value of D_i: with c such columns the
receiver passes with probability 2^-c, and then knows c bits of D. All other columns
have the same x, except for collisions, with probability 2^-128 per pair and trial, and
the other 128 - c bits of D stay unknown. After a failed check D must not be used again.
The identity beside R hides x under the random choices.

Reference: Ishai, Kilian, Nissim, Petrank 2003; Keller, Orsini, Scholl 2015, eprint
  2015/546, whose proof has a gap; the check by a hash that is linear over bits, whose
  proof has none: Roy 2022 (SoftSpokenOT), eprint 2022/192, with fields of two elements.
"""

import hashlib

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private.labels.base_transfers import COUNT
from helix_jax.private.sampling import secret_bytes

NONCE_BYTES = 16
MAX_COUNT = 2**17  # transfers of one message
_CHECKED = COUNT // 8 + 32  # bytes of x' and of the digest
_NAME = b"helix_jax transfers 1: "


def message_bytes(count: int) -> int:
    """Bytes of the receiver's message for `count` choices."""
    return NONCE_BYTES + COUNT * _column_bytes(count) + _CHECKED


def choose(
    keys: list[tuple[bytes, bytes]], number: bytes, choices: np.ndarray
) -> tuple[bytes, np.ndarray]:
    """The receiver's message, and its rows.

    Args:
      keys: COUNT pairs.
      number: 16 bytes, of the conversation.
      choices: [m] uint8, 0 or 1.

    Returns:
      (the message, t [m, 2] uint64: 128 bits per choice).
    """
    count, size = len(choices), _column_bytes(len(choices))
    nonce = secret_bytes(NONCE_BYTES)
    own = np.frombuffer(secret_bytes(size), np.uint8).copy()
    own[: count // 8] = 0
    x = np.unpackbits(own)
    x[:count] = choices
    own = np.packbits(x)
    first, second = (
        _columns([pair[side] for pair in keys], nonce + number, size) for side in (0, 1)
    )
    sent = nonce + (first ^ second ^ own).tobytes()
    mixed = _mixing(sent, number, 8 * size)
    rows = np.unpackbits(first, axis=1).T
    hashed = np.packbits(_mix(mixed, x[:, None])[:, 0]).tobytes()
    return sent + hashed + _digest(_mix(mixed, rows)), _packed(rows[:count])


def receive(
    keys: list[bytes], secret: np.ndarray, number: bytes, message: bytes, count: int
) -> np.ndarray:
    """The sender's rows, after the check.

    Args:
      keys: COUNT, one of each pair.
      secret: [COUNT] uint8, the bits D that selected them.
      number: of the conversation.
      message: the receiver's, of `message_bytes`.
      count: m.

    Returns:
      q [m, 2] uint64.

    Raises:
      ProtocolError: the columns do not have the same choices. The keys must not be used
        again.
    """
    size = _column_bytes(count)
    sent, checked = bytes(message[:-_CHECKED]), bytes(message[-_CHECKED:])
    nonce = sent[:NONCE_BYTES]
    received = np.frombuffer(sent[NONCE_BYTES:], np.uint8).reshape(COUNT, size)
    columns = _columns(keys, nonce + number, size) ^ received * secret[:, None]
    rows = np.unpackbits(columns, axis=1).T
    mixed = _mixing(sent, number, 8 * size)
    hashed = np.unpackbits(np.frombuffer(checked[: COUNT // 8], np.uint8))
    expected = _mix(mixed, rows) ^ np.outer(hashed, secret)
    if _digest(expected) != checked[COUNT // 8 :]:
        raise ProtocolError(
            "choices: they fail the check of the transfers, which are given up; agree "
            "on new ones."
        )
    return _packed(rows[:count])


def pack_secret(secret: np.ndarray) -> np.ndarray:
    """D as a row: [2] uint64."""
    return _packed(secret[None])[0]


def _column_bytes(count: int) -> int:
    """Bytes of a column: m choices, padded to whole bytes, and the random ones."""
    return -(-count // 8) + COUNT // 8


def _columns(keys: list[bytes], tweak: bytes, size: int) -> np.ndarray:
    """The expanded keys, [COUNT, size] bytes."""
    expanded = (
        hashlib.shake_128(_NAME + b"column" + key + tweak).digest(size) for key in keys
    )
    return np.frombuffer(b"".join(expanded), np.uint8).reshape(len(keys), size)


def _mixing(sent: bytes, number: bytes, rows: int) -> np.ndarray:
    """R, the bits of a hash of what was sent: [COUNT, rows - COUNT]."""
    size = COUNT * (rows - COUNT) // 8
    data = hashlib.shake_256(_NAME + b"check" + number + sent).digest(size)
    return np.unpackbits(np.frombuffer(data, np.uint8)).reshape(COUNT, -1)


def _mix(mixed: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R I] times bits [rows, n], modulo 2: [COUNT, n] uint8."""
    sums = mixed.astype(np.float32) @ rows[:-COUNT].astype(np.float32)  # below 2^24
    return (sums.astype(np.int32) & 1).astype(np.uint8) ^ rows[-COUNT:]


def _digest(bits: np.ndarray) -> bytes:
    return hashlib.sha256(_NAME + b"digest" + np.packbits(bits).tobytes()).digest()


def _packed(rows: np.ndarray) -> np.ndarray:
    """Bits [m, 128] as [m, 2] uint64."""
    return np.packbits(rows, axis=1).view("<u8")
