"""Keys lose their position and get it back, for every way that a model turns them.

Tolerance: 2e-5 of keys of order one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.caches import CacheStates, cache_form, cache_states, write_states
from helix_jax.errors import UnsupportedError
from helix_jax.models import ModelSpec, apply_model, empty_cache
from helix_jax.models.cache import rewind
from tests.conftest import cases

TURNED = cases(
    ("llama", "llama_yarn", "phi3_partial", "phi3_long", "glm", "gemma3", "smollm3"),
    *("gptj", "gpt_neox", "olmo3", "gpt_oss", "cohere2", "falcon", "llama3", "qwen3"),
)
UNTURNED = cases(
    ("bloom", "gpt_bigcode"), "gpt2", "mpt", "opt", "gpt_neo", "falcon_alibi"
)
RNG = np.random.default_rng(0)
MASK = jnp.asarray(np.arange(11) < np.array([[11], [7]]))
forward = jax.jit(apply_model, static_argnames=("spec", "logits"))
states_of = jax.jit(CacheStates.__call__)


def read(model, tokens, mask, slots=16):
    cache = empty_cache(model.spec, len(tokens), slots)
    return forward(model.params, model.spec, tokens, mask, cache=cache).cache


@pytest.mark.parametrize("name", [*TURNED, *UNTURNED])
def test_a_cache_is_written_again_from_its_states(twin, name):
    _, model = twin(name)
    form = cache_form(model.spec)
    tokens = jnp.asarray(RNG.integers(3, model.spec.vocab_size, MASK.shape))
    cache = read(model, tokens, MASK)
    states = cache_states(cache, form)
    empty = empty_cache(model.spec, 2, 16)
    found = write_states(states[:, :, :11], form, empty, MASK)
    held = np.asarray(cache.mask)
    np.testing.assert_array_equal(found.mask, held)
    np.testing.assert_array_equal(found.positions[held], cache.positions[held])
    np.testing.assert_array_equal(found.next_slot, cache.next_slot)
    for one, other in ((found.keys, cache.keys), (found.values, cache.values)):
        rows, wanted = (np.moveaxis(z, 3, 2)[:, held] for z in (one, other))
        np.testing.assert_allclose(rows, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", TURNED)
def test_a_token_has_one_first_key_wherever_it_stands(twin, name):
    """What the first layer knows of a token is the token, and a turn by its place."""
    _, model = twin(name)
    tokens, ones = jnp.full((2, 11), 7), jnp.ones((2, 11), bool)
    states = states_of(CacheStates(model.params, model.spec), tokens, ones)
    keys = np.asarray(states[0, 0])
    np.testing.assert_allclose(keys, np.tile(keys[:1], (11, 1)), rtol=0, atol=2e-5)
    turned = np.asarray(read(model, tokens, ones).keys[0, 0, 0])
    assert np.abs(turned[1] - turned[0]).max() > 1e-3


@pytest.mark.parametrize("name", ["gemma3", "llama"])
@pytest.mark.parametrize("prompt", [3, 9])  # shorter and longer than a window of 4
def test_a_model_goes_on_from_its_own_states_as_from_its_cache(twin, name, prompt):
    _, model = twin(name)
    form = cache_form(model.spec)
    tokens = jnp.asarray(RNG.integers(3, model.spec.vocab_size, (2, prompt + 6)))
    ones = jnp.ones((2, prompt), bool)
    native = read(model, tokens[:, :prompt], ones)
    # The first two tokens are its own, the others are written behind them.
    states = cache_states(native, form)[:, :, 2:prompt]
    opening = rewind(native, jnp.full(2, 2))
    written = write_states(states, form, opening, ones[:, 2:])
    logits = [
        forward(
            model.params, model.spec, tokens[:, prompt:], logits=True, cache=cache
        ).logits
        for cache in (native, written)
    ]
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-3)


def test_models_without_such_a_cache_are_refused_by_name(twin):
    for name, said in (("bert", "bert is an encoder"), ("hunyuan", "hunyuan_v1_dense")):
        with pytest.raises(UnsupportedError, match=said):
            cache_form(twin(name)[1].spec)
    with pytest.raises(UnsupportedError, match="deepseek_v3: torch runs this model"):
        cache_form(type("TorchSpec", (), {"family": "deepseek_v3"})())


def test_caches_of_another_form_are_refused(twin):
    _, model = twin("llama")
    other = cache_form(twin("gemma3")[1].spec)
    cache = empty_cache(model.spec, 2, 16)
    with pytest.raises(ValueError, match=r"keys need layers, heads and features \[3, "):
        cache_states(cache, other)
    form = cache_form(model.spec)
    with pytest.raises(ValueError, match=r"states need shape \[6, 2, 4, 24\]"):
        write_states(jnp.zeros((6, 2, 5, 24)), form, cache, jnp.ones((2, 4), bool))
    with pytest.raises(ValueError, match="the cache has 16 slots per row"):
        write_states(jnp.zeros((6, 2, 17, 24)), form, cache, jnp.ones((2, 17), bool))
    assert isinstance(model.spec, ModelSpec)
