"""Energy scores against scipy, and on the decrypted logits of an encrypted layer."""

import numpy as np
import pytest
from scipy.special import logsumexp

from helix_jax.ood import energy_score


def test_energy_is_the_free_energy_of_the_logits():
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 10
    for temperature in (0.5, 1.0, 4.0):
        wanted = -temperature * logsumexp(logits / temperature, axis=-1)
        found = energy_score(logits, temperature=temperature)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_known_inputs_have_less_energy():
    sure, unsure = np.eye(4) * 20, np.full((4, 4), 0.25)
    assert np.asarray(energy_score(sure)).max() < np.asarray(energy_score(unsure)).min()


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature must be positive"):
        energy_score(np.zeros(3), temperature=0.0)


@pytest.mark.slow
def test_encrypted_logits_have_the_same_energy():
    pytest.importorskip("Pyfhel")
    from helix_jax.private import Client, Provider

    generator = np.random.default_rng(1)
    kernel, bias = generator.normal(size=(24, 6)), generator.normal(size=6)
    x = generator.normal(size=(8, 24))
    provider = Provider(kernel, bias, input_norm=np.linalg.norm(x, axis=1).max())
    client = Client()
    provider.register(client.public_bundle())
    layer = client.read_layer(provider.layer.to_bytes())
    logits = np.stack(
        [client.decrypt(provider.answer(client.encrypt(layer, one))) for one in x]
    )
    # A log-sum-exp moves no more than its largest logit.
    error = np.abs(energy_score(logits) - energy_score(x @ kernel + bias))
    assert error.max() <= layer.error + 1e-5
