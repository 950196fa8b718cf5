"""CKA: equal to plain Gram matrices, invariant where it must be, unbiased."""

import jax
import numpy as np
import pytest

from helix_jax.similarity import (
    accumulate_norms,
    linear_cka,
    merge_norms,
    norms_from_batch,
    unbiased_linear_cka,
)


def _pair(rows=60, dx=7, dy=5, shift=0.0, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, dx)) * np.arange(1, dx + 1) + shift
    y = x[:, :dy] @ rng.normal(size=(dy, dy)) + 2 * rng.normal(size=(rows, dy))
    return x.astype(dtype), y.astype(dtype)


def _gram_cka(x, y):
    rows = len(x)
    centre = np.eye(rows) - 1 / rows
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre  # noqa: E741
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


def _gram_hsic(x, y):
    """Song et al. 2012, equation 5, written out."""
    n = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    total = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (k @ l).sum()) / (n * (n - 3))


def _gram_unbiased_cka(x, y):
    return _gram_hsic(x, y) / np.sqrt(_gram_hsic(x, x) * _gram_hsic(y, y))


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("rows", [4, 9, 60])
def test_equal_to_gram_matrices(rows, jitted):
    x, y = _pair(rows)
    plain, unbiased = linear_cka, unbiased_linear_cka
    if jitted:
        plain, unbiased = jax.jit(plain), jax.jit(unbiased)
    record = norms_from_batch(x, y)
    assert float(plain(record.moments)) == pytest.approx(_gram_cka(x, y), rel=1e-10)
    want = _gram_unbiased_cka(x, y)
    assert float(unbiased(record)) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize("size", [1, 7, 25, 100])
def test_streams_equal_the_whole_far_from_zero(size):
    x, y = _pair(200, shift=1e3, dtype="float32")
    order = np.argsort(x[:, 6])  # so that the batches' means differ
    x, y = x[order], y[order]
    record = accumulate_norms(
        (x[i : i + size], y[i : i + size]) for i in range(0, 200, size)
    )
    x, y = (z - z.mean(0) for z in (x.astype(np.float64), y.astype(np.float64)))
    want = _gram_unbiased_cka(x, y)
    assert float(unbiased_linear_cka(record)) == pytest.approx(want, rel=1e-8)
    k, l = (x**2).sum(1), (y**2).sum(1)  # noqa: E741
    np.testing.assert_allclose(record.kk, (k * k).mean(), rtol=1e-9)
    np.testing.assert_allclose(record.kl, (k * l).mean(), rtol=1e-9)
    np.testing.assert_allclose(record.ll, (l * l).mean(), rtol=1e-9)
    for got, weight, side in (
        (record.ku, k, x),
        (record.kv, k, y),
        (record.lu, l, x),
        (record.lv, l, y),
    ):
        want = (weight[:, None] * side).mean(0)
        np.testing.assert_allclose(got, want, atol=1e-9 * np.abs(want).max())


def test_merge_order_is_irrelevant():
    x, y = _pair(90, shift=10.0)
    parts = [norms_from_batch(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    forward = merge_norms(merge_norms(parts[0], parts[1]), parts[2])
    back = merge_norms(parts[2], merge_norms(parts[1], parts[0]))
    for a, b in zip(jax.tree.leaves(forward), jax.tree.leaves(back)):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(a).max())


def test_identity_and_invariances():
    x, y = _pair()
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    same, moved = norms_from_batch(x, x), norms_from_batch(3 * x @ rotation + 5, y)
    assert float(linear_cka(same.moments)) == pytest.approx(1, abs=1e-12)
    assert float(unbiased_linear_cka(same)) == pytest.approx(1, abs=1e-12)
    for measure, record in (
        (lambda r: linear_cka(r.moments), moved),
        (unbiased_linear_cka, moved),
    ):
        want = float(measure(norms_from_batch(x, y)))
        assert float(measure(record)) == pytest.approx(want, rel=1e-10)


def test_only_the_unbiased_form_is_near_zero_for_independent_wide_spaces():
    rng = np.random.default_rng(0)
    plain, unbiased = [], []
    for _ in range(40):
        record = norms_from_batch(rng.normal(size=(50, 100)), rng.normal(size=(50, 80)))
        plain.append(float(linear_cka(record.moments)))
        unbiased.append(float(unbiased_linear_cka(record)))
    assert np.mean(plain) > 0.6
    assert abs(np.mean(unbiased)) < 3 * np.std(unbiased) / np.sqrt(40) + 1e-3
    assert min(unbiased) < 0 < max(unbiased)


def test_constant_sides_and_few_rows():
    x, y = _pair()
    constant = norms_from_batch(np.full((60, 2), 0.1), y)
    assert np.isnan(float(linear_cka(constant.moments)))
    assert np.isnan(float(unbiased_linear_cka(constant)))
    with pytest.raises(ValueError, match=r"needs at least 4 rows .* got 3"):
        unbiased_linear_cka(norms_from_batch(x[:3], y[:3]))
    with pytest.raises(ValueError, match="x holds NaN or infinity, first in row 2"):
        accumulate_norms([(np.where(np.arange(60)[:, None] == 2, np.nan, x), y)])
