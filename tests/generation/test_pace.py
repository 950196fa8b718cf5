"""How long blocks are follows from what they take and from how often guesses fail."""

import dataclasses

import pytest

from helix_jax.generation import pace
from helix_jax.generation.guesses import native_guesses
from helix_jax.generation.pace import Pace


@pytest.fixture
def guesses():
    """Those of a hybrid, one in a hundred of which is wrong."""
    return dataclasses.replace(native_guesses(10), learns=True, risk=0.01)


def paced(monkeypatch, *, step, host, rows=4, large=False):
    """The pace after three blocks of one step."""
    clock, made = [0.0], Pace(rows, large=large)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock[0])
    for _ in range(3):
        begun = clock[0]
        clock[0] += step
        made.note(begun, 1)
        clock[0] += host
    return made


def test_the_device_waits_where_a_step_is_long(monkeypatch, guesses):
    made = paced(monkeypatch, step=0.07, host=0.001)
    assert made.plan(guesses, 32) == (1, 1)
    guesses.risk = 1e-4
    assert made.plan(guesses, 32) == (4, 1)


def test_it_runs_ahead_where_a_step_is_short(monkeypatch, guesses):
    made = paced(monkeypatch, step=0.0005, host=0.001)
    assert made.plan(guesses, 32) == (3, 2)
    guesses.risk = 1e-9
    assert made.plan(guesses, 8) == (8, 2)


def test_at_first_the_size_of_the_model_decides(guesses):
    assert Pace(4, large=True).plan(guesses, 32) == (1, 1)
    assert Pace(4, large=False).plan(guesses, 32) == (3, 2)


def test_native_guesses_never_fail(monkeypatch):
    for step in (0.1, 0.0001):
        made = paced(monkeypatch, step=step, host=0.001)
        assert made.plan(native_guesses(10), 32) == (32, 2)
