"""The service's counters, in Prometheus format."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

BUCKETS = (
    *(0.002, 0.004, 0.006, 0.008, 0.012, 0.02, 0.04, 0.08),
    *(0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24),
)


class Metrics:
    """Counters of one service.

    Attributes:
      requests: by route and status.
      seconds: by route, from the first byte of a request to the last of its answer.
      bytes: by direction, "up" or "down".
      restarts: of workers.
      waiting: requests that wait for a worker.
      under_way: requests in progress.
      memory: bytes of bodies in progress.
      repeated: answers given again to a repeated request.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "helix_requests", "Requests", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "helix_request_seconds",
            "Seconds of requests",
            ["route"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.bytes = Counter(
            "helix_bytes", "Bytes of bodies", ["direction"], registry=registry
        )
        self.repeated = Counter(
            "helix_repeated_answers", "Answers given again", registry=registry
        )
        self.restarts = Gauge(
            "helix_worker_restarts", "Workers replaced", registry=registry
        )
        self.waiting = Gauge(
            "helix_waiting", "Requests that wait for a worker", registry=registry
        )
        self.under_way = Gauge(
            "helix_requests_under_way", "Requests under way", registry=registry
        )
        self.memory = Gauge(
            "helix_body_memory_bytes", "Bytes of bodies under way", registry=registry
        )

    def answered(self) -> int:
        """Requests so far, of all routes and statuses."""
        found = [one for own in self.requests.collect() for one in own.samples]
        return int(sum(one.value for one in found if one.name.endswith("_total")))

    def text(self) -> bytes:
        """The text of /metrics."""
        return generate_latest(self.registry)
