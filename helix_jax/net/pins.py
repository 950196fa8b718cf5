"""The key of one server: a client that knows it accepts no other, whoever signed it.

    pin = "sha256/" + base64(SHA-256(SubjectPublicKeyInfo of the server's certificate))

A pin is checked in addition to the certificate's verification, never instead. It pins
the key and not the certificate: a renewed certificate for the same key has the same
pin, and a server that is about to change its key gives out both pins beforehand.

The context itself checks: whatever opens a connection with it, the handshake ends with
the check or with an error, before a byte of the application is sent. By then a server
has seen the client's certificate, if it has one, and nothing else.

Reference: RFC 7469, section 2.4.
"""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from helix_jax.errors import ProtocolError

_START = "sha256/"


class PinError(ProtocolError, ssl.SSLCertVerificationError):
    """The server's key is not the pinned one; for `ssl` a failed handshake."""


def pin_of(certificate: bytes | x509.Certificate) -> str:
    """The pin of a certificate's key.

    Args:
      certificate: read, or as DER.

    Raises:
      ValueError: these bytes are not a certificate.
    """
    if isinstance(certificate, bytes):
        certificate = x509.load_der_x509_certificate(certificate)
    key = certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return _START + base64.b64encode(hashlib.sha256(key).digest()).decode()


def read_pins(pins: str | Sequence[str]) -> tuple[str, ...]:
    """One pin or several, checked.

    Args:
      pins: a list, or one text with commas between them.

    Raises:
      ValueError: there is no pin, or one is malformed.
    """
    several = tuple(pins.split(",") if isinstance(pins, str) else pins)
    if not several:
        raise ValueError("pin: none is given; leave it out, or name one key.")
    for pin in several:
        start, written = pin[: len(_START)], pin[len(_START) :]
        try:
            length = len(base64.b64decode(written, validate=True))
        except ValueError:  # not base64, or not ASCII
            length = 0
        if start != _START or length != hashlib.sha256().digest_size:
            raise ValueError(
                f"pin: expected {_START} and 44 characters of base64, got {pin!r}; "
                "experiments.certificates shows that of a server."
            )
    return several


def check_pin(tls: ssl.SSLObject | ssl.SSLSocket, pins: str | Sequence[str]) -> None:
    """Refuse a server whose key is not among the pinned ones.

    Args:
      tls: its connection, after the handshake.
      pins: one that it may have, or several.

    Raises:
      PinError: it has another key, or showed no certificate.
      ValueError: a malformed pin.
    """
    allowed = read_pins(pins)
    shown = tls.getpeercert(binary_form=True)
    found = pin_of(shown) if shown else "none"
    if not any(hmac.compare_digest(found, pin) for pin in allowed):
        raise PinError(
            f"the server's key has the pin {found}, expected {' or '.join(allowed)}; "
            "ask its operator through another channel whether the key was changed."
        )


def pin_context(context: ssl.SSLContext, pins: str | Sequence[str]) -> None:
    """Let every handshake of a client's context end with `check_pin`.

    Raises:
      ValueError: a malformed pin.
    """
    allowed = read_pins(pins)

    def with_check(plain: type) -> type:
        class Pinned(plain):
            def do_handshake(self, *args: bool) -> None:
                super().do_handshake(*args)  # an error if it has not ended
                check_pin(self, allowed)

        return Pinned

    context.sslobject_class = with_check(context.sslobject_class)
    context.sslsocket_class = with_check(context.sslsocket_class)
