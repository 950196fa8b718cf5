"""Signing keys of silos and aggregators, in files that only their owner may read."""

import re
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.private.aggregation.session import new_identity
from helix_jax.private.signatures import verifying_key
from helix_jax.secret_files import make_secret, read_secret

_HEX = re.compile(rb"([0-9a-f]{64})\n?")


def make_identity(path: Path) -> bytes:
    """Make a signing key; returns the verifying key, to be given to the others.

    Raises:
      RunError: the file is there.
      PathError: it cannot be written.
    """
    signing, verifying = new_identity()
    if not make_secret(path, f"{signing.hex()}\n".encode(), "a signing key"):
        raise RunError(
            f"{path} exists and is never overwritten: whoever has that silo's public "
            "key would no longer recognise it. Name another file."
        )
    return verifying


def read_identity(path: Path) -> tuple[bytes, bytes]:
    """The signing and the verifying key of a file.

    Raises:
      PathError: it cannot be read, or others may read it.
      RunError: it holds no key.
    """
    found = _HEX.fullmatch(read_secret(path, "a signing key"))
    if not found:
        raise RunError(f"{path} holds no signing key of 64 hex characters.")
    signing = bytes.fromhex(found[1].decode())
    return signing, verifying_key(signing)
