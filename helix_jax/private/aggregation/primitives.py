"""The cryptographic primitives, all from the `cryptography` package.

    key agreement   X25519 (RFC 7748), then HKDF-SHA256 (RFC 5869)
    encryption      AES-256-GCM under keys that are used once
    key streams     AES-256 in counter mode

Keys and seeds are bytes. This is the only file of the folder that imports
`cryptography`; for signatures see `private/signatures.py`.
"""

import hashlib
import hmac

from helix_jax.errors import ProtocolError
from helix_jax.extras import optional_imports

with optional_imports():
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey,
        X25519PublicKey,
    )
    from cryptography.hazmat.primitives.ciphers import (
        Cipher,
        CipherContext,
        algorithms,
        modes,
    )
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
TAG_BYTES = 16
_NO_NONCE = bytes(12)


def public_key(private_key: bytes) -> bytes:
    """The public half of an X25519 key pair; any 32 bytes are a private key."""
    return (
        X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
    )


def agree(private_key: bytes, other: bytes, *, salt: bytes, label: bytes) -> bytes:
    """Derive the key that two owners of X25519 key pairs share, for one use.

    Args:
      private_key: one's own.
      other: the other side's public key.
      salt: of HKDF.
      label: names the use.

    Raises:
      ProtocolError: the other side's key is of small order, which makes the secret
        public.
    """
    private = X25519PrivateKey.from_private_bytes(private_key)
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        raise ProtocolError(
            "agree: the public key of the other silo is of small order, so anyone "
            "would know the shared secret. Refuse that silo."
        ) from error
    return derive(secret, salt=salt, label=label)


def derive(secret: bytes, *, salt: bytes, label: bytes) -> bytes:
    """Derive 32 bytes for one use from a secret, by HKDF-SHA256."""
    return HKDF(SHA256(), KEY_BYTES, salt, label).derive(secret)


def commitment(secret: bytes, *, salt: bytes, label: bytes) -> bytes:
    """A digest that commits to a secret of 256 random bits and hides it."""
    return hmac.digest(secret, salt + label, hashlib.sha256)


def seal(key: bytes, plain: bytes) -> bytes:
    """Encrypt and authenticate; never reuse the key, since the nonce is zero."""
    return AESGCM(key).encrypt(_NO_NONCE, plain, None)


def unseal(key: bytes, sealed: bytes) -> bytes | None:
    """Decrypt; None if the bytes were altered or sealed under another key."""
    try:
        return AESGCM(key).decrypt(_NO_NONCE, sealed, None)
    except InvalidTag:
        return None


def key_stream(key: bytes, number: int) -> CipherContext:
    """An encryptor whose output on zeros is stream `number` (0 or 1) of a key."""
    start = bytes([128 * number]) + bytes(15)  # 2^127 blocks apart
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor()
