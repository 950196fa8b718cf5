"""The learning rate of every step, read from what the optimizer does."""

import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.training import make_optimizer


def test_the_learning_rate_rises_to_its_height_and_falls_to_a_share_of_it():
    """Adam divides by a gradient's size, so that one moves by the learning rate."""
    optimizer = make_optimizer(
        learning_rate=0.02, steps=20, warmup_steps=4, final_fraction=0.1
    )
    params = {"final_norm": {"scale": jnp.ones(1)}}
    state, moved = optimizer.init(params), []
    for _ in range(21):
        updates, state = optimizer.update(params, state, params)
        moved.append(-float(updates["final_norm"]["scale"][0]))
    np.testing.assert_allclose(moved[:5], 0.02 * np.arange(5) / 4, rtol=1e-4)
    assert moved[20] == pytest.approx(0.1 * 0.02, rel=1e-4)
    middle = 0.02 * (0.1 + 0.9 * (1 + np.cos(np.pi * np.arange(17) / 16)) / 2)
    np.testing.assert_allclose(moved[4:], middle, rtol=1e-4)
