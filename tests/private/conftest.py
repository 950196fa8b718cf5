"""Clients, providers and keys of the session: every new shape compiles for a second."""

import functools

import numpy as np
import pytest

from helix_jax.private import Client, Provider
from helix_jax.private.profiles import find_profile
from helix_jax.private.seal import SecretKey

SEED = 5


@pytest.fixture(scope="session")
def secret():
    """profile name -> a SecretKey."""
    pytest.importorskip("Pyfhel")
    return functools.cache(lambda name: SecretKey(find_profile(name)))


@pytest.fixture(scope="session")
def client():
    """profile name -> a Client."""
    pytest.importorskip("Pyfhel")
    return functools.cache(lambda profile="guarded": Client(profile))


@pytest.fixture(scope="session")
def parties(client):
    """Sizes and settings -> (client, provider, layer as read, kernel, bias)."""

    @functools.cache
    def make(width=12, classes=5, profile="guarded", **settings):
        generator = np.random.default_rng(SEED)
        kernel = generator.standard_normal((width, classes)) / np.sqrt(width)
        bias = generator.standard_normal(classes)
        settings = {"input_norm": 8.0, "policy": "logits"} | settings
        provider = Provider(kernel, bias, profile=profile, **settings)
        own = client(profile)
        provider.register(own.public_bundle())
        return own, provider, own.read_layer(provider.layer.to_bytes()), kernel, bias

    return make


@pytest.fixture
def ask():
    """(client, provider, layer, x) -> results."""

    def run(client, provider, layer, x):
        return client.decrypt(provider.answer(client.encrypt(layer, x)))

    return run
