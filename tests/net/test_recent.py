"""Answers kept for a client whose connection broke: once, and not for long."""

import asyncio
from types import SimpleNamespace

import pytest

from helix_jax.net import recent
from helix_jax.net.recent import RecentAnswers


@pytest.fixture
def clock(monkeypatch):
    one = SimpleNamespace(now=0.0)
    one.monotonic = lambda: one.now
    monkeypatch.setattr(recent, "time", one)
    return one


def test_what_is_asked_again_is_computed_once(clock):
    made, repeats = [], []

    async def make():
        made.append(1)
        await asyncio.sleep(0)
        return bytes([len(made)])

    async def ask():
        kept = RecentAnswers(lambda: repeats.append(1))
        at_once = await asyncio.gather(*(kept.once(b"a", make) for _ in range(3)))
        return [*at_once, await kept.once(b"a", make), await kept.once(b"b", make)]

    assert asyncio.run(ask()) == [b"\1", b"\1", b"\1", b"\1", b"\2"]
    assert len(repeats) == 3


def test_an_answer_that_failed_is_made_again(clock):
    async def fail():
        raise ValueError("no answer")

    async def make():
        return b"answer"

    async def ask():
        kept = RecentAnswers()
        with pytest.raises(ValueError, match="no answer"):
            await kept.once(b"a", fail)
        return await kept.once(b"a", make)

    assert asyncio.run(ask()) == b"answer"


def test_names_tell_clients_paths_and_bodies_apart():
    asked = [("ada", "/v1", b"x"), ("bo", "/v1", b"x"), ("ada", "/v2", b"x")]
    asked += [("ada", "/v1", b"y"), ("ada", "/v1x", b"")]
    assert len({RecentAnswers.name(*one) for one in asked}) == len(asked)


def test_answers_are_forgotten_after_their_time(clock):
    kept = RecentAnswers(seconds=10.0)
    kept.keep(b"a", b"1")
    clock.now = 6.0
    kept.keep(b"b", b"2")
    clock.now = 10.0
    assert (kept.get(b"a"), kept.get(b"b")) == (b"1", b"2")
    clock.now = 10.5
    assert (kept.get(b"a"), kept.get(b"b")) == (None, b"2")


def test_the_oldest_make_room_for_the_newest(clock):
    kept = RecentAnswers(most_bytes=100)
    for number in range(5):
        kept.keep(bytes([number]), bytes(40))
    assert [kept.get(bytes([number])) is not None for number in range(5)] == [
        *(False, False, False),
        *(True, True),
    ]
    kept.keep(b"large", bytes(101))
    assert all(kept.get(name) is None for name in (b"\3", b"\4", b"large"))
