"""Requests that nobody sends on purpose: refused by a code, by whole workers."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from helix_jax.net.refusals import CODES
from helix_jax.private import Client, LabelClient

from .asking import Fitting, register
from .mutations import changed_bytes, changed_request, require_constant

QUICK = settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Messages:
    """What eve may send, sound until it is changed.

    Attributes:
      ask: her requests.
      sound: method, path and body by name.
    """

    def __init__(self, town, planted):
        self.town, self.planted = town, planted
        self.ask, self.client = town.ask("eve"), Client()
        register(self.ask, self.client)
        self.layers = {
            head: self.client.read_layer(self.ask("GET", f"/v1/heads/{head}").body)
            for head in ("planted", "labelled")
        }
        self.fit = Fitting(self.ask, "many", town.many["x"], town.many["ids"])
        assert self.fit.put(0).status == 204
        fresh, heads = Client(), "/v1/heads"
        side = LabelClient(self.client, self.layers["labelled"])
        elements = self.ask("POST", f"{heads}/labelled/transfers", side.agree())
        side.read_elements(elements.body)
        answer = self.ask("POST", f"{heads}/labelled/answers", self.query("labelled"))
        choices = side.choose(answer.body)
        self.sound = {
            "key": ("PUT", f"/v1/keys/{fresh.key.hex()}", fresh.public_bundle()),
            "query": ("POST", f"{heads}/planted/answers", self.query("planted")),
            "labels": ("POST", f"{heads}/labelled/answers", self.query("labelled")),
            "choices": ("POST", f"{heads}/labelled/labels", choices),
            "transfers": ("POST", f"{heads}/labelled/transfers", side.agree()),
            "fit": ("PUT", f"/v1/fits/{32 * '1'}", self.fit.asked),
            "rows": ("PUT", f"{self.fit.path}/rows/1", self.fit.messages[1]),
        }

    def query(self, head: str) -> bytes:
        """A sound query."""
        return self.client.encrypt(self.layers[head], self.planted.y[:1])


@pytest.fixture(scope="module")
def messages(town, planted):
    return Messages(town, planted)


def resident_bytes(process: int) -> int:
    """Memory that a process holds."""
    text = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])


@pytest.fixture(scope="module", autouse=True)
def undisturbed(town, planted):
    """No worker is lost, nothing failed, and another client is served."""
    processes = [town.phoenix.served.process.pid, *town.phoenix.workers]
    begun = len(town.phoenix.audited())
    yield
    assert [town.phoenix.served.process.pid, *town.phoenix.workers] == processes
    failed = [one for one in town.phoenix.audited()[begun:] if one["status"] == 500]
    assert failed == []
    with town.connect("ada") as provider:
        found = provider.classify("planted", planted.y[:3])
    plain = planted.y[:3] @ planted.kernel + planted.bias
    np.testing.assert_allclose(found, plain, atol=planted.noise)


@pytest.mark.parametrize(
    "name", ["query", "choices", "labels", "transfers", "fit", "rows", "key"]
)
def test_changed_bodies_are_refused_by_a_code(messages, name):
    method, path, body = messages.sound[name]

    @QUICK
    @given(changed_bytes(body))
    def check(changed):
        answer = messages.ask(method, path, changed)
        # JSON has several ways to say the same.
        assert (name == "fit" and answer.status == 200) or answer.code != "failed"

    check()
    # What was refused has changed nothing.
    assert messages.ask(method, path, body).status in (200, 204)


@pytest.mark.slow
def test_changed_requests_are_refused_and_say_nothing(messages):
    found = Counter()

    @settings(QUICK, max_examples=150)
    @given(changed_request(messages.ask))
    def check(request):
        with messages.ask.open() as end:
            end.sendall(request)
            answer = b"".join(iter(lambda: end.recv(65536), b""))
        found[require_constant(answer)] += 1

    check()
    assert {400, 401, 404} <= set(found)


@pytest.mark.slow
def test_what_is_refused_is_not_kept(messages):
    generator = np.random.default_rng(3)
    fresh = Client()
    key = "PUT", f"/v1/keys/{fresh.key.hex()}", fresh.public_bundle()
    processes = [messages.town.phoenix.served.process.pid]
    processes += messages.town.phoenix.workers
    sent = 0
    for last in range(2):
        before = [resident_bytes(one) for one in processes]
        for _ in range(150):
            for method, path, body in (key, messages.sound["query"]):
                changed = bytearray(body)
                changed[generator.integers(8, len(body))] ^= 1 << generator.integers(8)
                assert messages.ask(method, path, bytes(changed)).code in CODES
                sent += len(body) * last
    growth = np.subtract([resident_bytes(one) for one in processes], before)
    assert growth.max() < sent / 2, (growth, sent)
