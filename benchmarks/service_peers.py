"""Encrypted classification over HTTPS by other libraries, side by side in one run.

Each peer is a server process on loopback and a client process, in the interpreter that
has the library (PyPI: tenseal, or concrete-ml, with fastapi, uvicorn, httpx and
python-multipart). They take turns.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.service_flags import (
    CLIENTS,
    CONCRETE,
    LOAD_SECONDS,
    QUERIES,
    TENSEAL,
    TINY,
    TURNS,
)
from benchmarks.service_own import Place, own_service
from benchmarks.service_processes import Started, counted_port, started
from benchmarks.service_results import write_part
from benchmarks.timing import run_child

OWN = "helix_jax, guarded"
SCRIPTS = Path(__file__).parent / "peer_services"


class Contender(NamedTuple):
    """A service and its client, both running.

    Attributes:
      service: the server process.
      client: the client process, which takes turns, see `peer_services.asking`.
    """

    service: Started
    client: Started


@contextlib.contextmanager
def own_contender(place: Place, policy: str) -> Iterator[Contender]:
    """Our service, with answers under the given policy."""
    head = {"path": str(place.head), "policy": policy, "input_norm": place.norm}
    with (
        own_service(place, {"heads.planted": head}) as own,
        own.asker("planted") as client,
    ):
        yield Contender(own.service, client)


@contextlib.contextmanager
def tenseal_contender(place: Place, parameters: str) -> Iterator[Contender]:
    """TenSEAL with the named parameters."""
    script = [TENSEAL.value, SCRIPTS / "tenseal_service.py"]
    serve = [*script, "serve", place.problem, place.certificate, place.private_key]
    with started(serve) as service:
        port = str(service.said["port"])
        ask = [*script, "ask", place.problem, place.authority, port, parameters]
        with started(ask) as client:
            yield Contender(service, client)


@contextlib.contextmanager
def concrete_contender(place: Place) -> Iterator[Contender]:
    """Concrete ML, compiled first."""
    script = [CONCRETE.value, SCRIPTS / "concrete_service.py"]
    model = place.folder / "concrete"
    run_child([*script, "make", place.problem, model])
    with started(
        [*script, "serve", model, place.certificate, place.private_key]
    ) as service:
        port = str(service.said["port"])
        ask = [*script, "ask", place.problem, place.authority, port]
        with started(ask) as client:
            yield Contender(service, client)


def contexts(place: Place) -> dict[str, Any]:
    """Name -> context of a `Contender`: ours, and peers whose interpreter is given."""
    found: dict[str, Any] = {OWN: functools.partial(own_contender, place, "logits")}
    if TENSEAL.value:
        found["TenSEAL, its tutorial's parameters"] = functools.partial(
            tenseal_contender, place, "tutorial"
        )
        found["TenSEAL, N = 8192"] = functools.partial(
            tenseal_contender, place, "precise"
        )
    if CONCRETE.value:
        found["Concrete ML, 8 bits"] = functools.partial(concrete_contender, place)
    return found


def missing() -> str:
    """A sentence that names the peers that are missing."""
    values = {"TenSEAL": TENSEAL.value, "Concrete ML": CONCRETE.value}
    names = [name for name, value in values.items() if not value]
    return f" Not installed here: {', '.join(names)}." if names else ""


def measure(contenders: Mapping[str, Contender]) -> dict[str, dict[str, float]]:
    """Numbers of each contender: turns of single queries, then the load, then bytes.

    Args:
      contenders: all of them running.

    Returns:
      Name -> milliseconds, bytes and errors by name.
    """
    queries = 2 if TINY.value else QUERIES.value
    times: dict[str, list[float]] = {name: [] for name in contenders}
    numbers: dict[str, dict[str, float]] = {}
    for _ in range(TURNS.value):
        for name, (service, client) in contenders.items():
            before = service.processor_seconds()
            turn = client.turn({"queries": queries})
            times[name] += turn["seconds"]
            own = numbers.setdefault(
                name, dict.fromkeys(("client_ms", "service_ms", "error"), 0.0)
            )
            scale = 1e3 / (queries * TURNS.value)
            own["client_ms"] += scale * turn["processor_seconds"]
            own["service_ms"] += scale * (service.processor_seconds() - before)
            own["error"] = max(own["error"], turn["error"])
            own["agreement"] = min(own.get("agreement", 1.0), turn["agreement"])
    for name, (service, client) in contenders.items():
        own = numbers[name]
        own["p50_ms"], own["p99_ms"] = 1e3 * np.quantile(times[name], (0.5, 0.99))
        own["key_bytes"] = client.said["key_bytes"]
        load = client.turn(
            {
                "clients": CLIENTS.value,
                "seconds": 1 if TINY.value else LOAD_SECONDS.value,
            }
        )
        own["per_second"] = len(load["seconds"]) / load["elapsed_seconds"]
        own["failures"] = len(load["failures"])
        with counted_port(service.said["port"]) as counted:
            client.turn({"queries": 1, "port": counted.port})  # also connects
            up, down = counted.up, counted.down
            client.turn({"queries": 10, "port": counted.port})
            own["up_bytes"] = (counted.up - up) / 10
            own["down_bytes"] = (counted.down - down) / 10
        own["service_bytes"] = service.resident_bytes()
        print(name, own, flush=True)
    return numbers


HEADER = [
    "",
    "p50, ms",
    "p99, ms",
    "queries/s, {clients} clients",
    "client's processor, ms",
    "service's processor, ms",
    "up, kB",
    "down, kB",
    "keys, kB",
    "service's memory, MB",
    "largest error",
    "same label",
    "weights hidden",
]
FIELDS = (
    ("p50_ms", 1),
    ("p99_ms", 1),
    ("per_second", 1),
    ("client_ms", 1),
    ("service_ms", 1),
    ("up_bytes", 1e3),
    ("down_bytes", 1e3),
    ("key_bytes", 1e3),
    ("service_bytes", 1e6),
    ("error", 1),
    ("agreement", 1),
)


def peers(place: Place) -> None:
    """Measure and write the table."""
    width, classes = np.load(place.problem)["kernel"].shape
    with contextlib.ExitStack() as stack:
        contenders = {
            name: stack.enter_context(context())
            for name, context in contexts(place).items()
        }
        numbers = measure(contenders)
    table = [
        [
            name,
            *(own[field] / unit for field, unit in FIELDS),
            "yes" if name == OWN else "no",
        ]
        for name, own in numbers.items()
    ]
    header = [name.format(clients=CLIENTS.value) for name in HEADER]
    notes = (
        f"{width} dimensions, {classes} classes, logits of order 10, "
        f"{TURNS.value * QUERIES.value} queries of each in turns, one client. Bytes: "
        "on the wire, TLS and HTTP included, without keys. Errors are against float64. "
        "Ours: two workers, tokens, a durable ledger, answers of policy `logits`, as "
        "exact as the peers'. The peers are built as their own examples are: one "
        "process that serves, evaluating in its event loop, for anybody; a context or "
        "key is registered once. Their parameters have 128 bits. None of them has "
        "circuit privacy: what a client decrypts may tell more of the weights than the "
        "logits." + missing()
    )
    title = "Encrypted classification over HTTPS"
    write_part("peers", title, header, table, notes)
