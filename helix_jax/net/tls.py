"""How both sides of a connection identify each other: TLS 1.3, certificates, pins.

The client verifies the server's certificate, and that it names the requested host or
address. If the server is given an authority, a client's certificate must be signed by
it; the common name of its subject is the client's identity.

Only this authority counts for clients, never the system's. No session is resumed: each
connection shows its certificates again. A private key that others may read is refused.

Reference: RFC 8446, RFC 9525 (names), https://docs.python.org/3/library/ssl.html.
"""

import os
import ssl
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from cryptography import x509

from helix_jax.errors import KeyRoleError, PathError, RunError
from helix_jax.net.names import check_name
from helix_jax.net.pins import pin_context
from helix_jax.paths import local_path, os_errors
from helix_jax.secret_files import require_secret

Place = str | os.PathLike
_OLDER = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2, where that is allowed


class PeerCertificate(NamedTuple):
    """A client's verified certificate.

    Attributes:
      name: common name of its subject.
      begins, ends: seconds since 1970 between which it is valid.
    """

    name: str
    begins: float
    ends: float


def server_context(
    certificate: Place,
    private_key: Place,
    client_authority: Place | None = None,
    *,
    require_client: bool = True,
    allow_older: bool = False,
) -> ssl.SSLContext:
    """The TLS context of a server.

    Args:
      certificate: PEM file, the server's certificate first, then those between it and
        its authority.
      private_key: PEM file of its key, unencrypted, that nobody else may read.
      client_authority: PEM file of the authority that signs clients' certificates; None
        asks clients for none.
      require_client: whether a client without a certificate is refused; False leaves
        that to the request handler. An invalid certificate is always refused.
      allow_older: whether to accept TLS 1.2 too.

    Raises:
      PathError: a file cannot be used: which, why, and what to do.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, allow_older)
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    load_certificate(context, certificate, private_key)
    if client_authority is not None:
        _trust(context, client_authority)
        optional = not require_client
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    return context


def client_context(
    authority: Place | None = None,
    certificate: Place | None = None,
    private_key: Place | None = None,
    pin: str | Sequence[str] | None = None,
    *,
    allow_older: bool = False,
) -> ssl.SSLContext:
    """The TLS context of a client.

    Args:
      authority: PEM file of the authority that signs the server's certificate; None
        uses the authorities of the system.
      certificate, private_key: PEM files that identify the client.
      pin: of the server's key, or of several that it may have; see `pins`.
      allow_older: whether to accept TLS 1.2 too.

    Raises:
      PathError: a file cannot be used: which, why, and what to do.
      ValueError: only one of certificate and private_key is given, or a pin is
        malformed.
    """
    if (certificate is None) != (private_key is None):
        raise ValueError(
            "client_context: certificate and private_key need each other; "
            "give both or neither."
        )
    context = _context(ssl.PROTOCOL_TLS_CLIENT, allow_older)
    context.hostname_checks_common_name = False
    if authority is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, authority)
    if certificate and private_key:
        load_certificate(context, certificate, private_key)
    if pin is not None:
        pin_context(context, pin)
    return context


def load_certificate(
    context: ssl.SSLContext, certificate: Place, private_key: Place
) -> float:
    """Load a certificate into a context; one in use shows it from then on.

    Returns:
      Seconds since 1970 when the certificate ends.

    Raises:
      PathError: a file cannot be used, the key does not belong to the certificate, or
        the certificate is not valid now.
    """
    chain = local_path(certificate, "the certificate")
    key = local_path(private_key, "the private key")
    first = read_certificate(chain)
    begins, ends = first.not_valid_before_utc, first.not_valid_after_utc
    if not begins.timestamp() <= time.time() < ends.timestamp():
        raise PathError(
            f"{chain} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} "
            "UTC, not now; use another certificate, or set the clock."
        )
    require_secret(key, "a private key")
    try:
        context.load_cert_chain(chain, key, password=_no_password)
    except ssl.SSLError as wrong:
        raise PathError(
            f"{key} is not the private key of {chain} ({wrong.reason}); give the two "
            "PEM files that were made together."
        ) from wrong
    except OSError as wrong:
        raise PathError(f"{key} cannot be used as a private key: {wrong}") from wrong
    return ends.timestamp()


def read_certificate(path: Place) -> x509.Certificate:
    """The first certificate of a PEM file.

    Raises:
      PathError: there is none.
    """
    place = local_path(path, "the certificate")
    with os_errors(place, "be used as a certificate"):
        content = place.read_bytes()
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except ValueError as wrong:
        raise PathError(
            f"{place} holds no PEM certificate (-----BEGIN CERTIFICATE-----)."
        ) from wrong


def peer_certificate(tls: ssl.SSLObject | ssl.SSLSocket) -> PeerCertificate | None:
    """The content of a client's verified certificate; None if it showed none.

    Args:
      tls: a connection of the server, after the handshake.

    Raises:
      KeyRoleError: the certificate does not have exactly one name that can be revoked,
        or has expired since the handshake.
    """
    shown: dict[str, Any] | None = tls.getpeercert()
    if not shown:
        return None
    parts = (one for part in shown["subject"] for one in part)
    names = [value for kind, value in parts if kind == "commonName"]
    if len(names) != 1 or not names[0].isprintable():
        raise KeyRoleError(
            f"a client's certificate needs one common name, got {names!r}."
        )
    try:
        check_name(names[0])  # a name that cannot be revoked is not admitted
    except RunError as error:
        raise KeyRoleError(f"a client's certificate: {error}") from error
    begins = float(ssl.cert_time_to_seconds(shown["notBefore"]))
    ends = float(ssl.cert_time_to_seconds(shown["notAfter"]))
    if ends < time.time():
        raise KeyRoleError(f"the certificate of {names[0]!r} has expired; renew it.")
    return PeerCertificate(names[0], begins, ends)


def peer_identity(tls: ssl.SSLObject | ssl.SSLSocket) -> str | None:
    """The common name of a client's certificate; see `peer_certificate`."""
    shown = peer_certificate(tls)
    return None if shown is None else shown.name


def _context(side: ssl._SSLMethod, allow_older: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    older, default = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    context.minimum_version = older if allow_older else default
    context.set_ciphers(_OLDER)  # does not affect TLS 1.3, whose suites are all good
    context.set_alpn_protocols(["http/1.1"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _trust(context: ssl.SSLContext, authority: Place) -> None:
    place = local_path(authority, "the authority")
    read_certificate(place)
    context.load_verify_locations(place)


def _no_password() -> NoReturn:
    raise OSError("it is encrypted, and no password can be typed here; decrypt it")
