"""Moments: equal to numpy, mergeable in any order, jit-able, refusing bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.alignment import (
    Moments,
    all_merge,
    empty,
    from_batch,
    merge,
    merge_all,
    select_columns,
    translate,
)


def _numpy_moments(x, y, weights=None):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    mean_x, mean_y = (w @ z / w.sum() for z in (x, y))
    u, v = x - mean_x, y - mean_y
    cov = [(a * w[:, None]).T @ b / w.sum() for a, b in ((u, u), (u, v), (v, v))]
    return Moments(w.sum(), mean_x, mean_y, *cov)


def _assert_close(a, b, rtol):
    for name, left, right in zip(Moments._fields, a, b):
        left, right = np.asarray(left), np.asarray(right)
        scale = np.abs(right).max() + 1e-300
        error = np.abs(left - right).max() / scale
        assert error < rtol, f"{name}: relative error {error:.2e}"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("jitted", [False, True])
def test_equal_to_numpy(make_planted, weighted, jitted):
    x, y, *_ = make_planted(50, 4, 3, mean_over_std=100.0)
    weights = np.random.default_rng(1).uniform(0, 2, 50) if weighted else None
    batch = jax.jit(from_batch) if jitted else from_batch
    got = batch(x.astype(np.float32), y.astype(np.float32), weights=weights)
    want = _numpy_moments(x.astype(np.float32), y.astype(np.float32), weights)
    assert got.cov_xx.dtype == np.float64
    _assert_close(got, want, 1e-6 if weighted and jitted else 1e-12)


def test_rows_of_weight_zero_are_ignored_whatever_they_hold(make_planted):
    x, y, *_ = make_planted(20, 4, 3)
    weights = (np.arange(20) < 13).astype(np.float32)
    x[13:], y[13:] = np.nan, np.inf
    _assert_close(
        from_batch(x, y, weights=weights), _numpy_moments(x[:13], y[:13]), 1e-12
    )


def test_one_row_has_covariance_zero():
    got = from_batch(np.ones((1, 2), np.float32) * 7, np.ones((1, 3), np.float32))
    assert float(got.count) == 1
    np.testing.assert_array_equal(got.cov_xy, np.zeros((2, 3)))
    np.testing.assert_array_equal(got.mean_x, [7, 7])


_batch = jax.jit(from_batch)
_merge = jax.jit(merge)


@settings(max_examples=25, deadline=None)
@given(parts=st.integers(2, 8), sort=st.booleans(), seed=st.integers(0, 2**16))
def test_merge_order_is_irrelevant(parts, sort, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 3)) * 10 + 1e4
    y = rng.normal(size=(200, 2)) + x[:, :2]
    owner = rng.integers(parts, size=200)
    owner = np.sort(owner) if sort else owner
    with jax.enable_x64(True):
        shards = [_batch(x, y, weights=(owner == p) * 1.0) for p in range(parts)]
        whole = _batch(x, y, weights=np.ones(200))
        shuffled = [shards[i] for i in rng.permutation(parts)]
        for order in (shards, shuffled):
            merged = order[0]
            for shard in order[1:]:
                merged = _merge(merged, shard)
            _assert_close(merged, whole, 1e-10)


@pytest.mark.parametrize("jitted", [False, True])
def test_selected_columns_have_the_moments_of_their_rows(make_planted, jitted):
    x, y, *_ = make_planted(50, 6, 4)
    some_x, some_y = slice(2, 5), slice(1, 4)
    select = partial(select_columns, x=some_x, y=some_y)
    got = (jax.jit(select) if jitted else select)(from_batch(x, y))
    _assert_close(got, _numpy_moments(x[:, some_x], y[:, some_y]), 1e-12)
    _assert_close(select_columns(from_batch(x, y)), from_batch(x, y), 1e-15)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_merge_all(make_planted, parts):
    x, y, *_ = make_planted(70, 3, 2, mean_over_std=100.0)
    rows = np.array_split(np.arange(70), parts)
    got = merge_all(from_batch(x[r], y[r]) for r in rows)
    _assert_close(got, from_batch(x, y), 1e-10)


def test_empty_is_neutral(make_planted):
    x, y, *_ = make_planted(30, 4, 3)
    one = from_batch(x, y)
    _assert_close(merge(one, empty(4, 3)), one, 1e-15)
    _assert_close(merge(empty(4, 3), one), one, 1e-15)
    nothing = merge(empty(4, 3), empty(4, 3))
    assert all(np.all(np.asarray(leaf) == 0) for leaf in nothing)


def test_merge_inside_a_scan_under_jit(make_planted):
    x, y, *_ = make_planted(64, 4, 3, mean_over_std=1e3, dtype="float32")

    @jax.jit
    def whole(x, y):
        def step(state, rows):
            return merge(state, from_batch(*rows)), None

        return jax.lax.scan(step, empty(4, 3), (x, y))[0]

    with jax.enable_x64(True):
        got = whole(x.reshape(8, 8, 4), y.reshape(8, 8, 3))
    _assert_close(got, _numpy_moments(x, y), 1e-10)


def test_no_row_is_lost_beyond_what_float32_counts(make_planted):
    x, y, *_ = make_planted(30, 4, 3)
    many = from_batch(x, y)._replace(count=np.float64(2**24))
    for count in (1, 3):
        one = from_batch(x[:count], y[:count])
        assert float(merge(many, one).count) == 2**24 + count
        assert float(merge_all([one, many, one]).count) == 2**24 + 2 * count


def test_translate_moves_only_means(make_planted):
    x, y, *_ = make_planted(30, 4, 3)
    moved = translate(from_batch(x, y), np.arange(4.0), np.full(3, -2.0))
    _assert_close(moved, from_batch(x + np.arange(4.0), y - 2), 1e-12)


def test_all_merge_over_a_mapped_axis(make_planted):
    x, y, *_ = make_planted(60, 4, 3, mean_over_std=1e3)
    shards = jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]),
        # A device may have few rows.
        *(from_batch(x[rows], y[rows]) for rows in np.split(np.arange(60), [5, 20])),
    )
    with jax.enable_x64(True):
        stacked = jax.tree.map(jnp.asarray, shards)
        got = jax.vmap(lambda m: all_merge(m, "device"), axis_name="device")(stacked)
    want = from_batch(x, y)
    for device in range(3):
        _assert_close(jax.tree.map(lambda leaf, d=device: leaf[d], got), want, 1e-10)


def test_importing_leaves_the_default_precision_alone():
    from_batch(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
    assert jnp.ones(1).dtype == np.float32
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.ones((5, 2)), np.ones((4, 2)), ValueError, "same rows, got 5 and 4"),
        (np.ones(5), np.ones((5, 2)), ValueError, r"x needs shape \[rows, width\]"),
        (np.ones((5, 2), int), np.ones((5, 2)), TypeError, "x needs a floating-point"),
        ([[1.0]], np.ones((1, 2)), TypeError, "numpy or JAX array, got a list"),
    ],
)
def test_bad_input_is_refused(x, y, error, message):
    with pytest.raises(error, match=message):
        from_batch(x, y)


def test_bad_weights_and_widths_are_refused():
    x = np.ones((5, 2))
    with pytest.raises(ValueError, match=r"weights need shape \[5\]"):
        from_batch(x, x, weights=np.ones(4))
    with pytest.raises(ValueError, match=r"same widths, got \[2, 2\] and \[2, 3\]"):
        merge(empty(2, 2), empty(2, 3))
    with pytest.raises(ValueError, match="at least one record"):
        merge_all([])
