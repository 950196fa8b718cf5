"""Kill -9 at random points: nothing acknowledged is lost, nothing is charged twice."""

import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helix_jax.net.transport import ServiceError

from .asking import Asker, Fitting
from .phoenix import Phoenix, lives, plant_many, stopped, wait_until

pytestmark = pytest.mark.slow

KILLS = 3


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Rows of a fit of eight messages."""
    return plant_many(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def phoenix(planted, many, tmp_path_factory):
    """A service that is killed by the tests, and lives after each."""
    words = f"--heads=planted={planted.head_file}", f"--rows=many={many['file']}"
    one = Phoenix(tmp_path_factory.mktemp("killed") / "state", *words)
    yield one
    one.kill()


def acknowledged(phoenix) -> dict[str, int]:
    """Fit -> messages of rows that were acknowledged, of those that are not over."""
    found, over = {}, set()
    for line in phoenix.audited():
        parts = line["path"].split("/")
        if line["status"] == 204 and "rows" in parts:
            found[parts[3]] = max(found.get(parts[3], 0), int(parts[5]) + 1)
        if line["method"] == "DELETE":
            over.add(parts[3])
    return {fit: count for fit, count in found.items() if fit not in over}


def test_killed_at_random_points_it_loses_nothing_and_charges_once(
    phoenix, many, planted
):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, over = random.Random(seed), threading.Event()
    fitted, answered = [], []

    def fit():
        with phoenix.connect() as provider:
            while not over.is_set():
                fitted.append(provider.fit("many", many["x"], ids=many["ids"]))

    def ask():
        with phoenix.connect() as provider:
            while not over.is_set():
                answered.append(provider.classify("planted", planted.y[:3]))

    with ThreadPoolExecutor(2) as threads:
        work = [threads.submit(fit), threads.submit(ask)]
        try:
            for _ in range(KILLS):
                begun = len(phoenix.audited())
                enough = begun + chance.randrange(1, 40)
                wait_until(
                    lambda enough=enough: (
                        len(phoenix.audited()) >= enough or any(w.done() for w in work)
                    ),
                    "requests between two kills",
                )
                time.sleep(chance.uniform(0, 0.1))  # anywhere in the next request
                phoenix.kill()
                kept = acknowledged(phoenix)
                phoenix.start()
                with phoenix.connect() as looking:
                    for fit, count in kept.items():
                        # One whose end was asked for may be over by now.
                        expected = _next_rows(looking, fit)
                        assert fit not in acknowledged(phoenix) or expected >= count
        finally:
            over.set()
        for one in work:
            one.result(300)

    x, y = (rows - rows.mean(axis=0) for rows in (many["x"], many["y"]))
    assert fitted
    for one in fitted:
        error = np.abs(np.asarray(one.moments.cov_xy) - x.T @ y / len(x))
        assert error.max() <= 6 * float(one.noise.max())
    plain = planted.y[:3] @ planted.kernel + planted.bias
    for one in answered:
        np.testing.assert_allclose(one, plain, atol=planted.noise)

    with phoenix.connect() as provider:
        bits = provider.about()["heads"]["planted"]["answer_bits"]
    charges = phoenix.charges()
    queries = [one for one in charges if len(one[1]) == 32]
    of_fits = [one for one in charges if one[1][16:] in (b"mean", b"results")]
    assert len(queries) + len(of_fits) == len(charges)
    assert all(one[3] == pytest.approx(3 * bits) for one in queries)
    # A kill may cost the answer to the one query that was on its way.
    assert len(answered) <= len(queries) <= len(answered) + KILLS
    assert len(of_fits) == 2 * len(fitted)
    for (subject, client), total in phoenix.totals().items():
        own = [one[3] for one in charges if one[0] == subject and one[2] == client]
        assert total == pytest.approx(sum(own))


def test_a_killed_service_takes_its_workers_along_and_gives_the_same_bytes_again(
    phoenix, many
):
    ask = Asker(phoenix.served.url)
    fit = Fitting(ask, "many", many["x"], many["ids"])
    assert [fit.put(number).status for number in range(8)] == 8 * [204]
    paths = f"{fit.path}/mean", f"{fit.path}/results/0"
    before = [ask("GET", path).body for path in paths]
    charged = len(phoenix.charges())
    (worker,) = phoenix.workers
    with stopped(worker):  # it cannot see that its service is gone, and yet ends
        os.kill(phoenix.served.process.pid, signal.SIGKILL)
        phoenix.served.process.wait(60)
        wait_until(lambda: not lives(worker), "the worker's end")
    phoenix.served.process.stdout.close()
    phoenix.start()
    ask = Asker(phoenix.served.url)
    assert [ask("GET", path).body for path in paths] == before
    assert len(phoenix.charges()) == charged
    # Over, and over when it is asked for again: the first answer may have been lost.
    assert [ask("DELETE", fit.path).status for _ in range(2)] == [204, 204]
    assert ask("GET", paths[0]).code == "not_found"


def _next_rows(provider, fit):
    """The message that a fit expects; -1 where there is no such fit."""
    try:
        asked = provider._own.transport.ask("GET", f"/v1/fits/{fit}")
        return json.loads(provider._wait(asked).body)["next"]
    except ServiceError as error:
        if error.code != "not_found":
            raise
        return -1
