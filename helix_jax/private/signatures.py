"""Ed25519 signatures (RFC 8032) of SHA-256 digests, by the package `cryptography`.

Keys and signatures are bytes; any 32 bytes are a signing key.
"""

from types import ModuleType

from helix_jax.extras import optional_imports

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def verifying_key(signing_key: bytes) -> bytes:
    """The public half of an Ed25519 identity.

    Raises:
      ExtraError: the package `cryptography` is not installed.
    """
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(signing_key)
    return private.public_key().public_bytes_raw()


def sign(signing_key: bytes, digest: bytes) -> bytes:
    """Ed25519 signature of a digest."""
    return _ed25519().Ed25519PrivateKey.from_private_bytes(signing_key).sign(digest)


def is_signed(key: bytes, signature: bytes, digest: bytes) -> bool:
    """Whether the owner of a verifying key made this signature of this digest."""
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def _ed25519() -> ModuleType:
    with optional_imports():
        from cryptography.hazmat.primitives.asymmetric import ed25519
    return ed25519
