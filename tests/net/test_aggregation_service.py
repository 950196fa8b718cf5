"""The aggregation service from outside, over TLS: who is let in, and what is taken."""

import contextlib
import dataclasses
import json
import random
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import jax
import numpy as np
import pytest
import uvicorn

from helix_jax.errors import ProcessError, ProtocolError
from helix_jax.net.aggregation import AGGREGATION_DOORS, AggregationService, take_part
from helix_jax.net.aggregation.desk import DEADLINES, Deadlines
from helix_jax.net.app import make_app
from helix_jax.net.connections import Connection
from helix_jax.net.identities import Identities
from helix_jax.net.refusals import CODES
from helix_jax.net.server import identifier
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.tls import client_context, server_context
from helix_jax.private.aggregation.messages import Kind, message_bytes
from tests.net.sums import make_parties, prepare, wait_until


@contextlib.contextmanager
def served(place, *more, deadlines=DEADLINES, publish=True):
    """The URL of the service of some places' sessions, on a thread of this process."""
    files = [str(place.certificates / f"server.{end}") for end in ("pem", "key")]
    settings = ServiceSettings(state=str(place.state), certificate=files[0])
    service = AggregationService(
        settings,
        [one.parties.agreement for one in (place, *more)],
        place.parties.aggregator_key,
        deadlines=deadlines,
        publish=publish,
    )
    identities = Identities(place.state / "state.db")
    app = make_app(service, identifier(settings, identities), AGGREGATION_DOORS)
    authority = place.certificates / "authority.pem"
    tls = server_context(*files, authority, require_client=False)
    config = uvicorn.Config(
        app,
        port=0,
        http=Connection,
        ssl_context_factory=lambda *_: tls,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server's start")
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"https://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory, certificates):
    return prepare(tmp_path_factory.mktemp("sum"), certificates, make_parties(4))


@pytest.fixture(scope="module")
def url(place):
    with served(place) as url:
        yield url


@pytest.fixture
def http(place, url):
    """Plain requests of this machine, as silo 2."""
    session = f"{url}/v1/sessions/{place.parties.agreement.digest}"
    with httpx2.Client(
        base_url=session,
        verify=client_context(place.certificates / "authority.pem"),
        headers={"Authorization": f"Bearer {place.tokens[1]}"},
        trust_env=False,
    ) as client:
        yield client


def code_of(response):
    """The status and the code of a refusal, of which nothing else is said."""
    code = response.json()["error"]
    assert response.json() == {"error": code, "message": CODES[code].message}
    return response.status_code, code


def run_silo(place, url, number):
    with place.connect(url, number) as connection:
        return take_part(place.parties.silo(number), connection)


@pytest.fixture
def compiled():
    """Names of what JAX has compiled since."""
    events = []

    def listen(event, _, **__):
        if "compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


def test_two_sessions_at_once_do_not_see_each_other(tmp_path, certificates, compiled):
    places = []
    for seed in (1, 2):
        (tmp_path / f"{seed}").mkdir()
        parties = make_parties(3, seed=seed, aggregator_key=bytes(32))
        places.append(prepare(tmp_path / f"{seed}", certificates, parties))
    first, second = places
    second = second._replace(tokens=first.tokens)  # the same silos
    compiled.clear()
    with served(first, second) as url, ThreadPoolExecutor(6) as pool:
        work = [
            (one, pool.submit(run_silo, one, url, k))
            for k in (1, 2, 3)
            for one in (first, second)
        ]
        for one, total in work:
            np.testing.assert_array_equal(total.result(), one.parties.rehearsed())
    assert compiled == []


@pytest.mark.parametrize("token", ["helix_0", "Basic x", None], ids=str)
def test_strangers_are_told_nothing(http, token):
    del http.headers["Authorization"]
    if token is not None:
        http.headers["Authorization"] = f"Bearer {token}"
    for path in (str(http.base_url).rstrip("/"), "/keys", "/total"):
        assert code_of(http.get(path)) == (401, "unauthorized")
    assert code_of(http.put("/keys", content=b"x" * 213)) == (401, "unauthorized")


def test_a_token_that_is_revoked_counts_no_more(place, http):
    with contextlib.closing(Identities(place.state / "state.db")) as identities:
        token = identities.issue("silo-2", 60)
        http.headers["Authorization"] = f"Bearer {token}"
        assert http.get(str(http.base_url).rstrip("/")).status_code == 200
        identities.revoke(token.split("_")[1])
        assert code_of(http.get(str(http.base_url).rstrip("/"))) == (
            401,
            "unauthorized",
        )
        other = identities.issue("somebody", 60)
    http.headers["Authorization"] = f"Bearer {other}"
    assert code_of(http.get("/keys")) == (404, "not_found")  # as if there were none


def test_a_certificate_says_who_a_silo_is(tmp_path, certificates):
    parties = make_parties(3)
    names = ("ada", "silo-2", "silo-3")
    agreement = dataclasses.replace(parties.agreement, names=names)
    place = prepare(tmp_path, certificates, parties._replace(agreement=agreement))
    files = [certificates / name for name in ("authority.pem", "ada.pem", "ada.key")]
    names = ("authority", "certificate", "private_key")
    own = {"token": None, **dict(zip(names, files))}
    with served(place) as url, place.connect(url, 1, **own) as connection:
        connection.send(Kind.KEYS, place.parties.silo(1).advertise())
        assert connection.describe()["waiting_for"] == ["silo-2", "silo-3"]


def test_what_is_asked_wrongly_is_refused_by_a_word(http, url):
    def chunks():
        yield b"x" * 213

    for response, said in (
        (http.get(f"{url}/v1/sessions/{'0' * 64}"), (404, "not_found")),
        (http.get("/nothing"), (404, "not_found")),
        (http.put("/nothing", content=b"x"), (404, "not_found")),
        (http.delete("/keys"), (405, "method")),
        (http.get("/keys?wait=soon"), (400, "malformed")),
        (http.put("/keys", content=chunks()), (411, "length_required")),
        (http.put("/keys", content=b"x" * 212), (400, "malformed")),
        (http.put("/keys", content=b"x" * 213), (403, "forbidden")),
        (http.put("/masked", content=b"x" * 452), (409, "early")),
    ):
        assert code_of(response) == said
    assert http.get(f"{url}/v1").json()["protocol"] == 1
    assert http.get(f"{url}/health/ready").status_code == 200


def test_a_size_is_refused_before_a_byte_of_the_body_comes(place, url):
    parts = urlsplit(url)
    tls = client_context(place.certificates / "authority.pem")
    with (
        socket.create_connection((parts.hostname, parts.port)) as plain,
        tls.wrap_socket(plain, server_hostname=parts.hostname) as stream,
    ):
        session = place.parties.agreement.digest
        stream.sendall(
            f"PUT /v1/sessions/{session}/keys HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {place.tokens[1]}\r\n"
            "Content-Length: 1000000000000\r\n\r\n".encode()
        )
        assert stream.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_mutated_messages_change_nothing(place, http):
    """Each is refused by a word, and the silo's own is taken afterwards."""
    session = place.parties.agreement.session
    silo, generator = place.parties.silo(2), random.Random(0)
    message = silo.advertise()
    for _ in range(100):
        wrong = bytearray(message)
        for _ in range(generator.randint(1, 4)):
            wrong[generator.randrange(len(wrong))] ^= 1 << generator.randrange(8)
        status, _ = code_of(http.put("/keys", content=bytes(wrong)))
        assert status in (400, 403) or bytes(wrong) == message
    folder = place.sums
    assert not list(folder.iterdir())
    assert len(message) == message_bytes(session, Kind.KEYS)[1]
    for _ in range(2):
        assert http.put("/keys", content=message).status_code == 204
    other = place.parties.silo(2).advertise()
    assert code_of(http.put("/keys", content=other)) == (409, "conflict")
    assert http.get("/keys?wait=0").status_code == 204
    assert (
        "silo-2"
        not in json.loads(http.get(str(http.base_url).rstrip("/")).content)[
            "waiting_for"
        ]
    )


def test_a_vector_that_is_cut_off_comes_whole_later(tmp_path, certificates):
    place = prepare(tmp_path, certificates, make_parties(3))
    with served(place) as url, ThreadPoolExecutor(2) as pool:
        others = [pool.submit(run_silo, place, url, k) for k in (2, 3)]
        with place.connect(url, 1) as connection:
            silo, received = place.parties.silo(1), ()
            for step, kind in (("advertise", Kind.KEYS), ("share", Kind.SHARES)):
                connection.send(kind, getattr(silo, step)(*received))
                received = (connection.receive(kind),)
            message = silo.mask(*received)
            folder = place.sums
            cut_off(place, url, message)
            wait_until(lambda: len(list(folder.glob("MASKED-1-*"))) == 0, "no rest")
            connection.send(Kind.MASKED, message)
            connection.send(Kind.MASKED, message)
            connection.send(Kind.CONFIRM, silo.confirm(connection.receive(Kind.MASKED)))
            connection.send(Kind.REVEAL, silo.reveal(connection.receive(Kind.CONFIRM)))
            totals = [connection.total(), *(one.result() for one in others)]
    for total in totals:
        np.testing.assert_array_equal(total, place.parties.rehearsed())


def cut_off(place, url, message):
    """Send half of silo 1's masked vector, and go away as soon as it lies there."""
    parts = urlsplit(url)
    folder = place.sums
    tls = client_context(place.certificates / "authority.pem")
    with (
        socket.create_connection((parts.hostname, parts.port)) as plain,
        tls.wrap_socket(plain, server_hostname=parts.hostname) as stream,
    ):
        stream.sendall(
            f"PUT /v1/sessions/{place.parties.agreement.digest}/masked HTTP/1.1\r\n"
            f"Host: x\r\nAuthorization: Bearer {place.tokens[0]}\r\n"
            f"Content-Length: {len(message)}\r\n\r\n".encode()
        )
        stream.sendall(message[: len(message) // 2])
        wait_until(
            lambda: any(one.stat().st_size for one in folder.glob("MASKED-1-*")), "half"
        )


def test_a_round_closes_by_the_clock_with_those_who_have_answered(
    tmp_path, certificates
):
    place = prepare(tmp_path, certificates, make_parties(4, threshold=3))
    with served(place, deadlines=Deadlines(join=3, each=900)) as url:
        connections = [place.connect(url, k) for k in (1, 2, 3, 4)]
        for k in (1, 2, 3):
            connections[k - 1].send(Kind.KEYS, place.parties.silo(k).advertise())
        assert connections[0].receive(Kind.KEYS)
        assert connections[0].describe()["round"] == "shares"
        with pytest.raises(ProtocolError, match="closed the round without this silo"):
            connections[3].send(Kind.KEYS, place.parties.silo(4).advertise())


def test_too_few_in_time_end_the_session_for_all(tmp_path, certificates):
    place = prepare(tmp_path, certificates, make_parties(3))
    with served(place, deadlines=Deadlines(join=0.1)) as url:
        with pytest.raises(ProtocolError, match="ended without a total"):
            run_silo(place, url, 1)
        with (
            place.connect(url, 2) as connection,
            pytest.raises(ProtocolError, match="ended without a total"),
        ):
            connection.total()


def test_a_total_that_is_not_published_stays_with_the_aggregator(
    tmp_path, certificates
):
    place = prepare(tmp_path, certificates, make_parties(3))
    with served(place, publish=False) as url, ThreadPoolExecutor(3) as pool:
        for one in [pool.submit(run_silo, place, url, k) for k in (1, 2, 3)]:
            with pytest.raises(ProtocolError, match="refuses this silo"):
                one.result()
    total = place.sums / "total"
    words = np.frombuffer(total.read_bytes(), "<u8").reshape(2, -1)
    np.testing.assert_array_equal(words, place.parties.rehearsed())


def test_a_server_that_is_not_the_known_one_gets_nothing(place, url, strangers):
    wrong = place._replace(certificates=strangers)
    with (
        wrong.connect(url, 1) as connection,
        pytest.raises(ProtocolError, match="has an untrusted certificate"),
    ):
        connection.describe()
    pin = "sha256/" + "A" * 43 + "="
    with (
        place.connect(url, 1, pin=pin) as connection,
        pytest.raises(ProtocolError, match="has an untrusted certificate"),
    ):
        connection.describe()


def test_patience_has_an_end(place):
    with (
        place.connect("https://127.0.0.1:1", 1, patience=0.01) as connection,
        pytest.raises(ProcessError, match=r"no answer .*Nothing is lost by waiting"),
    ):
        connection.describe()


def test_nothing_goes_without_tls_13(place, url):
    parts = urlsplit(url)
    old = ssl.create_default_context(cafile=place.certificates / "authority.pem")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((parts.hostname, parts.port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(plain, server_hostname=parts.hostname)
