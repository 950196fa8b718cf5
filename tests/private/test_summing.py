"""Sums of several providers' answers, opened once."""

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private import Client, Provider, shared_scales, sum_answers

pytest.importorskip("Pyfhel")
WIDTH, CLASSES = 24, 6


@pytest.fixture(scope="module")
def parties():
    """Three providers with shared scales, a client, and the clear kernels."""
    generator = np.random.default_rng(5)
    kernels = [generator.normal(size=(WIDTH, CLASSES)) * size for size in (1, 3, 0.2)]
    biases = [generator.normal(size=CLASSES) for _ in kernels]
    both = list(zip(kernels, biases))
    settings = {"input_norm": 10.0, "policy": "logits"}
    shared = shared_scales([Provider(*own, **settings).layer for own in both])
    providers = [Provider(*own, **settings, shared=shared) for own in both]
    client = Client()
    for provider in providers:
        provider.register(client.public_bundle())
    return providers, client, kernels, biases


@pytest.mark.slow
def test_the_sum_is_the_sum_of_all_layers(parties):
    providers, client, kernels, biases = parties
    layer = client.read_layer(providers[0].layer.to_bytes())
    x = np.random.default_rng(6).normal(size=WIDTH)
    query = client.encrypt(layer, x)
    answers = [provider.answer(query) for provider in providers]
    found = client.decrypt(sum_answers(answers, layer))
    wanted = x @ sum(kernels) + sum(biases)
    bound = sum(provider.layer.error for provider in providers)
    assert np.abs(found - wanted).max() <= bound < 1e-3
    # What one provider says is not what the sum says.
    assert np.abs(found - (x @ kernels[0] + biases[0])).max() > 0.1


def test_largest_results_of_all_do_not_wrap(parties):
    providers, client, kernels, biases = parties
    layer = client.read_layer(providers[0].layer.to_bytes())
    total = sum(kernels)
    x = total[:, 0] / np.linalg.norm(total[:, 0]) * 9.99
    query = client.encrypt(layer, x)
    found = client.decrypt(sum_answers([p.answer(query) for p in providers], layer))
    np.testing.assert_allclose(found, x @ total + sum(biases), atol=1e-3)


@pytest.mark.parametrize("profile", ["open", "swift"])
def test_sums_of_public_layers(client, profile):
    """Words, or residues of several parts and groups of queries."""
    generator = np.random.default_rng(7)
    kernels = generator.normal(size=(2, WIDTH, 40))
    own, settings = client(profile), {"input_norm": 10.0, "profile": profile}
    shared = shared_scales([Provider(one, **settings).layer for one in kernels])
    providers = [Provider(one, **settings, shared=shared) for one in kernels]
    for provider in providers:
        provider.register(own.public_bundle())
    layer = own.read_layer(providers[0].layer.to_bytes())
    x = generator.normal(size=(9, WIDTH))
    query = own.encrypt(layer, x)
    found = own.decrypt(sum_answers([p.answer(query) for p in providers], layer))
    assert np.abs(found - x @ kernels.sum(axis=0)).max() <= 2 * layer.error


def test_misuse_is_refused(parties):
    providers, client, kernels, _ = parties
    layer = client.read_layer(providers[0].layer.to_bytes())
    queries = [client.encrypt(layer, np.ones(WIDTH)) for _ in range(2)]
    answers = [providers[0].answer(query) for query in queries]
    with pytest.raises(ProtocolError, match="add answers to one query"):
        sum_answers(answers, layer)
    with pytest.raises(ProtocolError, match="came twice"):
        sum_answers([answers[0], answers[0]], layer)
    with pytest.raises(ProtocolError, match="header says"):
        sum_answers([answers[0], answers[0][:-1]], layer)
    with pytest.raises(ValueError, match="at least one"):
        sum_answers([], layer)
    other = Provider(kernels[0][:, :3], input_norm=10.0).layer
    with pytest.raises(ValueError, match="2 different ones"):
        shared_scales([layer, other])
    with pytest.raises(ValueError, match="more than the"):
        Provider(100 * kernels[1], input_norm=10.0, shared=(40, layer.result_bits))
