"""All roles of one small session, steppable, with everything that was sent."""

import hashlib
import itertools
from collections.abc import Callable

import numpy as np

from helix_jax.private.aggregation import Aggregator, Silo, new_identity, new_session
from helix_jax.private.aggregation.silo import STEPS

MODULUS = 2**128


def seeded(seed: object) -> Callable[[int], bytes]:
    """A deterministic source of bytes, for tests only."""
    counter = itertools.count()

    def draw(size: int) -> bytes:
        return hashlib.shake_128(f"{seed}/{next(counter)}".encode()).digest(size)

    return draw


def to_words(values) -> np.ndarray:
    """Python integers -> [2, L] uint64, one at a time."""
    values = [int(value) % MODULUS for value in values]
    return np.array([[v % 2**64 for v in values], [v >> 64 for v in values]], np.uint64)


def to_ints(words: np.ndarray) -> list[int]:
    """[2, L] uint64 -> Python integers modulo 2^128, one at a time."""
    return [int(low) + (int(high) << 64) for low, high in words.T]


class Stage:
    """Silos with the given vectors, an aggregator, and their traffic.

    Attributes:
      sent: step -> silo -> what it sent.
      answers: step -> silo -> what the aggregator sent it afterwards.
    """

    def __init__(
        self,
        vectors,
        *,
        threshold=None,
        colluders=None,
        content=b"integers",
        random=None,
        ledgers=None,
        again=(),
    ):
        random, ledgers = random or {}, ledgers or {}
        identities = [new_identity() for _ in range(len(vectors) + 1)]
        self.signing_keys = [private for private, _ in identities]
        self.session = new_session(
            identities[0][1],
            [public for _, public in identities[1:]],
            length=len(vectors[0]),
            content=content,
            threshold=threshold,
            colluders=colluders,
        )
        self.aggregator = Aggregator(self.session, self.signing_keys[0])
        self.silos = {
            k: Silo(
                self.session,
                k,
                self.signing_keys[k],
                to_words(vector),
                rows=str(vector).encode(),
                ledger=ledgers.get(k),
                again=k in again,
                **({"random": random[k]} if k in random else {}),
            )
            for k, vector in enumerate(vectors, start=1)
        }
        self.sent: dict[str, dict[int, bytes]] = {}
        self.answers: dict[str, dict[int, bytes]] = {}

    def act(self, step: str, *, without=()) -> dict[int, bytes]:
        """Every silo that was answered last time takes a step; returns what it sent."""
        before = STEPS.index(step) - 1
        inbox = self.answers[STEPS[before]] if before >= 0 else self.silos
        self.sent[step] = {
            k: getattr(self.silos[k], step)(*((inbox[k],) if before >= 0 else ()))
            for k in inbox
            if k not in without
        }
        return self.sent[step]

    def deliver(self, step: str) -> dict[int, bytes]:
        """The aggregator takes what was sent and closes the round."""
        for data in self.sent[step].values():
            self.aggregator.receive(data)
        self.answers[step] = self.aggregator.close_round()
        return self.answers[step]

    def play(self, *, until: str | None = None, leaves=None) -> "Stage":
        """Go on to the end, or to just before a step; `leaves` maps silo -> step."""
        for step in STEPS[len(self.answers) :]:
            if step == until:
                break
            gone = [k for k, last in (leaves or {}).items() if last == step]
            self.act(step, without=gone)
            self.deliver(step)
        return self

    def total(self) -> list[int]:
        """The sum, as Python integers."""
        return to_ints(self.aggregator.total())
