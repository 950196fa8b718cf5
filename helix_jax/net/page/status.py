"""The public view of a service's load: coarse numbers, and nothing about clients.

Exact counts would reveal when a single client asks, and how much. Counts are therefore
rounded down to 10, 20, 50, 100, ... (fewer than 10 are 0), shares to twentieths, times
up to an edge of the histogram, and all are recomputed at most every five seconds.
Routes are shown as patterns, without names. What remains is how much the service is
used overall; `show_load = false` closes that too.
"""

import time
from typing import Any

from helix_jax.net.metrics import BUCKETS
from helix_jax.net.service import Service

SECONDS = 5.0
_FEW, _FEW_FOR_P99 = 10, 100
_SHARE_PERCENT = 5


class Status:
    """The numbers of the last seconds."""

    def __init__(self, *, seconds: float = SECONDS):
        """Take for how many seconds the same numbers are given."""
        self._seconds, self._at = seconds, -float("inf")
        self._known: dict[str, Any] = {}

    def of(self, service: Service) -> dict[str, Any]:
        """Coarse numbers of a service; JSON-able."""
        now = time.monotonic()
        if now - self._at >= self._seconds:
            self._known, self._at = _measured(service), now
        return self._known


def coarse(count: float) -> int:
    """A count rounded down to 1, 2 or 5 times a power of ten; below 10 it is 0.

    Args:
      count: 0 or more.
    """
    if count < _FEW:
        return 0
    power = 10 ** (len(str(int(count))) - 1)
    return max(step * power for step in (1, 2, 5) if step * power <= count)


def _measured(service: Service) -> dict[str, Any]:
    places, metrics = service.pool.places, service.metrics
    serving = sum(place.about is not None for place in places)
    up, down = (_sum(metrics.bytes, direction=one) for one in ("up", "down"))
    return {
        "state": "ending" if service.draining else "serving" if serving else "starting",
        "workers": {
            "all": len(places),
            "serving": serving,
            "restarts": sum(place.restarts for place in places),
        },
        "under_way": coarse(_sum(metrics.under_way)),
        "waiting": coarse(sum(place.waiting for place in places)),
        "repeated": coarse(_sum(metrics.repeated)),
        "bytes": {"up": coarse(up), "down": coarse(down)},
        "latency": {"edges_seconds": list(BUCKETS), "routes": _routes(metrics.seconds)},
    }


def _samples(metric: Any) -> list[Any]:
    return [one for family in metric.collect() for one in family.samples]


def _sum(metric: Any, **labels: str) -> float:
    """The sum of a counter's or gauge's values, of these labels."""
    return sum(
        one.value
        for one in _samples(metric)
        if not one.name.endswith("_created") and labels.items() <= one.labels.items()
    )


def _routes(seconds: Any) -> dict[str, dict[str, Any]]:
    """Route -> requests, times and shares, of what clients ask for with an identity."""
    cumulative: dict[str, list[float]] = {}
    for one in _samples(seconds):
        if one.name.endswith("_bucket"):
            cumulative.setdefault(one.labels["route"], []).append(one.value)
    return {
        route: _spread(counts)
        for route, counts in sorted(cumulative.items())
        if route.startswith("/v1/") and route != "/v1/status" and counts[-1] >= _FEW
    }


def _spread(cumulative: list[float]) -> dict[str, Any]:
    """Of counts below each edge, the last of which is infinite."""
    total = cumulative[-1]
    counts = [
        after - before
        for before, after in zip([0, *cumulative], cumulative, strict=False)
    ]
    return {
        "requests": coarse(total),
        "p50_seconds": _edge(cumulative, 0.5),
        "p99_seconds": _edge(cumulative, 0.99) if total >= _FEW_FOR_P99 else None,
        "shares_percent": [
            _SHARE_PERCENT * round(100 * count / total / _SHARE_PERCENT)
            for count in counts
        ],
    }


def _edge(cumulative: list[float], share: float) -> float | None:
    """The first edge that this share of requests is below; None if there is none."""
    wanted = share * cumulative[-1]
    return next(
        (
            edge
            for edge, count in zip(BUCKETS, cumulative, strict=False)
            if count >= wanted
        ),
        None,
    )
