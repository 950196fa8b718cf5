"""Maps without pairs: planted ones are found, and where none is, that is said."""

import jax
import numpy as np
import pytest

from helix_jax.alignment import apply_map, fit_unpaired


def spread(width):
    return np.arange(1, width + 1) ** -0.5


def sides(dx, dy, rows=500, noise=0.05, seed=0):
    """Rows of one shape on both sides, none of them twice, and pairs to score on."""
    rng = np.random.default_rng(seed)
    inner = min(dx, dy)
    centres = 2 * rng.normal(size=(25, inner)) * spread(inner)
    weights = rng.dirichlet(np.ones(len(centres)))

    def rotate(width):
        return np.linalg.qr(rng.normal(size=(width, inner)))[0].T

    into_x, into_y = rotate(dx), 3 * rotate(dy)

    def rows_of(count):
        own = rng.choice(len(centres), count, p=weights)
        return centres[own] + 0.3 * rng.normal(size=(count, inner)) * spread(inner)

    def seen(latent, into, shift):
        return (
            latent @ into + shift + noise * rng.normal(size=(len(latent), len(into.T)))
        )

    shared = rows_of(400)
    return (
        seen(rows_of(rows), into_x, 5.0),
        seen(rows_of(rows + 100), into_y, -2.0),
        seen(shared, into_x, 5.0),
        seen(shared, into_y, -2.0),
    )


def r2(fit, x, y):
    missed = np.asarray(apply_map(fit.map, x), np.float64) - y
    return 1 - (missed**2).sum() / ((y - y.mean(0)) ** 2).sum()


@pytest.mark.parametrize(("dx", "dy"), [(16, 16), (12, 20), (20, 12)])
@pytest.mark.slow
def test_a_planted_rotation_is_found_without_a_pair(dx, dy):
    x, y, x_test, y_test = sides(dx, dy)
    fit = fit_unpaired(x, y, key=jax.random.key(0))
    assert bool(fit.found)
    assert float(fit.agreement) > 0.9
    assert r2(fit, x_test, y_test) > 0.9
    assert fit.similarity.shape == (2, 3)


@pytest.mark.slow
def test_rows_without_shape_are_said_to_single_out_no_map():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(500, 16)) for _ in range(2))
    fit = fit_unpaired(x, y, key=jax.random.key(0))
    assert not bool(fit.found)
    assert abs(float(fit.agreement)) < 0.3


@pytest.mark.slow
def test_the_same_key_gives_the_same_map():
    x, y, *_ = sides(12, 12, rows=200)
    first, second = (fit_unpaired(x, y, key=jax.random.key(1), starts=1) for _ in "ab")
    np.testing.assert_array_equal(first.map.kernel, second.map.kernel)


@pytest.mark.slow
def test_more_rows_than_are_used_are_drawn_from(monkeypatch):
    from helix_jax.alignment import unpaired

    monkeypatch.setattr(unpaired, "_MOST", 400)
    monkeypatch.setattr(unpaired, "_REFERENCES", 300)
    x, y, x_test, y_test = sides(12, 12)
    fit = fit_unpaired(x, y, key=jax.random.key(0))
    assert bool(fit.found)
    assert r2(fit, x_test, y_test) > 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[:20], "32"),
        (lambda x: np.where(np.arange(len(x))[:, None] == 3, np.nan, x), "x"),
        (lambda x: np.ones_like(x), "rows of x do not vary"),
        (lambda x: x[0], "needs shape"),
    ],
)
def test_rows_that_no_map_can_be_found_from_are_refused(change, said):
    x, y, *_ = sides(12, 12, rows=200)
    with pytest.raises(ValueError, match=said):
        fit_unpaired(change(x), y, key=jax.random.key(0))


def test_a_fit_needs_a_start():
    x, y, *_ = sides(12, 12, rows=200)
    with pytest.raises(ValueError, match="one start"):
        fit_unpaired(x, y, key=jax.random.key(0), starts=0)
