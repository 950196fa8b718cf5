"""Two clients of one service: neither sees, spends or disturbs what is the other's."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helix_jax.net.transport import ServiceError
from helix_jax.private import Client

from .asking import Fitting, register, spent

PLANTED, LABELLED = (f"/v1/heads/{head}/answers" for head in ("planted", "labelled"))
NEVER = "/v1/fits/" + 32 * "7"


@pytest.fixture(scope="module")
def ada(town):
    """ada's requests, her client and her layer of "planted"."""
    ask, client = town.ask("ada"), Client()
    register(ask, client)
    return ask, client, client.read_layer(ask("GET", "/v1/heads/planted").body)


@pytest.mark.slow
def test_both_at_once_have_what_is_theirs_and_pay_for_it(town, planted):
    plain = planted.y @ planted.kernel + planted.bias
    rows = {"ada": slice(0, 4), "bob": slice(4, 11)}

    def work(name):
        with town.connect(name) as provider:
            before = provider.account()["heads"]["planted"]["bits"]
            found = [provider.classify("planted", planted.y[rows[name]])]
            fitted = provider.fit("many", town.many["x"], ids=town.many["ids"])
            found.append(provider.classify("planted", planted.y[rows[name]]))
            account = provider.account()
            bits = provider.about()["heads"]["planted"]["answer_bits"]
            return found, fitted, account, before, bits

    with ThreadPoolExecutor(2) as threads:
        done = dict(zip(rows, threads.map(work, rows)))
    x, y = (some - some.mean(axis=0) for some in (town.many["x"], town.many["y"]))
    for name, (found, fitted, account, before, bits) in done.items():
        for one in found:
            np.testing.assert_allclose(one, plain[rows[name]], atol=planted.noise)
        error = np.abs(np.asarray(fitted.moments.cov_xy) - x.T @ y / len(x))
        assert error.max() <= 6 * float(fitted.noise.max())
        assert account["identity"] == name
        count = 2 * (rows[name].stop - rows[name].start)
        had = account["heads"]["planted"]["bits"] - before
        assert had == pytest.approx(count * bits)


def test_anothers_message_is_refused_and_spends_nothing(town, ada, planted):
    ask, client, layer = ada
    bob = town.ask("bob")
    before = spent(ask, "planted"), spent(bob, "planted")
    query = client.encrypt(layer, planted.y[0])
    unknown = Client()
    unknown.read_layer(ask("GET", "/v1/heads/planted").body)
    of_nobody = unknown.encrypt(layer, planted.y[0])
    # A key of another looks like one that nobody has.
    assert bob("POST", PLANTED, query).body == bob("POST", PLANTED, of_nobody).body
    assert bob("POST", PLANTED, query).code == "not_found"
    assert (spent(ask, "planted"), spent(bob, "planted")) == before
    # Repeated by another, after it was answered, it is refused as before.
    assert ask("POST", PLANTED, query).status == 200
    assert bob("POST", PLANTED, query).code == "not_found"
    assert spent(bob, "planted") == before[1]


def test_a_message_of_another_conversation_is_refused(ada, planted):
    ask, client, layer = ada
    before = spent(ask, "labelled")
    query = client.encrypt(layer, planted.y[0])
    assert ask("POST", LABELLED, query).code == "malformed"
    for what in ("transfers", "labels"):
        assert ask("POST", f"/v1/heads/planted/{what}", query).code == "malformed"
    assert spent(ask, "labelled") == before


def test_anothers_fit_looks_like_none_and_goes_on(town, ada):
    ask, bob = ada[0], town.ask("bob")
    number = 32 * "5"
    hers = Fitting(ask, "many", town.many["x"], town.many["ids"], number=number)
    assert hers.put(0).status == 204
    message = hers.messages[1]
    for method, rest, body in (
        ("GET", "", None),
        ("PUT", "/rows/1", message),
        ("GET", "/mean", None),
        ("GET", "/results/0", None),
        ("DELETE", "", None),
    ):
        seen = bob(method, hers.path + rest, body)
        assert (seen.code, seen.body) == (
            "not_found",
            bob(method, NEVER + rest, body).body,
        )
    # With her key he cannot begin one either, and of the same name he has his own.
    assert bob("PUT", hers.path, hers.asked).code == "not_found"
    his = Fitting(bob, "many", town.many["x"], town.many["ids"], number=number)
    assert (his.next, hers.next) == (0, 1)
    assert bob("PUT", f"{his.path}/rows/0", hers.messages[0]).code == "forbidden"
    assert his.put(0).status == 204
    assert bob("DELETE", his.path).status == 204
    assert hers.put(1).status == 204
    assert hers.next == 2


def test_a_key_belongs_to_who_brought_it(town, ada):
    ask, client, _ = ada
    bob, path = town.ask("bob"), f"/v1/keys/{client.key.hex()}"
    # Its name alone tells nothing: as of one that nobody has.
    bundle, never = client.public_bundle(), f"/v1/keys/{32 * '3'}"
    half = bundle[: len(bundle) // 2]
    assert bob("PUT", path, half).body == bob("PUT", never, half).body
    assert bob("PUT", path, half).code == "malformed"
    assert bob("PUT", path, bundle).code == "forbidden"
    assert ask("PUT", path, bundle).status == 204


def test_a_revoked_token_ends_a_fit_at_the_next_message(town):
    identities = town.identities()
    revoked = identities.issue("dan", 3600.0)
    town.tokens["dan"] = revoked
    dan = town.ask("dan")
    fit = Fitting(dan, "many", town.many["x"], town.many["ids"])
    assert fit.put(0).status == 204
    with town.connect("dan", patience_seconds=60.0) as provider:
        assert provider.account()["identity"] == "dan"
        identities.revoke("dan")
        assert fit.put(1).code == "unauthorized"
        with pytest.raises(ServiceError, match="unauthorized"):
            provider.account()
    # Under another token the same client goes on.
    town.tokens["dan"] = identities.issue("dan", 3600.0)
    fit.ask = town.ask("dan")
    assert (fit.next, fit.put(1).status) == (1, 204)
    identities.close()


def test_an_account_shows_its_own_client_alone(town):
    shown = json.loads(town.ask("bob")("GET", "/v1/account").body)
    assert shown["identity"] == "bob"
    assert not any(name in json.dumps(shown) for name in ("ada", "eve", "dan"))
