"""All roles of one sum in one process, for tests, experiments and to see its cost."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.private.aggregation.aggregator import Aggregator
from helix_jax.private.aggregation.session import new_identity, new_session
from helix_jax.private.aggregation.silo import STEPS, Silo


class Rehearsal(NamedTuple):
    """What came out of a sum, and what it cost.

    Attributes:
      total: [2, L] uint64.
      survivors: numbers of the silos whose vectors are in it.
      silo_seconds: by silo, in all its steps.
      aggregator_seconds: in all rounds.
      upload_bytes: by silo, all its messages.
    """

    total: np.ndarray
    survivors: frozenset[int]
    silo_seconds: dict[int, float]
    aggregator_seconds: float
    upload_bytes: dict[int, int]


def rehearse(
    vectors: Sequence[np.ndarray],
    *,
    content: bytes,
    threshold: int | None = None,
    leaves: Mapping[int, str] | None = None,
) -> Rehearsal:
    """Sum vectors as their silos and an aggregator would, over fresh identities.

    Args:
      vectors: [2, L] uint64, one a silo.
      content: what they mean.
      threshold: None for `default_threshold`.
      leaves: silo number -> the step before which it is gone for good: "advertise",
        "share", "mask", "confirm" or "reveal".

    Returns:
      Rehearsal.

    Raises:
      ProtocolError: too few silos stayed.
    """
    identities = [new_identity() for _ in range(len(vectors) + 1)]
    session = new_session(
        identities[0][1],
        [public for _, public in identities[1:]],
        length=vectors[0].shape[1],
        content=content,
        threshold=threshold,
    )
    aggregator = Aggregator(session, identities[0][0])
    silos = {
        k: Silo(session, k, identities[k][0], vectors[k - 1]) for k in session.numbers
    }
    seconds = dict.fromkeys(session.numbers, 0.0)
    sizes = dict.fromkeys(session.numbers, 0)
    own = 0.0

    def timed(function: Callable, *args: bytes) -> tuple[object, float]:
        start = time.perf_counter()
        result = function(*args)
        return result, time.perf_counter() - start

    inbox: dict[int, tuple[bytes, ...]] = {k: () for k in session.numbers}
    for step in STEPS:
        for k, received in inbox.items():
            if (leaves or {}).get(k) == step:
                silos.pop(k, None)
            if k not in silos:
                continue
            sent, spent = timed(getattr(silos[k], step), *received)
            seconds[k] += spent
            sizes[k] += len(sent)
            own += timed(aggregator.receive, sent)[1]
        answers, spent = timed(aggregator.close_round)
        own += spent
        inbox = {k: (data,) for k, data in answers.items()}
    return Rehearsal(aggregator.total(), aggregator.survivors, seconds, own, sizes)
