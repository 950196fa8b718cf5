"""Moments of shuffled pairs and of growing samples: those of the rows themselves."""

import itertools

import jax
import numpy as np
import pytest

from helix_jax.alignment import (
    accumulate_with_shuffled,
    derangement,
    fit_ridge,
    fit_shuffled,
    from_batch,
    growing_moments,
    ridge_at,
    shuffled_moments,
)

KEY = jax.random.key(3)


def rows_of(count, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, 5)), generator.normal(size=(count, 3))


def require_moments(got, x, y):
    """The moments are numpy's of these very rows."""
    assert float(got.count) == len(x)
    np.testing.assert_allclose(got.mean_x, x.mean(0), atol=1e-12)
    np.testing.assert_allclose(got.mean_y, y.mean(0), atol=1e-12)
    both = np.cov(np.concatenate([x, y], axis=1).T, bias=True)
    width = x.shape[1]
    np.testing.assert_allclose(got.cov_xx, both[:width, :width], atol=1e-12)
    np.testing.assert_allclose(got.cov_xy, both[:width, width:], atol=1e-12)
    np.testing.assert_allclose(got.cov_yy, both[width:, width:], atol=1e-12)


@pytest.mark.parametrize("block_rows", [16, 4096])
def test_shuffled_moments_are_those_of_the_rows_dealt_anew(block_rows):
    x, y = rows_of(90)
    got = shuffled_moments(x, y, key=KEY, block_rows=block_rows)
    require_moments(got, x, y[np.asarray(derangement(KEY, 90))])
    affine = fit_shuffled(x, y, key=KEY, penalty=0.1, block_rows=block_rows)
    wanted = ridge_at(fit_ridge(got, penalties=0.1), 0).map
    np.testing.assert_allclose(affine.kernel, wanted.kernel, atol=1e-12)


def test_a_stream_is_shuffled_within_each_batch():
    x, y = rows_of(61)
    ends = [0, 30, 60, 61]  # the last batch is one row, which keeps its pair
    batches = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(ends)]
    true, shuffled = accumulate_with_shuffled(iter(batches), key=KEY)
    require_moments(true, x, y)
    dealt = y.copy()
    for number in (0, 1):
        order = np.asarray(derangement(jax.random.fold_in(KEY, number), 30))
        dealt[30 * number : 30 * number + 30] = batches[number][1][order]
    assert (dealt[:60] != y[:60]).any(axis=1).all()
    require_moments(shuffled, x, dealt)


def test_growing_moments_are_those_of_each_sample_and_read_rows_once(monkeypatch):
    x, y = rows_of(90)
    order = np.random.default_rng(1).permutation(90)
    read = []

    def counted(x, y):
        read.append(len(x))
        return from_batch(x, y)

    monkeypatch.setattr("helix_jax.alignment.growing.from_batch", counted)
    sizes = (10, 30, 90)
    grown = growing_moments(x, y, order=order, sizes=sizes, block_rows=16)
    for size, moments in zip(sizes, grown, strict=True):
        require_moments(moments, x[order[:size]], y[order[:size]])
    assert sum(read) == 90


@pytest.mark.parametrize("sizes", [(30, 10), (10, 10), (0, 5), (10, 91)])
def test_sizes_that_are_none_are_refused(sizes):
    x, y = rows_of(90)
    with pytest.raises(ValueError, match="sizes need to ascend, from 1 to 90"):
        growing_moments(x, y, order=np.arange(90), sizes=sizes)
    with pytest.raises(ValueError, match="rows"):
        growing_moments(x, y[:80], order=np.arange(90), sizes=(10,))
