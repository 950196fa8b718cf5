"""Silos and the aggregator as processes over TLS, killed at each round."""

import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest

from helix_jax.alignment import accumulate
from helix_jax.array_files import read_npz
from helix_jax.net.aggregation import take_part
from helix_jax.private import Ledger
from helix_jax.private.aggregation import decode, name_moments
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.messages import Kind
from helix_jax.private.aggregation.past_sums import were_summed
from helix_jax.private.aggregation.silo import STEPS
from tests.net.sums import (
    ROWS,
    make_parties,
    prepare,
    start_server,
    start_silo,
    wait_until,
)

pytestmark = pytest.mark.slow
OPEN = "--join_seconds=900", "--round_seconds=900"  # nothing closes by the clock


def run_silo(place, url, number):
    """A silo of this process from its first step to the total."""
    with place.connect(url, number) as connection:
        return take_part(place.parties.silo(number), connection)


def wait_for_others(connection, names):
    """Until these alone have not answered in the open round."""
    waiting = lambda: set(connection.describe()["waiting_for"])  # noqa: E731
    wait_until(lambda: waiting() == names, f"waiting for {sorted(names)} alone")


def test_silos_killed_before_each_step_leave_the_sum_of_the_others(
    tmp_path, certificates
):
    """Of 11 silos 6 have to stay; silos 1 to 5 are killed, 6 holds each round open."""
    place = prepare(tmp_path, certificates, make_parties(11, threshold=6))
    server, url = start_server(place, *OPEN)
    programs = {k: start_silo(place, url, k) for k in (1, 2, 3, 4, 5, 11)}
    programs[1].kill()
    with place.connect(url, 6) as connection, ThreadPoolExecutor(4) as pool:
        others = [pool.submit(run_silo, place, url, k) for k in range(7, 11)]
        held, gone, received = place.parties.silo(6), {"silo-1"}, ()
        for number, (step, kind) in enumerate(zip(STEPS, ROUNDS), start=1):
            wait_for_others(connection, gone | {"silo-6"})
            if kind is not Kind.REVEAL:  # the next one goes before its next step
                programs[number + 1].wait_for(step)
                programs[number + 1].kill()
            connection.send(kind, getattr(held, step)(*received))
            wait_for_others(connection, gone)
            server.process.send_signal(signal.SIGUSR1)
            if kind is not Kind.REVEAL:
                received, gone = (connection.receive(kind),), {f"silo-{number + 1}"}
        totals = [connection.total(), *(one.result() for one in others)]
        survivors = connection.describe()["survivors"]
    programs[11].wait_for(f"{8 * ROWS} rows, {ROWS} of them from here")
    assert server.end() == 0
    wanted = place.parties.rehearsed(dict(enumerate(STEPS, start=1)))
    for total in totals:
        np.testing.assert_array_equal(total, wanted)
    assert survivors == [f"silo-{k}" for k in range(4, 12)]
    for k in (2, 3, 4, 5, 11):  # whose vectors have left enter no second sum
        name = name_moments(accumulate([place.parties.rows[k - 1]]))
        assert were_summed(Ledger(tmp_path / f"{k}.db"), name) == (k in (4, 5, 11))
    found = read_npz(tmp_path / "11.sum" / "moments.npz", remedy="")
    moments = decode(wanted, place.parties.agreement.layout)
    for name, part in moments._asdict().items():
        np.testing.assert_array_equal(found[name], part)


def test_an_aggregator_that_is_killed_goes_on_where_it_was(tmp_path, certificates):
    """Killed with three vectors taken and one missing, and after the last message."""
    place = prepare(tmp_path, certificates, make_parties(4))
    server, url = start_server(place, *OPEN)
    port = urlsplit(url).port
    with place.connect(url, 1) as connection, ThreadPoolExecutor(3) as pool:
        others = [pool.submit(run_silo, place, url, k) for k in (2, 3, 4)]
        held, received = place.parties.silo(1), ()
        for step, kind in zip(STEPS, ROUNDS):
            message = getattr(held, step)(*received)
            wait_for_others(connection, {"silo-1"})
            if kind is Kind.MASKED:
                server.kill()
                server, _ = start_server(place, *OPEN, port=port)
                wait_for_others(connection, {"silo-1"})
            connection.send(kind, message)
            connection.send(kind, message)  # as if no answer had come
            if kind is not Kind.REVEAL:
                received = (connection.receive(kind),)
        server.kill()
        server, _ = start_server(place, *OPEN, port=port)
        totals = [connection.total(), *(one.result() for one in others)]
    server.kill()
    for total in totals:
        np.testing.assert_array_equal(total, place.parties.rehearsed())
