import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.activations.pooling import POOLINGS, pool

RNG = np.random.default_rng(0)
LENGTHS = [1, 2, 5, 7]
TIME, WIDTH = 7, 3
ROWS = [RNG.normal(size=(length, WIDTH)).astype(np.float32) for length in LENGTHS]


def padded(side, filler=np.nan):
    """The rows above padded on one side with NaN."""
    states = np.full((len(ROWS), TIME, WIDTH), filler, np.float32)
    mask = np.zeros((len(ROWS), TIME), np.int32)
    for row, values in enumerate(ROWS):
        part = slice(0, len(values)) if side == "right" else slice(-len(values), None)
        states[row, part], mask[row, part] = values, 1
    return states, mask


def expected(method):
    def one(values):
        if method == "mean":
            return values.mean(0)
        if method == "last":
            return values[-1]
        if method == "cls":
            return values[0]
        if method == "max":
            return values.max(0)
        if method == "mean_sqrt":
            return values.sum(0) / len(values) ** 0.5
        weights = np.arange(1, len(values) + 1)
        return (values * weights[:, None]).sum(0) / weights.sum()

    return np.stack([one(values) for values in ROWS])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("method", [one for one in POOLINGS if one != "token"])
@pytest.mark.parametrize("jitted", [False, True])
def test_equals_unpadded_numpy(method, side, jitted):
    states, mask = padded(side)
    function = jax.jit(pool, static_argnames="method") if jitted else pool
    got = function(states, mask, method=method)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected(method), atol=1e-6)


def test_token_keeps_states_and_clears_padding():
    states, mask = padded("left")
    got = np.asarray(pool(states, mask, method="token"))
    assert (got[mask == 0] == 0).all()
    np.testing.assert_array_equal(got[mask == 1], np.concatenate(ROWS))


@pytest.mark.parametrize("method", POOLINGS)
def test_layers_lead(method):
    states, mask = padded("right", filler=0)
    both = pool(np.stack([states, 2 * states]), mask, method=method)
    one = np.asarray(pool(states, mask, method=method))
    np.testing.assert_allclose(both, np.stack([one, 2 * one]), rtol=1e-6)


def test_bfloat16_is_pooled_in_float32():
    # In bfloat16 the sum of 512 ones stops at 256.
    states = jnp.ones((1, 512, 1), jnp.bfloat16)
    mask = jnp.ones((1, 512), bool)
    got = pool(states * jnp.bfloat16(1.0078125), mask, method="mean")
    np.testing.assert_allclose(got, 1.0078125, rtol=1e-6)


@pytest.mark.parametrize("method", ["mean", "last", "cls", "weighted_mean"])
def test_row_without_tokens_is_zero(method):
    got = pool(jnp.ones((2, 4, 3)), jnp.array([[0] * 4, [1] * 4]), method=method)
    np.testing.assert_array_equal(got, [[0, 0, 0], [1, 1, 1]])


def test_unknown_method():
    with pytest.raises(ValueError, match=r"one of .*weighted_mean.* got 'median'"):
        pool(jnp.ones((1, 2, 3)), jnp.ones((1, 2)), method="median")
