"""Single queries to the service: their time, processor time and bytes."""

import time

import numpy as np

from benchmarks.service_flags import ASKED, TINY
from benchmarks.service_own import Own, Place, own_service
from benchmarks.service_processes import counted_port
from benchmarks.service_results import write_part
from helix_jax.net import Connection
from helix_jax.private import Client, Provider
from helix_jax.private.rehearsal import Conversation

POLICIES = ("rounded:12", "logits", "label")
BATCH = 64


def query(place: Place) -> None:
    """Measure one client with one query at a time, and with a batch in one message."""
    given = np.load(place.problem)
    kernel, bias, x = given["kernel"], given["bias"], given["x"]
    heads = {
        f"heads.head{number}": {
            "path": str(place.head),
            "policy": policy,
            "input_norm": place.norm,
        }
        for number, policy in enumerate(POLICIES)
    }
    asked = 4 if TINY.value else ASKED.value
    cases = [
        (policy, f"head{number}", 1, asked if policy != "label" else -(-asked // 5))
        for number, policy in enumerate(POLICIES)
    ]
    cases.append((POLICIES[0], "head0", BATCH, -(-asked // 20)))
    table = []
    with own_service(place, heads) as own, own.connect() as connection:
        for policy, head, rows, times in cases:
            provider = Provider(kernel, bias, policy=policy, input_norm=place.norm)
            alone = Conversation(Client(), provider)
            alone.ask_all(x[:5])
            bare = alone.query_bytes + alone.answer_bytes if rows == 1 else None
            batch = x[0] if rows == 1 else x[np.arange(rows) % len(x)]
            table.append(
                [
                    policy,
                    rows,
                    *asking(own, connection, head, batch, times),
                    *traffic(own, head, batch, bare),
                ]
            )
            print(*table[-1], flush=True)
    header = [
        "policy",
        "rows a query",
        "p50, ms",
        "p99, ms",
        "client's processor, ms",
        "service's processor, ms",
        "up, kB",
        "down, kB",
        "more than the private layer, kB",
    ]
    notes = (
        f"Profile `guarded`, {len(kernel)} dimensions, {len(bias)} classes, one "
        f"client, {asked} queries one after the other (`label` a fifth, {BATCH} rows a "
        "twentieth), from the embedding to the opened answer. Bytes: on the wire, TLS "
        "and HTTP included; more than: beside the messages of the same query within "
        "one process."
    )
    write_part("query", "Queries to the service", header, table, notes)


def asking(
    own: Own, connection: Connection, head: str, x: np.ndarray, times: int
) -> list[float]:
    """Milliseconds of queries: p50, p99, processor time of client and of service."""
    for _ in range(5):
        connection.classify(head, x)
    before, mine = own.service.processor_seconds(), time.process_time()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        connection.classify(head, x)
        seconds.append(time.perf_counter() - start)
    mine = time.process_time() - mine
    theirs = own.service.processor_seconds() - before
    p50, p99 = 1e3 * np.quantile(seconds, (0.5, 0.99))
    return [p50, p99, 1e3 * mine / times, 1e3 * theirs / times]


def traffic(
    own: Own, head: str, x: np.ndarray, bare: int | None, times: int = 10
) -> list[float | None]:
    """Kilobytes of a query: up, down, and in excess of the messages alone."""
    with counted_port(own.port) as counted, own.connect(counted.port) as connection:
        connection.classify(head, x)
        up, down = counted.up, counted.down
        for _ in range(times):
            connection.classify(head, x)
        ways = [(counted.up - up) / times, (counted.down - down) / times]
    more = None if bare is None else (sum(ways) - bare) / 1e3
    return [*(way / 1e3 for way in ways), more]
