"""What a client may ask for: a burst, then its rate; bytes that are given back."""

import itertools

import pytest

from helix_jax.net import limits
from helix_jax.net.limits import Meter, Meters
from helix_jax.net.refusals import Refusal
from helix_jax.net.settings import Limits
from helix_jax.net.state import State, today

RATE = 5.0
OWN = Limits(
    requests_per_second=RATE,
    requests_at_once=3,
    uploads_at_once=1,
    bytes_per_day=1000.0,
)


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    one = Clock()
    monkeypatch.setattr(limits, "time", one)
    return one


@pytest.fixture
def meters(tmp_path, clock):
    state = State(tmp_path / "state")
    yield Meters(state, lambda identity: OWN, memory_bytes=400)
    state.close()


def taken(meter):
    """Requests that are granted one after the other."""
    for count in itertools.count():
        try:
            meter.take()
        except Refusal:
            return count


@pytest.mark.parametrize("idle", [0.0, 1.0, 3600.0])
def test_a_burst_is_of_two_seconds_however_long_a_client_was_idle(clock, idle):
    meter = Meter(OWN, used=0)
    clock.now += idle
    assert taken(meter) == 2 * RATE


def test_after_a_burst_requests_come_back_at_their_rate(clock):
    meter = Meter(OWN, used=0)
    taken(meter)
    for seconds in (1.0, 0.4, 1.6):
        clock.now += seconds
        assert taken(meter) == pytest.approx(seconds * RATE)


def test_bytes_of_the_day_end_requests(clock):
    meter = Meter(OWN, used=600)
    meter.take()
    meter.add(400)
    with pytest.raises(Refusal, match="1000 bytes today"):
        meter.take()


def test_requests_and_uploads_at_once_are_counted_until_they_end(meters):
    with meters.request("ada", upload=True):
        with (
            pytest.raises(Refusal, match="uploads"),
            meters.request("ada", upload=True),
        ):
            pass
        with meters.request("ada", upload=False), meters.request("bo", upload=True):
            pass
    for _ in range(2):
        with meters.request("ada", upload=True) as meter:
            assert (meter.requests, meter.uploads) == (1, 1)
    assert (meter.requests, meter.uploads) == (0, 0)


def test_memory_is_given_back_and_one_client_has_a_quarter_or_one_body(meters):
    ada, bo = meters.of("ada"), meters.of("bo")
    with meters.memory(300, ada):  # one body, of whatever size
        for size, client in ((1, ada), (101, bo)):
            with pytest.raises(Refusal, match="300 bytes"), meters.memory(size, client):
                pass
        with meters.memory(60, bo), meters.memory(40, bo):
            assert meters.held == 400
    assert (meters.held, ada.held, bo.held) == (0, 0, 0)
    with meters.memory(300, ada):
        pass


def test_a_restarted_service_knows_what_was_used_today(tmp_path, meters):
    with meters.request("ada", upload=False) as meter:
        meter.add(123)
    meters.write()
    meters.write()  # what is written is not written again
    again = Meters(meters._state, lambda identity: OWN, memory_bytes=400)
    assert again.of("ada").used_bytes == 123
    assert meters._state.usage("ada", today()) == (1, 123)
