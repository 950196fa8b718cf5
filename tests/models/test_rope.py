"""Rotation against complex numbers, in numpy float64; queries that grow.

Tolerance: 1e-5 absolute on features of order one; observed: below 1e-6.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.models.rope import rotate, rotation
from helix_jax.models.rope_config import rope_from_hf
from helix_jax.models.spec import RopeSpec

FREQUENCIES = (1.0, 0.3, 0.07)
POSITIONS = np.array([[0, 1, 5, 40], [3, 4, 9, 17]])


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_pair_of_features_is_a_complex_number(interleaved):
    x = np.random.default_rng(0).normal(size=(2, 4, 2, 8)).astype(np.float32)
    rope = RopeSpec(FREQUENCIES, scale=1.25, interleaved=interleaved)
    turn = rotation(rope, jnp.asarray(POSITIONS))
    found = rotate(jnp.asarray(x), turn.cos, turn.sin, interleaved=interleaved)
    first = [0, 2, 4] if interleaved else [0, 1, 2]
    second = [1, 3, 5] if interleaved else [3, 4, 5]
    angles = POSITIONS[..., None, None] * np.asarray(FREQUENCIES)
    turned = (x[..., first] + 1j * x[..., second]) * 1.25 * np.exp(1j * angles)
    assert np.abs(found[..., first] - turned.real).max() < 1e-5
    assert np.abs(found[..., second] - turned.imag).max() < 1e-5
    np.testing.assert_array_equal(found[..., 6:], x[..., 6:])


def test_queries_grow_by_the_logarithm_of_their_period():
    rope = RopeSpec(FREQUENCIES, query_growth=(0.5, 4.0))
    growth = rotation(rope, jnp.asarray(POSITIONS)).growth
    assert growth.shape == (2, 4, 1, 1)
    wanted = [[1 + 0.5 * np.log(1 + p // 4) for p in row] for row in POSITIONS]
    np.testing.assert_allclose(growth[..., 0, 0], wanted, rtol=0, atol=1e-5)
    assert rotation(RopeSpec(FREQUENCIES), jnp.asarray(POSITIONS)).growth is None


@pytest.mark.parametrize("theta", [10.0, 1e4, 1e6])  # of 10, no pair turns slowly
@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_has_the_frequencies_of_transformers(theta, truncate):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    for width, fast, original in itertools.product((8, 64), (4, 32), (64, 4096)):
        given = {
            "rope_type": "yarn",
            "rope_theta": theta,
            "factor": 4.0,
            "beta_fast": fast,
            "beta_slow": 1,
            "original_max_position_embeddings": original,
            "truncate": truncate,
        }
        config = LlamaConfig(
            hidden_size=2 * width,
            num_attention_heads=2,
            max_position_embeddings=4 * original,
            rope_parameters=dict(given),
        )
        wanted, scale = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
        found = rope_from_hf(given, head_width=width, max_tokens=4 * original)
        np.testing.assert_allclose(found.frequencies, wanted.numpy(), rtol=1e-5)
        assert found.scale == pytest.approx(scale)
