"""Encrypted decoding equals decoding in the clear."""

import jax
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.alignment import AffineMap
from helix_jax.generation import stitch
from helix_jax.generation.encrypted import generate_encrypted, head_weights
from helix_jax.generation.generate import generate
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.stitch import Part
from helix_jax.models import load_model, load_tokenizer
from helix_jax.models.vocabulary import project_to_vocabulary

PROMPT = "The function returns a new array"


@pytest.fixture(scope="module")
def sides():
    found = {}
    for name in ("pebble-neox", "pebble-llama"):
        folder = str(assets.model_path(name))
        found[name] = load_model(folder), load_tokenizer(folder)
    return found


@pytest.fixture(scope="module")
def pair(sides):
    """A stitch by a random map, and the client's part of it."""
    (source, _), (target, _) = sides["pebble-neox"], sides["pebble-llama"]
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(144, 128)).astype(np.float32) / 6
    parts = stitch(source, target, AffineMap(kernel, np.zeros(128, np.float32)))
    return parts, parts.source


def ask_in_the_clear(target):
    weights, _ = head_weights(target)
    kernel = weights.kernel.astype(np.float64)
    return lambda x: x @ kernel


@pytest.mark.parametrize("name", ["granite", "opt_350m", "phi"])
def test_a_head_is_one_linear_layer_whatever_it_is_made_of(twin, name):
    """With its scale, projection and bias. Tolerance 1e-5, observed below 1e-6."""
    _, model = twin(name)
    x = np.random.default_rng(1).normal(size=(5, model.spec.width)).astype(np.float32)
    weights, offer = head_weights(model)
    found = x @ weights.kernel + (0 if weights.bias is None else weights.bias)
    wanted = project_to_vocabulary(model.params, model.spec, x)
    assert offer.vocabulary == wanted.shape[1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.9, top_k=40)])
@pytest.mark.slow
def test_the_loop_equals_the_plain_one(sides, pair, sampling):
    parts, source = pair
    (_, mine), (target, theirs) = sides["pebble-neox"], sides["pebble-llama"]
    _, offer = head_weights(target)
    key = jax.random.key(3)
    settings = {"max_new_tokens": 24, "sampling": sampling, "key": key}
    found = generate_encrypted(
        source,
        parts.map,
        offer,
        ask_in_the_clear(target),
        mine,
        theirs,
        PROMPT,
        **settings,
    )
    (wanted,) = generate(parts, mine, theirs, [PROMPT], **settings)
    assert found.tokens == wanted.tokens
    assert found.text == wanted.text
    assert (found.reason, found.source_tokens) == (wanted.reason, wanted.source_tokens)
    assert isinstance(source, Part)
    assert source.params is not target.params


@pytest.mark.parametrize("profile", ["guarded", "open"])
@pytest.mark.slow
def test_on_ciphertexts_the_text_is_the_same(sides, pair, profile):
    pytest.importorskip("Pyfhel")
    from helix_jax.private import Client, Provider

    parts, source = pair
    (_, mine), (target, theirs) = sides["pebble-neox"], sides["pebble-llama"]
    weights, offer = head_weights(target)
    settings = {"input_norm": 200.0, "profile": profile, "policy": "logits"}
    provider = Provider(weights.kernel, weights.bias, **settings)
    client = Client(profile)
    provider.register(client.public_bundle())
    layer = client.read_layer(provider.layer.to_bytes())
    plain, errors = ask_in_the_clear(target), []

    def ask(state):
        logits = client.decrypt(provider.answer(client.encrypt(layer, state)))
        errors.append(np.abs(logits - plain(state)).max())
        return logits

    found = generate_encrypted(
        source, parts.map, offer, ask, mine, theirs, PROMPT, max_new_tokens=4
    )
    (wanted,) = generate(parts, mine, theirs, [PROMPT], max_new_tokens=4)
    assert found.tokens == wanted.tokens
    assert len(errors) == 4
    assert max(errors) <= layer.error


def test_what_cannot_be_read_is_refused(sides, pair):
    parts, source = pair
    (_, mine), (target, theirs) = sides["pebble-neox"], sides["pebble-llama"]
    _, offer = head_weights(target)
    ask = ask_in_the_clear(target)

    def run(prompt, **settings):
        return generate_encrypted(
            source, parts.map, offer, ask, mine, theirs, prompt, **settings
        )

    with pytest.raises(ValueError, match="the models read 1 to 256"):
        run("word " * 600)
    with pytest.raises(ValueError, match="repetition penalty"):
        run(PROMPT, sampling=Sampling(repetition_penalty=1.2))
    with pytest.raises(ValueError, match="no token 'nonsense' to stop at"):
        run(PROMPT, stop_tokens=["nonsense"])
