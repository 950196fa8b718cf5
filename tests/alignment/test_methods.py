"""Every method in one call: the same as each alone, its table, bad input."""

import numpy as np
import pytest

from helix_jax.alignment import (
    METHODS,
    evaluate_map,
    fit_all,
    fit_least_squares,
    fit_procrustes,
    fit_ridge,
    from_batch,
    select_penalty,
    usable_methods,
)


@pytest.fixture(scope="module")
def splits(make_planted):
    x, y, *_ = make_planted(600, 10, 8, noise=1.0, condition=10, mean_over_std=2.0)
    parts = [(x[rows], y[rows]) for rows in np.split(np.arange(600), [300, 450])]
    return [from_batch(*part) for part in parts], (x[:30], y[:30])


@pytest.fixture(scope="module")
def fitted(splits):
    (fit, select, _), anchors = splits
    return fit_all(fit, select, anchors=anchors)


@pytest.mark.slow
def test_all_methods_are_there_and_the_planted_map_is_found(splits, fitted):
    (_, _, test), _ = splits
    assert list(fitted) == list(METHODS)
    fits = {name: one.selection.fit for name, one in fitted.items()}
    scores = {name: float(evaluate_map(fit.map, test).r2) for name, fit in fits.items()}
    assert all(bool(fit.ok) for fit in fits.values())
    best = max(scores.values())
    for name in ("ridge", "least_squares", "reduced_rank", "cca"):
        assert scores[name] > best - 0.02, name
    assert scores["scaled_procrustes"] >= scores["procrustes"] - 0.02


def test_each_is_the_same_as_alone(splits, fitted):
    (fit, select, _), _ = splits
    alone = {
        "ridge": select_penalty(fit_ridge(fit), select).fit,
        "least_squares": fit_least_squares(fit),
        "procrustes": fit_procrustes(fit),
    }
    for name, wanted in alone.items():
        found = fitted[name].selection.fit
        np.testing.assert_allclose(found.map.kernel, wanted.map.kernel, atol=1e-6)
        np.testing.assert_allclose(found.condition, wanted.condition, rtol=1e-5)


def test_the_chosen_one_is_scored_on_the_select_split(splits, fitted):
    (_, select, _), _ = splits
    for name, (selection, seconds) in fitted.items():
        got = float(np.asarray(selection.r2)[int(selection.index)])
        wanted = float(evaluate_map(selection.fit.map, select).r2)
        assert got == pytest.approx(wanted, abs=1e-5), name
        assert seconds >= 0


def test_few_rows_leave_out_least_squares(make_planted):
    x, y, *_ = make_planted(60, 40, 6, noise=1.0)
    fit, select = from_batch(x[:30], y[:30]), from_batch(x[30:], y[30:])
    fitted = fit_all(fit, select)
    assert set(METHODS) - set(fitted) == {"least_squares", "relative"}
    assert all(bool(one.selection.fit.ok) for one in fitted.values())
    assert usable_methods(30, 40, anchors=True)[-1] == "relative"
    with pytest.raises(ValueError, match="needs at least 42 rows"):
        fit_all(fit, select, methods=["least_squares"])


def test_bad_input_is_refused(splits):
    (fit, select, _), _ = splits
    with pytest.raises(
        ValueError, match=r"unknown methods \['magic'\]; there are least"
    ):
        fit_all(fit, select, methods=["magic"])
    with pytest.raises(ValueError, match="relative needs anchors"):
        fit_all(fit, select, methods=["relative"])
    with pytest.raises(ValueError, match="cov_xx of the moments holds NaN"):
        fit_all(fit._replace(cov_xx=np.full((10, 10), np.nan)), select)
    turned = from_batch(*np.random.default_rng(0).normal(size=(2, 50, 4)))
    with pytest.raises(ValueError, match=r"the path maps \[10, 8\]"):
        fit_all(fit, turned)


def test_constant_sources_are_marked():
    x, y = np.ones((50, 3)), np.random.default_rng(0).normal(size=(50, 2))
    moments = from_batch(x, y)
    fitted = fit_all(moments, moments)
    assert not any(bool(one.selection.fit.ok) for one in fitted.values())
