"""A client of a service that works in turns, so that several can alternate.

Each line of input is the JSON of one turn, each line of output that of its result:

    {"queries": 20}                  one after the other
    {"queries": 5, "port": 4433}     the same by another port, with keys of its own
    {"clients": 8, "seconds": 10}    each in a thread, with keys and a connection of its
                                     own, as many queries as they come to
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Ask = Callable[[np.ndarray], np.ndarray]
Connect = Callable[[int], tuple[Ask, int]]
"""From a port on loopback to a function of one embedding, [d], that gives its logits,
[k]; and the bytes of the keys that were registered for it."""


def take_turns(connect: Connect, port: int, problem: str) -> None:
    """Answer the lines of the standard input until it ends.

    Args:
      connect: makes keys, registers them, returns what asks.
      port: of the server.
      problem: .npz file with kernel [d, k], bias [k] and x [N, d].
    """
    given = np.load(problem)
    x = given["x"]
    truth = x @ given["kernel"] + given["bias"]
    asks: dict[int, Ask] = {}

    def prepare(port: int) -> int:
        asks[port], key_bytes = connect(port)
        asks[port](x[0])  # warms
        return key_bytes

    start = time.perf_counter()
    key_bytes = prepare(port)
    _say({"key_bytes": key_bytes, "setup_seconds": time.perf_counter() - start})
    for line in sys.stdin:
        turn = json.loads(line)
        if "clients" in turn:
            _say(_together(connect, port, x, truth, turn["clients"], turn["seconds"]))
            continue
        way = turn.get("port", port)
        if way not in asks:
            prepare(way)
        _say(_in_turn(asks[way], x, truth, turn["queries"]))


def _in_turn(
    ask: Ask, x: np.ndarray, truth: np.ndarray, queries: int
) -> dict[str, Any]:
    seconds, error, agreed = [], 0.0, 0
    processor = time.process_time()
    for number in range(queries):
        row = number % len(x)
        start = time.perf_counter()
        logits = ask(x[row])
        seconds.append(time.perf_counter() - start)
        error = max(error, float(np.abs(logits - truth[row]).max()))
        agreed += int(logits.argmax() == truth[row].argmax())
    return {
        "seconds": seconds,
        "processor_seconds": time.process_time() - processor,
        "error": error,
        "agreement": agreed / queries,
    }


def _together(
    connect: Connect,
    port: int,
    x: np.ndarray,
    truth: np.ndarray,
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    asks = [connect(port)[0] for _ in range(clients)]
    for ask in asks:
        ask(x[0])  # warms
    times: list[list[float]] = [[] for _ in asks]
    ended: list[float] = []
    errors = [0.0] * clients
    begun = time.perf_counter()

    def work(one: int) -> None:
        while (start := time.perf_counter()) < begun + seconds:
            row = (one + len(times[one])) % len(x)
            logits = asks[one](x[row])
            now = time.perf_counter()
            ended.append(now - begun)
            times[one].append(now - start)
            errors[one] = max(errors[one], float(np.abs(logits - truth[row]).max()))

    with ThreadPoolExecutor(clients) as pool:
        done = [pool.submit(work, one) for one in range(clients)]
    return {
        "seconds": [took for own in times for took in own],
        "ended_seconds": sorted(ended),
        "elapsed_seconds": time.perf_counter() - begun,
        "error": max(errors),
        "failures": [repr(error) for one in done if (error := one.exception())],
    }


def _say(result: dict[str, Any]) -> None:
    json.dump(result, sys.stdout)
    print(flush=True)
