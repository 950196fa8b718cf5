"""Slow, vanished and repeated clients, lost workers, full disks: others are served."""

import contextlib
import json
import os
import signal
import socket

import numpy as np
import pytest

from helix_jax.net.connections import HEAD_TOO_LARGE
from helix_jax.private import Client

from .asking import Fitting, register, spent
from .phoenix import no_room, stopped, wait_until
from .town import BODY_BYTES

ANSWERS = "/v1/heads/planted/answers"


@pytest.fixture(scope="module")
def asking(town):
    """ada's client and layer of "planted"."""
    ask, client = town.ask("ada"), Client()
    register(ask, client)
    return client, client.read_layer(ask("GET", "/v1/heads/planted").body)


def waiting(ask) -> int:
    """Requests that wait for a worker or use it."""
    text = ask("GET", "/metrics").body.decode()
    (line,) = (one for one in text.splitlines() if one.startswith("helix_waiting "))
    return int(float(line.split()[1]))


def answer_bits(town, ask) -> float:
    about = json.loads(ask("GET", "/v1").body)
    return about["heads"]["planted"]["answer_bits"]


def ended(end: socket.socket) -> bytes:
    """What comes until the other side ends a connection."""
    got = b""
    try:
        while piece := end.recv(65536):
            got += piece
    except ConnectionError:
        pass
    return got


@pytest.mark.slow
def test_who_dawdles_is_ended_and_disturbs_nobody(town, planted):
    eve, bob = town.ask("eve"), town.ask("bob")
    half_head, half_body, nothing_read = eve.open(), eve.open(), eve.open()
    half_head.sendall(b"GET /v1/account HTTP/1.1\r\nHost: h")
    half_body.sendall(eve.head("POST", ANSWERS, 1000) + bytes(500))
    mute = socket.create_connection(
        ("127.0.0.1", int(town.phoenix.served.url.rsplit(":", 1)[1]))
    )
    nothing_read.setblocking(False)
    try:  # answers without end, which nobody takes
        while True:
            nothing_read.send(200 * b"GET /v1 HTTP/1.1\r\nHost: here\r\n\r\n")
    except (BlockingIOError, OSError):
        pass
    # Bodies that never come hold no more memory than one client's share.
    large = [bob.open() for _ in range(6)]
    for end in large:
        end.sendall(bob.head("POST", ANSWERS, BODY_BYTES))
    with town.connect("ada") as provider:
        found = provider.classify("planted", planted.y[:3])
    plain = planted.y[:3] @ planted.kernel + planted.bias
    np.testing.assert_allclose(found, plain, atol=planted.noise)
    assert b" 408 Request Timeout\r\n" in ended(half_body)
    refused = [ended(end) for end in large]
    # One fits in a quarter of the memory, where each counts twice.
    assert sum(b" 429 Too Many Requests\r\n" in one for one in refused) == 5
    assert ended(half_head) == b""
    for one in (mute, nothing_read):
        one.close()


@pytest.mark.parametrize("lines", [[9000] * 4, [40_000], [400_000]])
def test_a_head_that_is_too_large_is_refused_and_ends_the_connection(town, lines):
    line = b"GET /v1 HTTP/1.1\r\nHost: here\r\n"
    more = b"".join(b"Cookie: %s\r\n" % (size * b"x") for size in lines)
    with town.ask("nobody").open() as end:
        with contextlib.suppress(ConnectionError):  # it is closed while more comes
            end.sendall(line + more + b"\r\n" + line + b"\r\n")
        answer = ended(end)
    # Of what is sent behind the refusal TCP may lose the refusal itself.
    if sum(lines) < 100_000 or answer:
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert answer.endswith(HEAD_TOO_LARGE)
        assert answer.count(b"HTTP/1.1 ") == 1


def test_a_refusal_is_told_while_the_body_still_comes(town):
    nobody, ada = town.ask("nobody"), town.ask("ada")
    for ask, size, code in (
        (nobody, 3_000_000, "unauthorized"),
        (ada, BODY_BYTES + 3_000_000, "too_large"),
    ):
        for _ in range(2):  # on one connection
            assert ask("POST", ANSWERS, bytes(size)).code == code


