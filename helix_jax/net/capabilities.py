"""A service's description of itself at /v1, and what a client must find there."""

from collections.abc import Mapping
from typing import Any

import helix_jax
from helix_jax.errors import HelixError, ProtocolError
from helix_jax.net.settings import ServiceSettings
from helix_jax.private import wire
from helix_jax.private.profiles import PROFILES

PROTOCOL = 1


def service_fields(settings: ServiceSettings) -> dict[str, Any]:
    """The name and release of any service; JSON-able."""
    return {"name": settings.name, "release": helix_jax.__version__}


def provider_fields(settings: ServiceSettings) -> dict[str, Any]:
    """What a client of answers must know before it asks; JSON-able."""
    return {
        "service": "helix_jax",
        **service_fields(settings),
        "protocol": PROTOCOL,
        "wire": wire.VERSION,
        "profiles": sorted(PROFILES),
        "limits": {"body_bytes": int(settings.body_bytes)},
    }


def require_spoken(
    url: str, found: Mapping[str, Any], *, raises: type[HelixError] = ProtocolError
) -> None:
    """Refuse a service that speaks another protocol, or other messages.

    Args:
      url: of the service.
      found: what it says of itself.
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; names both sides.
    """
    spoken = found.get("protocol"), found.get("wire")
    if spoken != (PROTOCOL, wire.VERSION):
        raise raises(
            f"{url} speaks protocol {spoken[0]} with messages of version {spoken[1]}, "
            f"this side {PROTOCOL} and {wire.VERSION}; use releases of helix_jax that "
            "match."
        )
