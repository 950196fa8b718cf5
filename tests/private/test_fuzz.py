"""Mutated messages are refused in words or read."""

import collections
import functools
import itertools
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.private import PROFILES, wire
from tests.private.message_edits import KIND
from tests.private.mutation_targets import Target, make_targets
from tests.private.mutations import Mutant, mutants, outcome, streams

pytest.importorskip("Pyfhel")
KINDS = [
    "key",
    "layer",
    "query",
    "queries",
    "answer",
    "answers",
    "sum",
    "fit",
    "rows",
    "mean",
    "covariance",
    "private fit",
    "private mean",
    "transfers",
    "elements",
    "choices",
    "garbled",
]
SLOW = {"transfers", "elements"}  # a third of a second where a message is sound
FINE = {"read", "ProtocolError", "KeyRoleError"}
PROFILE = "compact"
# 500,000 of them take hours.
MESSAGES = int(os.environ.get("HELIX_MUTATIONS", "3000"))
ABSURD = {
    "truncated",
    "extended",
    "truncated, length right",
    "extended, length right",
    "random",
    "sizes",
    "length",
    "kind",
    "other kind",
    "version",
}


@functools.cache
def targets():
    return {target.name: target for target in make_targets(PROFILE)}


def stream(name: str, seed: int):
    target = targets()[name]
    others = [
        other.fresh()
        for other in targets().values()
        if other.fresh()[KIND] != target.fresh()[KIND]
    ]
    return mutants(target, others, np.random.default_rng(seed))


@pytest.mark.slow
def test_every_kind_is_mutated():
    assert list(targets()) == KINDS
    kinds = {target.fresh()[KIND] for target in targets().values()}
    assert kinds == set(wire.KINDS.values())


@pytest.mark.parametrize("name", KINDS)
def test_sound_messages_are_read(name):
    target = targets()[name]
    for _ in range(2):
        sound = Mutant("none", target.fresh(), False)
        assert outcome(target, sound) == "read"


@pytest.mark.parametrize("name", KINDS)
def test_every_mutation(name):
    """All changes, some 15 times each; those that must be refused are."""
    count = 60 if name in SLOW else 300
    found = {
        outcome(targets()[name], mutant)
        for mutant in itertools.islice(stream(name, 0), count)
    }
    assert found <= FINE
    assert "read" in found
    assert "ProtocolError" in found


@pytest.mark.slow
def test_no_reader_of_any_profile_is_harmed():
    """HELIX_MUTATIONS of them in all, in turns; what went wrong is named."""
    generator = np.random.default_rng(0)
    pairs = [pair for name in PROFILES for pair in streams(name, generator)]
    found = collections.Counter()
    for number in range(MESSAGES):
        target, changed = pairs[number % len(pairs)]
        found[target.name, outcome(target, next(changed))] += 1
    assert found.total() == MESSAGES
    assert {key for key in found if key[1] not in FINE} == set()
    assert {outcome for _, outcome in found} == FINE


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([name for name in KINDS if name not in SLOW]), st.data())
def test_drawn_bytes(name, data):
    """Hypothesis chooses the bytes, and shrinks what fails."""
    sound = bytearray(targets()[name].fresh())
    places = st.integers(0, min(len(sound), 200) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=6), "places"):
        sound[place] = data.draw(st.integers(0, 255), "byte")
    mutant = Mutant("drawn", bytes(sound), False)
    assert outcome(targets()[name], mutant) in FINE


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_allocated_for_what_is_refused(name):
    """Absurd sizes and lengths: no more than the message itself is copied."""
    target = targets()[name]
    own = [
        mutant
        for mutant in itertools.islice(stream(name, 1), 150)
        if mutant.change in ABSURD and mutant.unsound
    ]
    assert {mutant.change for mutant in own} == ABSURD
    outcome(target, own[0])
    for mutant in own:
        base = _setup_bytes(target)
        tracemalloc.start()
        try:
            assert outcome(target, mutant) in FINE - {"read"}
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < base + 50_000 + 2 * len(mutant.data), mutant.change


def _setup_bytes(target: Target) -> int:
    """What the reader's own side needs: a FitProvider and the key it registers."""
    if target.name != "rows":
        return 0
    tracemalloc.start()
    try:
        outcome(target, Mutant("empty", b"", True))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
