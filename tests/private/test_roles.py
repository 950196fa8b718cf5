"""Who may do what: keys, budgets, replays, and what no object can do."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import Client, Provider
from helix_jax.private.accounts import PublicKey
from helix_jax.private.internals import sign_anew

X = np.linspace(-1, 1, 12)


def make_provider(client, **settings):
    kernel = np.random.default_rng(5).standard_normal((12, 5))
    settings = {"input_norm": 8.0, "profile": client.profile.name, **settings}
    provider = Provider(kernel, **settings)
    provider.register(client.public_bundle())
    return provider, client.read_layer(provider.layer.to_bytes())


@pytest.fixture(scope="module")
def other(client):
    """Another client of the same profile."""
    return Client("guarded")


def test_queries_are_answered_once(client):
    provider, layer = make_provider(client("open"))
    query = client("open").encrypt(layer, X)
    provider.answer(query)
    with pytest.raises(ProtocolError, match="; start anew"):
        provider.answer(query)


def test_answers_are_read_once(client):
    provider, layer = make_provider(client("open"))
    answer = provider.answer(client("open").encrypt(layer, X))
    client("open").decrypt(answer)
    with pytest.raises(ProtocolError, match="not made here, or its answer was read"):
        client("open").decrypt(answer)


@pytest.mark.slow
def test_budget(client):
    own = client("guarded")
    provider, layer = make_provider(own)
    provider, layer = make_provider(own, budget=2.5 * provider.answer_bits)
    query = own.encrypt(layer, X)
    provider.answer(query)
    with pytest.raises(ProtocolError, match="; start anew"):
        provider.answer(query)  # a replay costs nothing
    with pytest.raises(ProtocolError, match="bytes follow"):
        provider.answer(query[:-1])
    assert own.decrypt(provider.answer(own.encrypt(layer, X))).shape == (5,)
    # Registering again does not fill it up.
    provider.register(own.public_bundle())
    with pytest.raises(ProtocolError, match="more are above the"):
        provider.answer(own.encrypt(layer, X))


def test_budgets_are_by_key(client, other):
    provider, layer = make_provider(client("guarded"))
    bits = provider.answer_bits
    provider, layer = make_provider(client("guarded"), budget=bits)
    provider.register(other.public_bundle())
    for own in (client("guarded"), other):
        own.decrypt(provider.answer(own.encrypt(layer, X)))
        assert provider.spent(f"key {own.key.hex()}") == bits
        with pytest.raises(ProtocolError, match="more are above the"):
            provider.answer(own.encrypt(layer, X))


def test_a_budget_holds_among_threads(client):
    own = client("guarded")
    bits = make_provider(own)[0].answer_bits
    provider, layer = make_provider(own, budget=3 * bits)
    queries = [own.encrypt(layer, X) for _ in range(8)]
    outcomes = []

    def ask(query):
        try:
            provider.answer(query)
            outcomes.append("answered")
        except ProtocolError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=ask, args=(query,)) for query in queries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("answered") == 3
    assert sum("more are above" in outcome for outcome in outcomes) == 5


def test_unknown_keys(client, other):
    provider, layer = make_provider(client("guarded"))
    with pytest.raises(KeyRoleError, match=f"{other.key.hex()} is not registered"):
        provider.answer(other.encrypt(layer, X))
    with pytest.raises(KeyRoleError, match="not registered here"):
        provider.masks(bytes(16))


def test_answers_for_another_key(client, other):
    provider, layer = make_provider(client("guarded"))
    answer = provider.answer(client("guarded").encrypt(layer, X))
    with pytest.raises(KeyRoleError, match="it is for the client key"):
        other.decrypt(answer)


def test_queries_of_another_layer(client):
    own = client("open")
    provider, _ = make_provider(own)
    kernel = np.ones((12, 4))
    stranger = Provider(kernel, input_norm=8.0, profile="open")
    layer = own.read_layer(stranger.layer.to_bytes())
    with pytest.raises(ProtocolError, match="another layer or other scales"):
        provider.answer(own.encrypt(layer, X))


@pytest.mark.parametrize("profile", ["open", "swift"])
def test_redeployed_weights_are_not_read_with_the_old_scales(client, profile):
    """Weights four times as large in a layer of the same sizes."""
    own = Client(profile) if profile == "swift" else client(profile)
    kernel = np.random.default_rng(0).normal(size=(12, 5))
    offers, providers = [], []
    for factor in (1, 4):
        provider = Provider(factor * kernel, input_norm=8.0, profile=profile)
        provider.register(own.public_bundle())
        providers.append(provider)
        offers.append(own.read_layer(provider.layer.to_bytes()))
    assert offers[0].result_bits != offers[1].result_bits
    with pytest.raises(ProtocolError, match=r"query: .* read the offer again"):
        providers[1].answer(own.encrypt(offers[0], X))
    # Someone on the way who writes the other layer into the header; and the client.
    query = own.encrypt(offers[0], X)
    changed = query[:40] + offers[1].binding + query[56:]
    with pytest.raises(KeyRoleError, match="not signed by the owner"):
        providers[1].answer(changed)
    changed = sign_anew(own, changed)
    with pytest.raises(ProtocolError, match=r"answer: .* ask again"):
        own.decrypt(providers[1].answer(changed))
    assert np.allclose(own.decrypt(providers[0].answer(query)), X @ kernel, atol=1e-2)


def test_the_norm_of_the_weights_is_not_told_by_the_error():
    """A power of two: layers whose norms differ by a little say the same."""
    kernel = np.random.default_rng(0).normal(size=(12, 1))
    layers = [
        Provider(kernel * factor, input_norm=8.0).layer for factor in (1, 1.02, 1.04)
    ]
    assert len({layer.error for layer in layers}) == 1
    assert np.log2(layers[0].error) % 1 == 0


def test_keys_are_named_by_their_content(client):
    own = client("open")
    provider, _ = make_provider(own)
    bundle = own.public_bundle()
    assert provider.register(bundle) == own.key
    with pytest.raises(ProtocolError, match="not the hash of its content"):
        provider.register(bundle[:-1] + bytes([bundle[-1] ^ 1]))


def test_masks_are_of_guarded_profiles(client):
    provider, _ = make_provider(client("open"))
    with pytest.raises(ValueError, match="'open' answers without masks"):
        provider.masks(client("open").key)


def test_prepared_masks_are_taken_by_answers(client):
    own = client("guarded")
    provider, layer = make_provider(own)
    pool = provider.masks(own.key)
    pool.prepare(2)
    assert len(pool) == 2
    for left in (1, 0, 0):
        own.decrypt(provider.answer(own.encrypt(layer, X)))
        assert len(pool) == left


def test_a_closed_client_has_no_key():
    """It is overwritten by other residues, when it is deleted, too."""
    own, other = Client("compact"), Client("compact")
    provider, layer = make_provider(own)
    answer = provider.answer(own.encrypt(layer, X))
    held = [client._secret.residues for client in (own, other)]
    before = [part.copy() for part in held]
    own.close()
    own.close()
    del other
    for part, key in zip(held, before):
        assert (part == key).mean() < 0.01
        assert part.max() < own.profile.modulus
    with pytest.raises(KeyRoleError, match="this secret key is closed"):
        own.encrypt(layer, X)
    with pytest.raises(KeyRoleError, match="this secret key is closed"):
        own.decrypt(answer)


def test_nothing_of_a_provider_decrypts(client):
    """Neither it, nor its keys, pools and masks: by name, and by what they hold."""
    own = client("guarded")
    provider, _ = make_provider(own)
    provider.masks(own.key).prepare(1)
    seen, todo = (
        set(),
        [provider, PublicKey.from_bytes(own.public_bundle(), own.profile)],
    )
    secret = own._secret.residues.tobytes()
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        assert "Pyfhel" not in type(thing).__module__
        assert not [name for name in dir(thing) if "crypt" in name and "de" in name]
        assert not [name for name in dir(thing) if "secret" in name]
        if hasattr(thing, "dtype"):
            assert secret not in np.asarray(thing).tobytes()
        elif isinstance(thing, dict):
            todo += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple):
            todo += list(thing)
        elif type(thing).__module__.startswith("helix_jax"):
            todo += list(vars(thing).values())
    assert len(seen) > 10


@pytest.mark.slow
def test_a_provider_needs_no_pyfhel():
    code = (
        "import sys; sys.modules['Pyfhel'] = None\n"
        "from helix_jax.private import Client, Provider\n"
        "import numpy as np\n"
        "Provider(np.ones((3, 2)), input_norm=1.0, profile='compact')\n"
        "try: Client('compact')\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "make crypto" in run.stdout


def test_nothing_secret_is_copied(client):
    own = client("guarded")
    provider, _ = make_provider(own)
    pool = provider.masks(own.key)
    for thing in (own, own._secret, provider, pool, pool.take()):
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"not copied or pickled"):
                leave(thing)
