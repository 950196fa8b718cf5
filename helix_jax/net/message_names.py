"""Names in paths and messages: of keys, of fits, of the profile."""

import hashlib
import re

from helix_jax.net.refusals import Refusal
from helix_jax.private import wire
from helix_jax.private.profiles import PROFILES

KEY_BYTES = 16
_HEX = re.compile(r"[0-9a-f]{32}")


def sixteen_bytes(name: str) -> bytes:
    if not _HEX.fullmatch(name):
        raise Refusal("malformed", f"expected 32 hexadecimal digits, got {name!r:.50}")
    return bytes.fromhex(name)


def fit_of(identity: str, name: str) -> bytes:
    """A fit's name on this service: no two clients share one."""
    own = identity.encode() + b"\0" + sixteen_bytes(name)
    return hashlib.sha256(own).digest()[:16]


def profile_of(message: bytes) -> str:
    """The profile in the header of a message."""
    code = message[7] if len(message) >= wire.HEADER_BYTES else -1
    for profile in PROFILES.values():
        if profile.code == code:
            return profile.name
    raise Refusal("malformed", "a message of an unknown profile")


def key_of(message: bytes) -> bytes:
    """The key that a message names."""
    if len(message) < wire.HEADER_BYTES:
        raise Refusal("malformed", "a message without a header")
    return bytes(message[8 : 8 + KEY_BYTES])
