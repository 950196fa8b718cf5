"""The state of an encrypted fit in a folder: a provider's sums so far.

Its sums are not masked: with the client's key they reveal all rows.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helix_jax.array_files import read_npz, write_npz
from helix_jax.errors import ProtocolError
from helix_jax.private.fit_plan import FitOffer

_FILE = "sums.npz"
_PARTS = ("absorbed", "offer", "ledger", "identity", "key", "width", "rows", "bits")
_REMEDY = "remove it to restart the fit, or name another folder"


class FitState(NamedTuple):
    """The state that a fit continues from.

    Attributes:
      absorbed: SHA-256 of each message of rows, in order.
      offer: the message of the offer.
      ledger: name of the ledger that is charged.
      identity: the client's.
      key: the client's.
      width: of the source; 0 before the first rows.
      bits: of the client's integers, in a private fit; 0 otherwise.
      rows: fingerprint of the provider's rows.
      sums: each [targets, T, 2, L, N] int64, transformed.
      mean: the message of the means, if it was made; None otherwise.
    """

    absorbed: list[bytes]
    offer: bytes
    ledger: bytes
    identity: str
    key: bytes
    width: int
    bits: int
    rows: bytes
    sums: list[np.ndarray]
    mean: bytes | None


def has_state(folder: Path) -> bool:
    """Whether a fit is kept in the folder."""
    return (folder / _FILE).exists()


def write_state(folder: Path, state: FitState) -> None:
    """Write a state to the folder, completely or not at all.

    Raises:
      ProtocolError: it cannot be written.
    """
    arrays = {
        "absorbed": _array(b"".join(state.absorbed)),
        "offer": _array(state.offer),
        "ledger": _array(state.ledger),
        "identity": np.array(state.identity),
        "key": _array(state.key),
        "width": np.array(state.width),
        "bits": np.array(state.bits),
        "rows": _array(state.rows),
    }
    if state.mean is not None:
        arrays["mean"] = _array(state.mean)
    arrays |= {f"sums_{i}": part for i, part in enumerate(state.sums)}
    write_npz(folder / _FILE, arrays, compressed=False, raises=ProtocolError)


def require_fit_of(folder: Path, *, key: bytes, rows: bytes) -> None:
    """Refuse a kept state of other rows or another client.

    Args:
      folder: that has a state.
      key: the client's.
      rows: fingerprint of the provider's rows.

    Raises:
      ProtocolError: the state is of another fit, or damaged.
    """
    file = folder / _FILE
    arrays = read_npz(file, names=_PARTS, remedy=_REMEDY, raises=ProtocolError)
    if arrays["key"].tobytes() != key or arrays["rows"].tobytes() != rows:
        raise ProtocolError(
            f"{file} holds a fit of other rows or another client key; {_REMEDY}."
        )


def read_state(
    folder: Path, *, offer: FitOffer, identity: str, ledger: bytes
) -> FitState:
    """The state that is kept in the folder.

    Args:
      folder: that has a state.
      offer: that the state must have, except for the number of the fit.
      identity: that the state must have.
      ledger: name of the ledger that the fit must have been charged to.

    Raises:
      ProtocolError: it was charged elsewhere, is of another offer or identity, or is
        damaged.
    """
    file = folder / _FILE
    arrays = read_npz(file, remedy=_REMEDY, raises=ProtocolError)
    saved = FitOffer.from_bytes(arrays["offer"].tobytes(), offer.profile)
    own = dataclasses.replace(offer, number=saved.number)
    for what, kept, here in (
        ("the offer", saved.to_bytes(), own.to_bytes()),
        ("the identity", str(arrays["identity"]), identity),
        ("the ledger", arrays["ledger"].tobytes(), ledger),
    ):
        if kept != here:
            raise ProtocolError(
                f"{what} of the fit in {file} differs from this provider's: "
                "pass the precision, identity and ledger that it was started with, "
                f"or {_REMEDY}."
            )
    names = [name for name in arrays if name.startswith("sums_")]
    return FitState(
        [digest.tobytes() for digest in arrays["absorbed"].reshape(-1, 32)],
        arrays["offer"].tobytes(),
        arrays["ledger"].tobytes(),
        str(arrays["identity"]),
        arrays["key"].tobytes(),
        int(arrays["width"]),
        int(arrays["bits"]),
        arrays["rows"].tobytes(),
        [arrays[f"sums_{i}"] for i in range(len(names))],
        arrays["mean"].tobytes() if "mean" in arrays else None,
    )


def _array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)
