"""What one client, or a stranger, may take of a service."""

import contextlib
import os
import socket
from urllib.parse import urlsplit

import pytest

from helix_jax.errors import ProtocolError, RunError
from helix_jax.net.connections import STRANGERS
from helix_jax.net.refusals import Refusal
from helix_jax.net.server import check_settings
from helix_jax.net.settings_file import make_settings
from helix_jax.net.state import State
from helix_jax.private import Client
from helix_jax.private.search import (
    SearchClient,
    SearchProvider,
    open_index,
    save_index,
)


@pytest.fixture
def state(tmp_path):
    one = State(tmp_path / "state")
    yield one
    one.close()


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ({"budgets": {"h": 0}}, r"clients\.ada\.budgets\.h: expected more than 0"),
        ({"budgets": {"h": -1.0}}, "more than 0 bits"),
        ({"budgets": {"h": float("nan")}}, "more than 0 bits"),
        ({"limits": {"nonsense": 1}}, r"clients\.ada\.limits: .*nonsense"),
        ({"policies": {"other": "label"}}, "no head 'other'"),
    ],
)
def test_what_one_client_has_is_checked_before_anything_is_served(client, message):
    values = {
        "plain_http": True,
        "heads": {"h": {"path": "h.npz", "budget": 1e7}},
        "clients": {"ada": client},
    }
    with pytest.raises(RunError, match=message):
        check_settings(make_settings(values))


def test_a_small_budget_of_a_client_stands_before_the_heads():
    values = {
        "heads": {"h": {"path": "h.npz", "budget": 1e7}},
        "clients": {"ada": {"budgets": {"h": 1.5}}},
    }
    settings = make_settings(values)
    assert settings.budget_of("ada", "h") == 1.5
    assert settings.budget_of("bo", "h") == 1e7


def test_the_oldest_key_makes_room_but_not_that_of_an_open_fit(state):
    keys = [os.urandom(16) for _ in range(4)]
    state.add_key(keys[0], "ada", "open", b"", most=2)
    state.begin_fit(b"f" * 16, "ada", "rows", keys[0], most=9, open_fits=9)
    for key in keys[1:]:
        state.add_key(key, "ada", "open", b"", most=2)
    assert [state.owner(key) for key in keys] == ["ada", None, None, "ada"]
    state.begin_fit(b"g" * 16, "ada", "rows", keys[3], most=9, open_fits=9)
    with pytest.raises(Refusal, match="2 keys of open fits"):
        state.add_key(keys[1], "ada", "open", b"", most=2)
    state.add_key(keys[1], "bo", "open", b"", most=2)


def test_open_fits_of_a_client_are_counted_until_they_end(state):
    for number in range(2):
        fit = bytes([number]) * 16
        state.begin_fit(fit, "ada", "rows", b"k" * 16, most=9, open_fits=2)
    with pytest.raises(Refusal, match="2 open fits"):
        state.begin_fit(b"c" * 16, "ada", "rows", b"k" * 16, most=9, open_fits=2)
    state.begin_fit(b"c" * 16, "bo", "rows", b"k" * 16, most=9, open_fits=2)
    state.end_fit(bytes(16))
    state.begin_fit(b"d" * 16, "ada", "rows", b"k" * 16, most=9, open_fits=2)


@pytest.mark.slow
def test_strangers_do_not_shut_others_out(served, planted):
    parts = urlsplit(served.url)
    with contextlib.ExitStack() as open_ones, served.connect() as provider:
        provider.classify("planted", planted.y[0])
        for _ in range(2 * STRANGERS + 50):
            address = parts.hostname, parts.port
            open_ones.enter_context(socket.create_connection(address, timeout=10))
        found = provider.classify("planted", planted.y[0])
        with served.connect() as other:
            other.classify("planted", planted.y[0])
    plain = planted.y[0] @ planted.kernel + planted.bias
    assert abs(found - plain).max() <= planted.noise


def test_a_message_of_a_search_holds_one_query(planted, tmp_path):
    save_index(tmp_path / "index", planted.y, model={"name": "planted"})
    provider = SearchProvider(open_index(tmp_path / "index"))
    client = Client()
    provider.register(client.public_bundle())
    layer = SearchClient(client, provider.about).about.vectors
    query = client.encrypt(layer, planted.y[:2] / 100)
    with pytest.raises(ProtocolError, match=r"one query, .* got 2"):
        provider.answer(query, ["scores"])
