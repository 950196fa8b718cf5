"""The masks of a silo's vector: one for each pair of silos, and one of its own.

Silo u sends, modulo 2^128 in every element,

    y_u = x_u + PRG(b_u) + sum_{v > u} PRG(s_uv) - sum_{v < u} PRG(s_uv)

where only u and v know s_uv, and u draws b_u. In the sum over all silos the masks of
pairs cancel. Every key is derived for one session, one use and one ordered pair of
silos, so a session with other public parameters has unrelated masks.

Reference: Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving
  machine learning", CCS, section 4.
"""

import numpy as np

from helix_jax.private.aggregation import primitives
from helix_jax.private.aggregation.int128 import BLOCK, add, blocks, subtract
from helix_jax.private.aggregation.session import PROTOCOL

_ZEROS = bytes(8 * BLOCK)


def add_mask(words: np.ndarray, key: bytes, *, negative: bool = False) -> None:
    """words += PRG(key), or -= if negative, in place.

    The low words are masked with one key stream and the high words with another, both
    expanded one block at a time.

    Args:
      words: [2, L] uint64.
      key: 32 bytes, for this vector only.
      negative: subtract.
    """
    streams = [primitives.key_stream(key, number) for number in (0, 1)]
    mask = np.empty((2, BLOCK), "<u8")
    for part in blocks(words.shape[1]):
        size = part.stop - part.start
        for stream, row in zip(streams, mask):
            stream.update_into(
                memoryview(_ZEROS)[: 8 * size], memoryview(row[:size].view(np.uint8))
            )
        (subtract if negative else add)(words[:, part], mask[:, :size])


def add_pair_mask(
    words: np.ndarray,
    own: int,
    private_key: bytes,
    other: int,
    other_public_key: bytes,
    *,
    session: bytes,
    negative: bool = False,
) -> None:
    """Add silo `own`'s mask for its pair with silo `other`, or remove it.

    Args:
      words: [2, L] uint64, changed in place.
      own: number of the silo whose vector this is.
      private_key: the mask key of one silo of the pair, either of the two.
      other: number of the other silo.
      other_public_key: the public mask key of the other one of the two.
      session: digest of the session.
      negative: remove.
    """
    first, second = min(own, other), max(own, other)
    label = _label(b"pair mask", first, second)
    key = primitives.agree(private_key, other_public_key, salt=session, label=label)
    add_mask(words, key, negative=(own > other) != negative)


def add_self_mask(
    words: np.ndarray, own: int, seed: bytes, *, session: bytes, negative: bool = False
) -> None:
    """Add silo `own`'s self mask, or remove it."""
    label = _label(b"self mask", own)
    key = primitives.derive(seed, salt=session, label=label)
    add_mask(words, key, negative=negative)


def seed_commitment(own: int, seed: bytes, *, session: bytes) -> bytes:
    """A digest with which the aggregator checks a seed that it has reconstructed."""
    return primitives.commitment(seed, salt=session, label=_label(b"seed", own))


def share_key(
    private_key: bytes, public_key: bytes, sender: int, recipient: int, session: bytes
) -> bytes:
    """The key under which `sender` encrypts the shares it sends to `recipient`."""
    label = _label(b"shares", sender, recipient)
    return primitives.agree(private_key, public_key, salt=session, label=label)


def _label(use: bytes, *silos: int) -> bytes:
    return PROTOCOL + b": " + use + b"".join(k.to_bytes(2) for k in silos)
