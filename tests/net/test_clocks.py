"""Clocks that jump: what ends, what comes back, what stays counted."""

import os

import numpy as np
import pytest

from helix_jax.net.identities import Identities
from helix_jax.net.state_file import FILE

from .asking import Asker, Fitting, spent
from .clocks import Clock
from .phoenix import plant_many
from .services import start_service, stop_service

HOUR, DAY = 3600.0, 86_400.0
_SETTINGS = """
plain_http = true
[limits]
fits_per_day = 1
bytes_per_day = 4e6
[heads.planted]
path = "{head}"
[rows.many]
path = "{rows}"
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """Of the service."""
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return plant_many(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def service(clock, planted, many, tmp_path_factory):
    """With that clock, and few fits and bytes a day."""
    folder = tmp_path_factory.mktemp("clocks")
    (folder / "state").mkdir(0o700)
    config = folder / "service.toml"
    config.write_text(_SETTINGS.format(head=planted.head_file, rows=many["file"]))
    paths = f"{clock.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", paths)
        one = start_service(folder / "state", f"--config={config}")
    yield one
    stop_service(one.process)


@pytest.fixture
def token(service, clock):
    """(name, seconds) -> a token that begins at the true time."""
    clock.set(0.0)
    issuing = Identities(service.state / FILE)
    yield issuing.issue
    issuing.close()
    clock.set(0.0)


def test_tokens_end_with_the_clock_and_come_back_with_it(service, clock, token):
    ask = Asker(service.url, token=token("short", HOUR))
    long = Asker(service.url, token=token("long", 3 * DAY))
    for ahead, holds in ((0, True), (2 * HOUR, False), (-2 * HOUR, True), (0, True)):
        clock.set(ahead)
        assert ask("GET", "/v1/account").status == (200 if holds else 401)
        assert long("GET", "/v1/account").status == 200


@pytest.mark.slow
def test_tickets_are_renewed_wherever_the_clock_goes(service, clock, token, planted):
    with service.connect(token=token("walker", 300 * DAY)) as provider:
        plain = planted.y[0] @ planted.kernel + planted.bias
        bits = provider.about()["heads"]["planted"]["answer_bits"]
        for ahead in (0, 90 * 60, 30 * DAY, 0, -30 * DAY, 0):
            clock.set(ahead)
            found = provider.classify("planted", planted.y[0])
            np.testing.assert_allclose(found, plain, atol=planted.noise)
        # What was told stays told, whatever day it is.
        spent_bits = provider.account()["heads"]["planted"]["bits"]
    assert spent_bits == pytest.approx(6 * bits)


def test_a_fit_goes_on_though_the_clock_jumps(service, clock, token, many):
    ask = Asker(service.url, token=token("fitter", 300 * DAY))
    fit = Fitting(ask, "many", many["x"], many["ids"])
    for number, ahead in enumerate((0, 10 * DAY, -10 * DAY, 3 * HOUR)):
        clock.set(ahead)
        assert fit.put(number).status == 204
    assert fit.next == 4


@pytest.mark.slow
def test_a_days_fits_and_bytes_return_on_the_next_day_and_not_on_one_that_was(
    service, clock, token, many
):
    ask = Asker(service.url, token=token("greedy", 300 * DAY))
    fit = Fitting(ask, "many", many["x"], many["ids"])
    another = f"/v1/fits/{32 * '8'}", fit.asked
    assert ask("PUT", *another).code == "quota"
    while (answer := fit.put(0)).status == 204:  # the same again, until the day is full
        pass
    assert answer.code == "quota"
    clock.set(2 * DAY)
    assert fit.put(0).status == 204
    assert ask("PUT", *another).status == 200
    clock.set(0.0)
    # Back on the day that was full; a fit of the day after counts for it, too.
    assert fit.put(0).code == "quota"
    clock.set(-2 * DAY)
    assert ask("PUT", f"/v1/fits/{32 * '9'}", fit.asked).code == "quota"
    assert spent(ask, "planted") == 0
