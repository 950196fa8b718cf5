"""Certificates of your own authority: for trials, and for a few known clients.

    authority -- signs --> server (names and addresses), client (common name = identity)

Keys are on the curve P-256. A server's certificate serves as no client's and the other
way round, and no certificate but the authority's own signs others. Nothing is
overwritten: to renew a certificate, a person removes it first. If its key is left
there, it is used again: the server's pin stays valid, and so does everything that an
authority has signed.

An organisation that has an authority uses that one; `tls` demands no more of
certificates than RFC 5280 does.

Reference: RFC 5280, sections 4.2.1 (extensions) and 4.1.2.5 (times).
"""

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from helix_jax.errors import RunError
from helix_jax.net.certificate_files import (
    Pair,
    pair_of,
    read_key,
    require_free,
    take_key,
    write_certificate,
)
from helix_jax.net.names import AUTHORITY, MOST_DAYS, SERVER, check_name
from helix_jax.net.tls import read_certificate

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)


def make_authority(folder: Path, *, days: int) -> Pair:
    """Make an authority that signs servers and clients.

    Args:
      folder: where its files go; made where it is missing, for its owner alone.
      days: that it holds.

    Raises:
      RunError: the authority exists, or days are out of range.
      PathError: it cannot be written.
    """
    require_free(folder, [AUTHORITY])
    begins, held = _now(), _days(days)
    key = take_key(folder, AUTHORITY)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _subject(f"helix_jax authority {identifier.digest.hex()[:8]}")
    builder = _begin(name, name, key.public_key(), begins, begins + held)
    for extension, critical in (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(key_cert_sign=True, crl_sign=True), True),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical)
    return write_certificate(folder, AUTHORITY, builder.sign(key, hashes.SHA256()))


def make_server(folder: Path, names: Sequence[str], *, days: int) -> Pair:
    """Make a server's certificate, signed by the folder's authority.

    Args:
      folder: that holds the authority's files.
      names: host names and addresses that clients reach it by.
      days: that it holds, no longer than the authority.

    Raises:
      RunError: it exists, a name is malformed, or days are out of range.
      PathError: the authority's files are missing, or it cannot be written.
    """
    alternatives = check_server(names)
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    return _sign(folder, SERVER, names[0][:64], usage, days, alternatives)


def make_client(folder: Path, name: str, *, days: int) -> Pair:
    """Make a client's certificate, signed by the folder's authority.

    Args:
      folder: that holds the authority's files.
      name: the client's identity, its common name; also that of the files.
      days: as for `make_server`.

    Raises:
      RunError: it exists, the name is malformed, or days are out of range.
      PathError: as for `make_server`.
    """
    check_client(name)
    return _sign(folder, name, name, ExtendedKeyUsageOID.CLIENT_AUTH, days)


def check_server(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """Names and addresses as a certificate holds them.

    Raises:
      RunError: the list is empty, or an entry is neither.
    """
    if not names:
        raise RunError("a server's certificate needs a name or an address.")
    return x509.SubjectAlternativeName([_general(name) for name in names])


def check_client(name: str) -> None:
    """Refuse what cannot name a client and its files.

    Raises:
      RunError: it cannot.
    """
    check_name(name)
    if name in (AUTHORITY, SERVER) or name.startswith(".") or "/" in name:
        raise RunError(f"{name!r} cannot name the files of a client's certificate.")


def _sign(
    folder: Path,
    file: str,
    common_name: str,
    usage: x509.ObjectIdentifier,
    days: int,
    *more: x509.ExtensionType,
) -> Pair:
    require_free(folder, [file])
    authority = pair_of(folder, AUTHORITY)
    issuer = read_certificate(authority.certificate)
    signing = read_key(authority.private_key)
    begins, last = _now(), issuer.not_valid_after_utc
    if last <= begins:
        raise RunError(f"the authority of {folder} has expired; make another.")
    ends = min(begins + _days(days), last)
    key = take_key(folder, file)
    builder = _begin(
        _subject(common_name), issuer.subject, key.public_key(), begins, ends
    )
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([usage]), False),
        (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()),
            False,
        ),
        *((one, False) for one in more),
    ):
        builder = builder.add_extension(extension, critical)
    return write_certificate(folder, file, builder.sign(signing, hashes.SHA256()))


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not _HOST.fullmatch(name):
        raise RunError(
            f"{name!r} is no host name of letters, digits, hyphens and dots, and no "
            "address."
        )
    return x509.DNSName(name.lower())


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment "
        "key_agreement key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{**dict.fromkeys(names, False), **allowed})


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _days(days: int) -> datetime.timedelta:
    if not 1 <= days <= MOST_DAYS:
        raise RunError(f"days must be 1 to {MOST_DAYS}, got {days}.")
    return datetime.timedelta(days=days)
