"""What a client has used of a provider, and may use."""

from collections.abc import Mapping
from typing import Any

from helix_jax.net.settings import ServiceSettings


def account(
    settings: ServiceSettings,
    identity: str,
    spent: Mapping[str, Any],
    used_bytes: float,
    served: Mapping[str, Any],
) -> dict[str, Any]:
    """The account of a client; JSON-able.

    Args:
      settings: of the service.
      identity: the client's.
      spent: bits by head, and (bits of scores, bits of texts) by index.
      used_bytes: of today.
      served: what the workers say of each head.
    """
    limits = settings.limits_of(identity)
    return {
        "identity": identity,
        "heads": {
            name: {
                "policy": settings.policy_of(identity, name) or served[name]["policy"],
                "bits": bits,
                "budget": settings.budget_of(identity, name),
            }
            for name, bits in spent["heads"].items()
        },
        "indexes": {
            name: {
                "bits": scores,
                "budget": settings.indexes[name].budget,
                "text_bits": texts,
                "text_budget": settings.indexes[name].text_budget,
            }
            for name, (scores, texts) in spent["indexes"].items()
        },
        "bytes_today": used_bytes,
        "limits": {
            "requests_per_second": limits.requests_per_second,
            "requests_at_once": limits.requests_at_once,
            "uploads_at_once": limits.uploads_at_once,
            "fits_per_day": limits.fits_per_day,
            "bytes_per_day": limits.bytes_per_day,
            "keys": limits.keys,
        },
    }
