"""Searches with both parties in one process, timed, with the bytes between them."""

import time
from typing import Any, NamedTuple

import numpy as np

from helix_jax.private.search.client import SearchClient, Steps
from helix_jax.private.search.provider import SearchProvider
from helix_jax.progress import bar

WARMUPS = 2  # first searches, which compile


class Costs(NamedTuple):
    """Costs of one search, or of reading one text.

    Attributes:
      client_seconds, provider_seconds: wall-clock time.
      cpu_seconds: processor time of the process, for both parties.
      sent_bytes, received_bytes: by the client.
      parts: number of parts of the index that were requested.
    """

    client_seconds: float
    provider_seconds: float
    cpu_seconds: float
    sent_bytes: int
    received_bytes: int
    parts: int


class Rehearsed(NamedTuple):
    """The results of some searches.

    Attributes:
      rows: [Q, k] the hits' row numbers in the index's order; -1 beyond the last hit.
      chosen: [Q] the set of clusters that each query chose; -1 for none.
      costs: of each query.
    """

    rows: np.ndarray
    chosen: np.ndarray
    costs: list[Costs]


def rehearse_search(
    search: SearchClient, provider: SearchProvider, queries: np.ndarray, k: int
) -> Rehearsed:
    """Search for queries [Q, d], one after the other."""
    rows = np.full((len(queries), k), -1)
    chosen, costs = np.full(len(queries), -1), []
    for query in queries[:WARMUPS]:
        timed(search.search(query, k), provider)
    for number, query in enumerate(bar(queries, "private searches")):
        hits, spent = timed(search.search(query, k), provider)
        rows[number, : len(hits)] = [hit.row for hit in hits]
        chosen[number] = hits[0].chosen if hits else -1
        costs.append(spent)
    return Rehearsed(rows, chosen, costs)


def timed(steps: Steps, provider: SearchProvider) -> tuple[Any, Costs]:
    """Run the steps of a search; returns what they return, and their costs."""
    sent = received = parts = 0
    provided, start, cpu = 0.0, time.perf_counter(), time.process_time()
    answers = None
    while True:
        try:
            request = next(steps) if answers is None else steps.send(answers)
        except StopIteration as end:
            whole = time.perf_counter() - start
            spent = time.process_time() - cpu
            costs = Costs(whole - provided, provided, spent, sent, received, parts)
            return end.value, costs
        begun = time.perf_counter()
        answers = provider.answer(request.message, request.parts)
        provided += time.perf_counter() - begun
        sent += len(request.message)
        received += sum(map(len, answers))
        parts += len(request.parts)
