"""Where certificates and their keys lie, two PEM files each, none written over."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from helix_jax.errors import PathError, RunError
from helix_jax.paths import os_errors
from helix_jax.secret_files import make_secret, read_secret


class Pair(NamedTuple):
    """Two files that were made together.

    Attributes:
      certificate: PEM file, for everybody.
      private_key: PEM file of mode 0600.
    """

    certificate: Path
    private_key: Path


def pair_of(folder: Path, name: str) -> Pair:
    """Where a certificate and its key lie in a folder."""
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def require_free(folder: Path, names: Sequence[str]) -> None:
    """Refuse to make what is there.

    Raises:
      RunError: a file of one of these certificates exists.
    """
    for file in (file for name in names for file in pair_of(folder, name)):
        if file.exists():
            raise RunError(
                f"{file} is there, and is not written over; remove it first."
            )


def write_pair(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey, made: x509.Certificate
) -> Pair:
    """Both files, or an error and neither.

    Raises:
      RunError: one of them is there.
      PathError: they cannot be written.
    """
    files = pair_of(folder, name)
    for file in files:
        if file.exists():
            raise RunError(
                f"{file} is there, and is not written over; remove it first."
            )
    written = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if not make_secret(files.private_key, written, "a private key"):
        raise RunError(f"{files.private_key} was made by another program just now.")
    try:
        with (
            os_errors(files.certificate, "be written"),
            open(files.certificate, "xb") as stream,
        ):
            stream.write(made.public_bytes(serialization.Encoding.PEM))
    except PathError:
        files.private_key.unlink()
        raise
    return files


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key of a PEM file that only its owner may read.

    Raises:
      PathError: there is none, or others may read it.
    """
    written = read_secret(path, "the authority's key")
    try:
        return serialization.load_pem_private_key(written, None)
    except (ValueError, TypeError) as wrong:
        raise PathError(f"{path} is no unencrypted private key as PEM.") from wrong
