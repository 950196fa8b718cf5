"""The stitch equals the models that it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.alignment import AffineMap
from helix_jax.generation import (
    empty_stitch_cache,
    native,
    read_head,
    run_stitch,
    stitch,
)
from helix_jax.models import Stream, apply_model, load_model, run_layers


@pytest.fixture(scope="module")
def llama():
    return load_model(str(assets.model_path("pebble-llama")))


@pytest.fixture(scope="module")
def neox():
    return load_model(str(assets.model_path("pebble-neox")))


TOKENS = jnp.asarray(np.random.default_rng(0).integers(5, 2000, (2, 9)))
MASK = jnp.asarray([[1] * 9, [0, 0] + [1] * 7], bool)


def identity(width):
    return AffineMap(jnp.eye(width), jnp.zeros(width))


def logits_of(parts, cache=None):
    states, cache = run_stitch(parts, TOKENS, MASK, cache)
    return np.asarray(read_head(parts, states))[np.asarray(MASK)]


def own_logits(model):
    whole = apply_model(model.params, model.spec, TOKENS, MASK, logits=True).logits
    return np.asarray(whole)[np.asarray(MASK)]


def test_native_is_the_model(llama):
    np.testing.assert_allclose(logits_of(native(llama)), own_logits(llama), atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "norm"), [(-1, True), (-1, False), (0, False), (2, False)]
)
def test_a_model_stitched_to_itself_by_the_identity_is_the_model(llama, layer, norm):
    parts = stitch(
        llama,
        llama,
        identity(llama.spec.width),
        source_layer=layer,
        target_layer=layer,
        source_norm=norm,
        target_norm=norm,
    )
    np.testing.assert_allclose(logits_of(parts), own_logits(llama), atol=1e-4)


def test_two_models_by_hand(llama, neox):
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(144, 128)).astype(np.float32) / 12
    bias = rng.normal(size=128).astype(np.float32)
    parts = stitch(
        neox,
        llama,
        AffineMap(kernel, bias),
        source_layer=3,
        target_layer=1,
        source_norm=True,
        target_norm=False,
    )
    taken = apply_model(neox.params, neox.spec, TOKENS, MASK, layers=(3,)).hidden[0]
    positions = jnp.maximum(jnp.cumsum(MASK, 1) - 1, 0)
    stream = Stream(taken @ kernel + bias, MASK, positions)
    h = run_layers(llama.params, llama.spec, stream, start=1).h
    expected = np.asarray(read_head(parts, h))[np.asarray(MASK)]
    np.testing.assert_allclose(logits_of(parts), expected, atol=1e-4)


def test_the_cache_changes_nothing(llama, neox):
    parts = stitch(
        neox,
        llama,
        AffineMap(jnp.ones((144, 128)) / 144, jnp.zeros(128)),
        target_layer=2,
        target_norm=False,
    )
    whole, _ = run_stitch(parts, TOKENS, MASK)
    cache = empty_stitch_cache(parts, 2, 16)
    run = jax.jit(run_stitch)
    first, cache = run(parts, TOKENS[:, :4], MASK[:, :4], cache)
    second, cache = run(parts, TOKENS[:, 4:], MASK[:, 4:], cache)
    both = np.concatenate([first, second], axis=1)
    held = np.asarray(MASK)
    np.testing.assert_allclose(both[held], np.asarray(whole)[held], atol=1e-4)


def test_what_does_not_fit_is_refused(llama, neox):
    with pytest.raises(ValueError, match="two models, or two cuts, need a map"):
        stitch(neox, llama, None)
    with pytest.raises(ValueError, match=r"the map's output.*128"):
        stitch(neox, llama, identity(144))
    with pytest.raises(ValueError, match="144"):
        stitch(neox, llama, identity(128))
    with pytest.raises(ValueError, match="target_norm=False"):
        stitch(
            neox, llama, AffineMap(jnp.ones((144, 128)), jnp.zeros(128)), target_layer=1
        )


@pytest.mark.parametrize(("layer", "norm"), [(-1, True), (2, False)])
def test_a_model_cut_without_a_map_is_the_model(llama, layer, norm):
    parts = stitch(
        llama,
        llama,
        None,
        source_layer=layer,
        target_layer=layer,
        source_norm=norm,
        target_norm=norm,
    )
    np.testing.assert_allclose(logits_of(parts), own_logits(llama), atol=1e-4)
