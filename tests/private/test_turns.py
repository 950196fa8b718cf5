"""Steps of a role: one caller at a time, in the process that made it."""

import threading

import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.turns import Turns, one_at_a_time


class Role:
    def __init__(self):
        self._turns = Turns("this role")
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.steps = []

    @one_at_a_time
    def slow(self):
        self.begun.set()
        assert self.go_on.wait(30)
        self.steps.append("slow")

    @one_at_a_time
    def quick(self):
        self.steps.append("quick")

    @one_at_a_time
    def both(self):
        self.quick()
        self.quick()


def test_a_step_waits_for_the_one_that_was_begun():
    role = Role()
    first, second = (threading.Thread(target=one) for one in (role.slow, role.quick))
    first.start()
    assert role.begun.wait(30)
    second.start()
    assert role.steps == []
    role.go_on.set()
    first.join(30)
    second.join(30)
    assert role.steps == ["slow", "quick"]


def test_who_has_a_turn_may_take_another():
    role = Role()
    role.both()
    assert role.steps == ["quick", "quick"]


def test_another_process_is_refused_without_waiting():
    role = Role()
    role._turns.process += 1  # as a forked child sees it
    with pytest.raises(ProtocolError, match="this role belongs to process"):
        role.quick()
    with pytest.raises(ProtocolError, match="this role belongs to process"):
        role._turns.require_own()
    assert role.steps == []
