"""Biases by distance against those that transformers builds for bloom, mpt, falcon."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.bloom.modeling_bloom import _get_alibi_slopes
from transformers.models.falcon.modeling_falcon import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from helix_jax.models import apply_model
from helix_jax.models.alibi import alibi_bias
from helix_jax.models.alibi_slopes import alibi_slopes
from helix_jax.models.spec import AlibiSpec

from .twins import VOCABULARY, twin_states


def test_slopes_are_those_of_bloom_and_mpt():
    """For any number of heads; observed: equal to 2e-7 of each."""
    for heads in range(1, 129):
        ours = np.asarray(alibi_slopes(heads))
        bloom = _get_alibi_slopes(heads, torch.device("cpu")).numpy()
        mpt = -build_mpt_alibi_tensor(heads, 2)[:, 0, 0].numpy()
        np.testing.assert_allclose(ours, bloom, rtol=1e-6)
        np.testing.assert_allclose(ours, mpt, rtol=1e-6)


@pytest.mark.parametrize("heads", [6, 32, 71])
@pytest.mark.parametrize("jit", [False, True])
def test_coarse_biases_are_falcons_to_the_bit(heads, jit):
    """In float32 too it multiplies in bfloat16, off by more than 1 at 3,000 tokens."""
    alibi = AlibiSpec(alibi_slopes(heads), coarse=True)
    positions = jnp.arange(3000)[None]
    bias = jax.jit(alibi_bias, static_argnums=0) if jit else alibi_bias
    ours = bias(alibi, positions, positions)
    mask = torch.ones((1, 3000), dtype=torch.long)
    theirs = build_alibi_tensor(mask, heads, torch.float32).numpy()
    np.testing.assert_array_equal(np.asarray(ours)[0], theirs)
    exact = np.asarray(alibi.slopes)[:, None] * np.arange(3000)
    assert np.abs(theirs[:, 0] - exact).max() > 1


def test_biases_fall_with_the_distance():
    alibi = AlibiSpec((0.5, 0.25), scale=2.0)
    queries, keys = jnp.asarray([[3, 7]]), jnp.asarray([[0, 3, 7]])
    ours = alibi_bias(alibi, queries, keys)
    np.testing.assert_array_equal(ours[0, 0], [[-3, 0, 4], [-7, -4, 0]])
    np.testing.assert_array_equal(ours[0, 1], [[-1.5, 0, 2], [-3.5, -2, 0]])


@pytest.mark.parametrize("name", ["bloom", "falcon_alibi"])
@pytest.mark.slow
def test_long_texts_with_biases(twin, name):
    """By blocks of queries and keys, and where falcon's rounding is seen.

    Tolerance: 1e-4 of the largest feature; observed: 4e-6.
    """
    theirs, model = twin(name)
    tokens = np.random.default_rng(2).integers(3, VOCABULARY, (1, 1100))
    wanted = twin_states(theirs, tokens, np.ones(tokens.shape, bool))[0][-1]

    def error(spec) -> float:
        states = apply_model(model.params, spec, jnp.asarray(tokens)).hidden[0]
        return float(np.abs(np.asarray(states) - wanted).max() / np.abs(wanted).max())

    assert error(model.spec) < 1e-4
    if model.spec.alibi.coarse:
        exact = dataclasses.replace(model.spec.alibi, coarse=False)
        assert error(dataclasses.replace(model.spec, alibi=exact)) > 1e-3
