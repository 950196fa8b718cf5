"""Procrustes: planted rotations, scipy, unequal widths, what is arbitrary."""

import jax
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from helix_jax.alignment import evaluate_map, fit_procrustes, from_batch


def centred(z):
    return z - z.mean(0)


def rotation(rng, dx, dy):
    q = np.linalg.qr(rng.normal(size=(max(dx, dy), min(dx, dy))))[0]
    return q if dx >= dy else q.T


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(("dx", "dy"), [(6, 6), (4, 7)])
def test_a_planted_rotation_scale_and_shift_are_recovered(dx, dy, jitted):
    rng = np.random.default_rng(0)
    q = rotation(rng, dx, dy)
    x = rng.normal(size=(200, dx)) + 10
    moments = from_batch(x, 2.5 * x @ q - 3)

    def fit(moments):
        return fit_procrustes(moments, scaled=True)

    found = (jax.jit(fit) if jitted else fit)(moments)
    assert bool(found.ok)
    np.testing.assert_allclose(found.map.kernel, 2.5 * q, atol=1e-6)
    np.testing.assert_allclose(found.map.bias, -3, atol=1e-5)
    plain = fit_procrustes(moments)
    np.testing.assert_allclose(plain.map.kernel, q, atol=1e-6)


def test_it_equals_scipy_on_centred_rows(make_planted):
    x, y, *_ = make_planted(300, 8, 8, noise=2.0, mean_over_std=3.0)
    twin, _ = orthogonal_procrustes(centred(x), centred(y))
    found = fit_procrustes(from_batch(x, y))
    np.testing.assert_allclose(found.map.kernel, twin, atol=1e-6)


@pytest.mark.parametrize(("dx", "dy"), [(5, 9), (9, 5)])
def test_unequal_widths_are_those_of_a_padded_square_problem(make_planted, dx, dy):
    x, y, *_ = make_planted(300, dx, dy, noise=1.0)
    found = np.asarray(fit_procrustes(from_batch(x, y)).map.kernel)
    inner = found @ found.T if dx < dy else found.T @ found
    np.testing.assert_allclose(inner, np.eye(min(dx, dy)), atol=1e-6)
    pads = [(0, 0), (0, 9 - dx)], [(0, 0), (0, 9 - dy)]
    padded = (np.pad(centred(z), pad) for z, pad in zip((x, y), pads))
    twin, _ = orthogonal_procrustes(*padded)
    np.testing.assert_allclose(found, twin[:dx, :dy], atol=1e-6)


@pytest.mark.parametrize(("dx", "dy"), [(6, 6), (9, 5)])
def test_no_other_scale_has_less_error(make_planted, dx, dy):
    x, y, *_ = make_planted(300, dx, dy, noise=1.0)
    q = np.asarray(fit_procrustes(from_batch(x, y)).map.kernel)
    scaled = np.asarray(fit_procrustes(from_batch(x, y), scaled=True).map.kernel)
    mapped, target = centred(x) @ q, centred(y)
    best = (mapped * target).sum() / (mapped**2).sum()
    np.testing.assert_allclose(scaled, best * q, rtol=1e-5, atol=1e-7)


def test_few_rows_align_random_states_and_the_rank_says_so():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 40)), rng.normal(size=(12, 40))
    moments = from_batch(x, y)
    found = fit_procrustes(moments, scaled=True)
    assert int(found.rank) == 11
    assert float(evaluate_map(found.map, moments).r2) > 0.5
    fresh = from_batch(rng.normal(size=(500, 40)), rng.normal(size=(500, 40)))
    assert float(evaluate_map(found.map, fresh).r2) < 0.0


def test_constant_states_are_not_ok():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    for x, y in ((np.ones((50, 3)), rows), (rows, np.full((50, 3), 0.1))):
        assert not bool(fit_procrustes(from_batch(x, y)).ok)
