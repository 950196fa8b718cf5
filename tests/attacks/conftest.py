"""A provider, its client, and what passes between them, small."""

from typing import NamedTuple

import numpy as np
import pytest

from helix_jax.private import Client, Layer, Provider


class Parties(NamedTuple):
    client: Client
    provider: Provider
    layer: Layer
    kernel: np.ndarray
    bias: np.ndarray


@pytest.fixture(scope="session")
def clients():
    """One client a profile; keys take a second to make."""
    pytest.importorskip("Pyfhel")
    return {name: Client(name) for name in ("guarded", "open")}


@pytest.fixture
def parties(clients):
    """A function that makes a provider and has the client registered."""

    def make(width=24, classes=5, profile="guarded", zero_bias=False, **kwargs):
        rng = np.random.default_rng(width + classes)
        kernel = rng.standard_normal((width, classes))
        bias = np.zeros(classes) if zero_bias else rng.standard_normal(classes)
        kwargs = {"input_norm": 8.0, "policy": "logits"} | kwargs
        provider = Provider(kernel, bias, profile=profile, **kwargs)
        client = clients[profile]
        provider.register(client.public_bundle())
        layer = client.read_layer(provider.layer.to_bytes())
        return Parties(client, provider, layer, kernel, bias)

    return make


@pytest.fixture
def rng():
    return np.random.default_rng(0)