def test_who_vanishes_in_the_middle_of_an_upload_goes_on(town):
    ask = town.ask("bob")
    fit = Fitting(ask, "many", town.many["x"], town.many["ids"])
    assert fit.put(0).status == 204
    message = fit.messages[1]
    end = ask.open()
    end.sendall(ask.head("PUT", f"{fit.path}/rows/1", len(message)))
    end.sendall(message[: len(message) // 2])
    end.close()
    assert fit.next == 1
    assert [fit.put(number).status for number in (1, 1, 0)] == 3 * [204]
    assert fit.put(3).code == "conflict"
    assert fit.next == 2
    changed = fit.messages[1][:-1] + b"?"
    assert ask("PUT", f"{fit.path}/rows/1", changed).code == "conflict"
    assert ask("DELETE", fit.path).status == 204


def test_who_vanishes_before_the_answer_has_it_later_and_once(town, asking, planted):
    ask, (client, layer) = town.ask("ada"), asking
    before, charged = spent(ask, "planted"), len(town.phoenix.charges())
    query = client.encrypt(layer, planted.y[0])
    (worker,), gone = town.phoenix.workers, town.ask("ada")
    lines = len(town.phoenix.audited())
    with stopped(worker):
        gone.send("POST", ANSWERS, query)
        wait_until(lambda: waiting(ask) == 1, "the query at its worker")
        gone.vanish()
    wait_until(lambda: len(town.phoenix.audited()) > lines, "an answer for nobody")
    first, second = ask("POST", ANSWERS, query), ask("POST", ANSWERS, query)
    assert first.status == 200
    assert first.body == second.body
    plain = planted.y[0] @ planted.kernel + planted.bias
    np.testing.assert_allclose(client.decrypt(first.body), plain, atol=planted.noise)
    assert spent(ask, "planted") - before == pytest.approx(answer_bits(town, ask))
    assert len(town.phoenix.charges()) == charged + 1


def test_two_identical_queries_at_once_are_one(town, asking, planted):
    ask, (client, layer) = town.ask("ada"), asking
    before = spent(ask, "planted")
    query = client.encrypt(layer, planted.y[0])
    both = town.ask("ada"), town.ask("ada")
    with stopped(town.phoenix.workers[0]):
        for one in both:
            one.send("POST", ANSWERS, query)
        wait_until(lambda: waiting(ask) == 1, "the queries")
    first, second = (one.receive() for one in both)
    assert (first.status, first.body) == (200, second.body)
    assert spent(ask, "planted") - before == pytest.approx(answer_bits(town, ask))


@pytest.mark.slow
def test_a_worker_that_dies_costs_the_request_it_was_doing(town, asking, planted):
    ask, (client, layer) = town.ask("ada"), asking
    rows = planted.y[:2]
    labels = np.argmax(rows @ planted.kernel + planted.bias, axis=1)
    with town.connect("ada") as provider:
        np.testing.assert_array_equal(provider.classify("labelled", rows), labels)
        queries = [client.encrypt(layer, row) for row in rows]
        lost, served = town.ask("ada"), town.ask("bob")
        (worker,) = town.phoenix.workers
        with stopped(worker):
            lost.send("POST", ANSWERS, queries[0])
            wait_until(lambda: waiting(ask) == 1, "a query at the worker")
            served.send("GET", "/v1/heads/planted")
            wait_until(lambda: waiting(ask) == 2, "another that waits")
            os.kill(worker, signal.SIGKILL)
        answer = lost.receive()
        assert (answer.code, answer.headers["retry-after"]) == ("lost", "1")
        # By the worker that came in its place.
        assert served.receive().status == 200
        assert ask("POST", ANSWERS, queries[0]).status == 200
        assert ask("POST", ANSWERS, queries[1]).status == 200
        # A conversation that was lost with the worker begins anew.
        np.testing.assert_array_equal(provider.classify("labelled", rows), labels)
    (other,) = town.phoenix.workers
    assert other != worker


@pytest.mark.slow
def test_on_a_full_disk_nothing_is_acknowledged_or_lost(town, asking, planted):
    ask, (client, layer) = town.ask("ada"), asking
    fit = Fitting(ask, "many", town.many["x"], town.many["ids"])
    assert [fit.put(number).status for number in range(3)] == 3 * [204]
    before, charges = spent(ask, "planted"), town.phoenix.charges()
    fresh, query = Client(), client.encrypt(layer, planted.y[0])
    processes = [town.phoenix.served.process.pid, *town.phoenix.workers]
    with no_room(processes):
        key = f"/v1/keys/{fresh.key.hex()}", fresh.public_bundle()
        begun = f"/v1/fits/{32 * '0'}", fit.asked
        refused = [
            ask("PUT", *key),
            ask("PUT", *begun),
            ask("POST", ANSWERS, query),
            fit.put(3),
        ]
        assert [one.code for one in refused] == 4 * ["storage"]
        assert ask("GET", "/v1/heads/planted").status == 200
        assert fit.next == 3
        assert town.phoenix.charges() == charges
    assert ask("PUT", *key).status == 204
    assert ask("PUT", *begun).status == 200
    assert ask("POST", ANSWERS, query).status == 200
    assert [fit.put(number).status for number in range(3, 8)] == 5 * [204]
    paths = f"{fit.path}/mean", f"{fit.path}/results/0"
    with no_room(processes):
        assert [ask("GET", path).code for path in paths] == 2 * ["storage"]
    given = [ask("GET", path) for path in paths]
    assert [one.status for one in given] == [200, 200]
    with no_room(processes):  # what is kept is given without any room
        assert [ask("GET", path).body for path in paths] == [one.body for one in given]
    fit.side.read_mean(given[0].body)
    fit.side.read(given[1].body)
    x, y = (rows - rows.mean(axis=0) for rows in (town.many["x"], town.many["y"]))
    error = np.abs(np.asarray(fit.side.moments().cov_xy) - x.T @ y / len(x))
    assert error.max() <= 6 * float(fit.side.noise.max())
    assert spent(ask, "planted") - before == pytest.approx(answer_bits(town, ask))
    assert len(town.phoenix.charges()) == len(charges) + 3
