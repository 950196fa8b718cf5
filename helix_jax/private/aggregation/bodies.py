"""Bodies of messages: sets of silos, tables over them, vectors.

A set is one bit per silo. A table is the set of silos that have an entry, followed by
the entries, in order and of equal size. So every size follows from the session and the
sets, and is checked before a byte is copied. `pack_...` writes; `take_...` reads from
the start of a body, and returns the rest too.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private.aggregation.session import Session


def set_bytes(session: Session) -> int:
    """Size of a set."""
    return (len(session.members) + 7) // 8


def pack_set(session: Session, silos: Iterable[int]) -> bytes:
    """A set of silos as bytes, one bit per silo."""
    bits = sum(1 << (k - 1) for k in set(silos))
    return bits.to_bytes(set_bytes(session), "little")


def pack_table(session: Session, entries: Mapping[int, bytes]) -> bytes:
    """A set and one entry for each of its silos, in order."""
    return b"".join(
        [pack_set(session, entries), *(entries[k] for k in sorted(entries))]
    )


def take_set(session: Session, body: memoryview) -> tuple[frozenset[int], memoryview]:
    """Read a set from the start of a body; returns it and the rest."""
    size = set_bytes(session)
    if len(body) < size:
        raise ProtocolError(f"take_set: needs {size} bytes, {len(body)} are left.")
    bits = int.from_bytes(body[:size], "little")
    if bits >> len(session.members):
        raise ProtocolError(
            f"take_set: the set names silos beyond {len(session.members)}."
        )
    return frozenset(k for k in session.numbers if bits >> (k - 1) & 1), body[size:]


def take_table(
    session: Session, body: memoryview, entry_bytes: int
) -> tuple[dict[int, bytes], memoryview]:
    """Read a table from the start of a body; returns it and the rest."""
    silos, body = take_set(session, body)
    size = len(silos) * entry_bytes
    if len(body) < size:
        raise ProtocolError(f"take_table: needs {size} bytes, {len(body)} are left.")
    entries = {
        k: bytes(body[i * entry_bytes : (i + 1) * entry_bytes])
        for i, k in enumerate(sorted(silos))
    }
    return entries, body[size:]


def take_all(body: memoryview) -> None:
    """Raise ProtocolError if bytes of a body are left."""
    if len(body):
        raise ProtocolError(f"take_all: {len(body)} bytes too many.")


def require_one_share(self_seeds: Iterable[int], mask_keys: Iterable[int]) -> None:
    """Raise if both secrets of one silo are requested: together they unmask it."""
    both = sorted(set(self_seeds) & set(mask_keys))
    if both:
        raise KeyRoleError(
            f"request: of silos {both} both the self seed and the mask key are asked "
            "for, with which anyone could read their vectors. Ask for the seed of a "
            "silo whose masked vector came, for the key of one whose did not."
        )


def pack_request(
    session: Session,
    self_seeds: Iterable[int],
    mask_keys: Iterable[int],
    confirmations: Mapping[int, bytes],
) -> bytes:
    """The body of REQUEST.

    Raises:
      KeyRoleError: both secrets of one silo are requested.
    """
    require_one_share(self_seeds, mask_keys)
    return b"".join(
        [
            pack_set(session, self_seeds),
            pack_set(session, mask_keys),
            pack_table(session, confirmations),
        ]
    )


def pack_words(words: np.ndarray) -> memoryview:
    """[2, L] uint64 as bytes, low words first."""
    return memoryview(np.ascontiguousarray(words, "<u8")).cast("B")


def take_words(session: Session, body: memoryview) -> np.ndarray:
    """[2, L] uint64, a view of the body."""
    if len(body) != 16 * session.length:
        raise ProtocolError(
            f"take_words: a vector has {16 * session.length} bytes, got {len(body)}."
        )
    return np.frombuffer(body, "<u8").reshape(2, session.length)
