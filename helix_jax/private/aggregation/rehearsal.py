"""All roles of one sum in one process, for tests, experiments and measuring cost."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from helix_jax.alignment import Moments
from helix_jax.private.aggregation.aggregator import Aggregator
from helix_jax.private.aggregation.fixed_point import MomentsFormat, decode, encode
from helix_jax.private.aggregation.int128 import add, zeros
from helix_jax.private.aggregation.session import new_identity, new_session
from helix_jax.private.aggregation.silo import STEPS, Silo

_R = TypeVar("_R")


class Rehearsal(NamedTuple):
    """The result of a sum, and its cost.

    Attributes:
      total: [2, L] uint64.
      survivors: numbers of the silos whose vectors are in it.
      silo_seconds: silo -> seconds in all its steps.
      aggregator_seconds: in all rounds.
      upload_bytes: silo -> bytes of all its messages.
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
    """Sum vectors as their silos and an aggregator would, with fresh identities.

    Args:
      vectors: [2, L] uint64, one per silo.
      content: what they mean.
      threshold: None for `default_threshold`.
      leaves: silo number -> the step before which it leaves for good: "advertise",
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
        k: Silo(
            session,
            k,
            identities[k][0],
            vectors[k - 1],
            rows=k.to_bytes(2),
            ledger=None,
        )
        for k in session.numbers
    }
    seconds = dict.fromkeys(session.numbers, 0.0)
    sizes = dict.fromkeys(session.numbers, 0)
    aggregator_seconds = 0.0

    def timed(function: Callable[..., _R], *args: bytes) -> tuple[_R, float]:
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
            aggregator_seconds += timed(aggregator.receive, sent)[1]
        answers, spent = timed(aggregator.close_round)
        aggregator_seconds += spent
        inbox = {k: (data,) for k, data in answers.items()}
    return Rehearsal(
        aggregator.total(), aggregator.survivors, seconds, aggregator_seconds, sizes
    )


class MomentsRehearsal(NamedTuple):
    """The sum of some silos' moments, and its cost.

    Attributes:
      moments: of all rows of the silos that stayed.
      equal_to_clear_sum: whether the total is the sum of their integers, bit for bit.
      silo_seconds: mean over the silos that stayed.
      cost: Rehearsal of the sum.
    """

    moments: Moments
    equal_to_clear_sum: bool
    silo_seconds: float
    cost: Rehearsal


def rehearse_moments(
    silos: Sequence[Moments],
    layout: MomentsFormat,
    *,
    threshold: int | None = None,
    leaves: Mapping[int, str] | None = None,
) -> MomentsRehearsal:
    """Sum moments as their silos and an aggregator would; arguments as in `rehearse`.

    Raises:
      ProtocolError: too few silos stayed.
      ValueError: moments are beyond the bounds of the layout.
    """
    vectors = [encode(moments, layout) for moments in silos]
    cost = rehearse(vectors, content=layout.content, threshold=threshold, leaves=leaves)
    clear = zeros(layout.length)
    for k in cost.survivors:
        add(clear, vectors[k - 1])
    seconds = [cost.silo_seconds[k] for k in sorted(cost.survivors)]
    return MomentsRehearsal(
        decode(cost.total, layout),
        np.array_equal(cost.total, clear),
        float(np.mean(seconds)),
        cost,
    )
