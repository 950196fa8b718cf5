"""Fingerprints: what made a store, a map or a probe, and whether two agree."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from helix_jax.errors import FingerprintError


def fingerprint(record: Any) -> str:
    """First 16 hex digits of the SHA-256 of the record's canonical JSON."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_same(
    left_name: str,
    left: Mapping[str, Any],
    right_name: str,
    right: Mapping[str, Any],
    *,
    remedy: str = "Make both from the same inputs, or choose another directory.",
) -> None:
    """Raise unless two fingerprint records are equal, naming each difference.

    Args:
      left_name: what the left record belongs to, for the message.
      left: JSON-able record.
      right_name: what the right record belongs to.
      right: JSON-able record.
      remedy: last sentence of the message.

    Raises:
      FingerprintError: lists every key whose values differ, with both values.
    """
    keys = sorted(set(left) | set(right))
    absent = "(absent)"
    rows = [
        f"  {key}: {left.get(key, absent)!r} against {right.get(key, absent)!r}"
        for key in keys
        if left.get(key, absent) != right.get(key, absent)
    ]
    if rows:
        raise FingerprintError(
            f"{left_name} ({fingerprint(dict(left))}) and {right_name} "
            f"({fingerprint(dict(right))}) do not agree:\n" + "\n".join(rows) + "\n"
            f"{remedy}"
        )
