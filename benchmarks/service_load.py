"""All clients at once, for minutes: queries per second, errors, memory."""

import threading
import time

import numpy as np

from benchmarks.service_flags import MINUTES, TINY
from benchmarks.service_own import CLIENTS, Place, own_service
from benchmarks.service_results import write_part


def load(place: Place) -> None:
    """Run all clients at once for minutes, and record the service's memory."""
    head = {"path": str(place.head), "input_norm": place.norm}
    seconds = 3.0 if TINY.value else 60 * MINUTES.value
    with (
        own_service(place, {"heads.planted": head}) as own,
        own.asker("planted") as client,
    ):
        samples: list[tuple[float, list[int]]] = []
        done, begun = threading.Event(), time.monotonic()

        def watch() -> None:
            while not done.wait(min(10.0, seconds / 3)):
                now = time.monotonic() - begun
                samples.append((now, own.service.resident_of_each()))

        client.turn({"clients": CLIENTS, "seconds": seconds / 30})  # warms up
        watching, begun = threading.Thread(target=watch), time.monotonic()
        before = own.service.processor_seconds()
        samples.append((0.0, own.service.resident_of_each()))
        watching.start()
        found = client.turn({"clients": CLIENTS, "seconds": seconds})
        done.set()
        watching.join()
        samples.append((seconds, own.service.resident_of_each()))
        theirs = own.service.processor_seconds() - before
    ended, count = np.array(found["ended_seconds"]), len(found["seconds"])
    p50, p99 = 1e3 * np.quantile(found["seconds"], (0.5, 0.99))
    table, step = [], seconds / 10
    for number in range(11):
        at, memory = min(samples, key=lambda one: abs(one[0] - number * step))
        rate = ((ended > at - step) & (ended <= at)).sum() / step if number else None
        first, *others = memory
        table.append([at / 60, rate, first / 1e6, sum(others) / 1e6, sum(memory) / 1e6])
    header = [
        "minute",
        "queries/s before it",
        "memory of the server, MB",
        "of its workers, MB",
        "together, MB",
    ]
    clients = (
        f"{CLIENTS} clients, each with its key, token and connection, in one process"
    )
    notes = (
        f"{clients}; queries of {len(np.load(place.problem)['kernel'])} dimensions, "
        f"`guarded`, 12 bits. {count:,} queries in {found['elapsed_seconds']:.0f} s: "
        f"{count / found['elapsed_seconds']:.1f} a second, p50 {p50:.1f} ms, p99 "
        f"{p99:.1f} ms; {len(found['failures'])} clients ended by an error"
        f"{''.join(': ' + words for words in found['failures'][:1])}. The service took "
        f"{1e3 * theirs / max(1, count):.2f} ms of processor time a query; clients "
        "share the two cores with it. Memory: resident, pages that processes share "
        "counted in each."
    )
    write_part("load", "The service under load", header, table, notes)
