"""Files of certificates and their keys: two PEM files each, never overwritten."""

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
    """The paths of a certificate and its key in a folder."""
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def require_free(folder: Path, names: Sequence[str]) -> None:
    """Refuse to make a certificate that exists; a key that exists is used.

    Raises:
      RunError: one of them exists.
    """
    for file in (pair_of(folder, name).certificate for name in names):
        if file.exists():
            raise RunError(
                f"{file} exists and is never overwritten; remove it first, and its "
                "key too to change it."
            )


def take_key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    """The private key of a certificate to be made: the one that exists, or a new one.

    Raises:
      PathError: the file holds no such key, others may read it, or a new one cannot
        be written.
    """
    path = pair_of(folder, name).private_key
    key = ec.generate_private_key(ec.SECP256R1())
    written = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key if make_secret(path, written, "a private key") else read_key(path)


def write_certificate(folder: Path, name: str, made: x509.Certificate) -> Pair:
    """Write a certificate next to its key, which exists.

    Raises:
      RunError: the certificate exists.
      PathError: it cannot be written.
    """
    require_free(folder, [name])
    files = pair_of(folder, name)
    with (
        os_errors(files.certificate, "be written"),
        open(files.certificate, "xb") as stream,
    ):
        stream.write(made.public_bytes(serialization.Encoding.PEM))
    return files


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key of a PEM file that only its owner may read.

    Raises:
      PathError: it holds no key on an elliptic curve, or others may read it.
    """
    written = read_secret(path, "a private key")
    try:
        key = serialization.load_pem_private_key(written, None)
    except (ValueError, TypeError) as wrong:
        raise PathError(f"{path} is not an unencrypted private key as PEM.") from wrong
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PathError(f"{path} is not an elliptic-curve key; use one.")
    return key
