"""Steps that several threads ask for at once are taken once."""

import copy
import pickle
import threading

import pytest

from helix_jax.errors import KeyRoleError
from helix_jax.private.aggregation import Aggregator, Silo
from helix_jax.private.aggregation.silo import STEPS
from tests.private.aggregation.stage import Stage, seeded


def at_once(calls):
    """What calls in threads of their own give, or the type of what they raise."""
    found = []

    def run(call):
        try:
            found.append(call())
        except KeyRoleError as error:
            found.append(type(error))

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_secrets_are_shared_once():
    """Two sharings would be sealed under the same keys, which are for one use."""
    both, draw = threading.Barrier(2, timeout=0.3), seeded("turns")
    drawn = []

    def random(size):
        drawn.append(size)
        if len(drawn) > 3:  # after `advertise`: both threads are in `share`, or one is
            try:
                both.wait()
            except threading.BrokenBarrierError:
                both.abort()
        return draw(size)

    stage = Stage([[1], [2], [3]], random={1: random}).play(until="share")
    silo, message = stage.silos[1], stage.answers["advertise"][1]
    found = at_once([lambda: silo.share(message)] * 2)
    assert found.count(KeyRoleError) == 1
    stage.sent["share"] = {1: next(one for one in found if isinstance(one, bytes))}
    for k in (2, 3):
        stage.sent["share"][k] = stage.silos[k].share(stage.answers["advertise"][k])
    stage.deliver("share")
    assert stage.play().total() == [6]


def test_all_steps_have_one_caller_at_a_time():
    steps = [(Silo, step) for step in STEPS]
    steps += [(Aggregator, step) for step in ("receive", "close_round", "total")]
    assert all(hasattr(getattr(role, step), "__wrapped__") for role, step in steps)


def test_a_silo_is_not_copied():
    silo = Stage([[1], [2], [3]]).silos[1]
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="takes each step once"):
            leave(silo)
