"""The confidence of rows: what it promises holds for rows that it has not seen."""

import numpy as np
import pytest

from helix_jax.alignment import (
    fit_confidence,
    fit_ridge,
    from_batch,
    ridge_at,
    save_map,
    score_confidence,
)
from helix_jax.alignment.confidence import LEAST_ROWS, second_half, true_cosines
from helix_jax.errors import ArtefactError
from helix_jax.map_confidence import COSINES, confidence_of, features
from helix_jax.maps_numpy import read_map

DX, DY = 12, 9
KERNEL = np.random.default_rng(0).normal(size=(DX, DY))


def planted(seed, rows):
    """Rows whose noise grows as their source rows shrink, and documents of two rows."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.3, 3, size=(rows, 1))
    x = 0.5 + size * rng.normal(size=(rows, DX))
    y = 1 + x @ KERNEL + rng.normal(size=(rows, DY)) / size
    documents = [f"{seed}-{row // 2}" for row in range(rows)]
    return (x.astype(np.float32), y.astype(np.float32)), documents


@pytest.fixture(scope="module")
def fitted():
    (x, y), _ = planted(1, 4000)
    moments = from_batch(x, y)
    return ridge_at(fit_ridge(moments, penalties=1e-3), 0).map, moments


@pytest.fixture(scope="module")
def own(fitted):
    return fit_confidence(*fitted, *planted(2, 3000))


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
@pytest.mark.slow
def test_the_bound_holds_for_the_promised_share_of_new_rows(own, fitted, coverage):
    rows, documents = planted(3, 6000)
    scores = score_confidence(
        own, fitted[0], rows, documents, coverage=coverage, resamples=100
    )
    for name in COSINES:
        found = scores[f"{name}_coverage"]
        # The calibration's own draw moves it: 1,500 rows, four standard deviations.
        spread = 4 * np.sqrt(coverage * (1 - coverage) / 1500)
        assert found.low - spread < coverage < found.high + spread


def test_rows_are_told_apart_and_the_control_tells_none(own, fitted):
    rows, documents = planted(3, 6000)
    scores = score_confidence(own, fitted[0], rows, documents, resamples=100)
    constant = fit_confidence(*fitted, *planted(2, 3000), constant=True)
    control = score_confidence(constant, fitted[0], rows, documents, resamples=100)
    for name in COSINES:
        assert scores[f"{name}_correlation"].low > 0.6
        assert f"{name}_correlation" not in control
        assert control[f"{name}_coverage"].value > 0.85
        higher = scores[f"{name}_at_least"].low, control[f"{name}_at_least"].high
        assert higher[0] > higher[1]
        true, predicted = scores[name], scores[f"{name}_predicted"]
        assert abs(true.value - predicted.value) < 0.03


def test_predictions_and_bounds_are_the_equations(own, fitted):
    (x, y), _ = planted(4, 40)
    y_hat = np.asarray(fitted[0](x))
    found = features(own, x, y_hat)
    x64, y64 = x.astype(np.float64), y_hat.astype(np.float64)
    about, target = x64 - own.mean_x, y64 - own.mean_y
    along = about @ own.directions
    off = (about**2).sum(1) - along**2 @ own.variances
    energies = [
        (about**2).sum(1) / own.scales[0],
        (along**2).mean(1),
        off / own.scales[1],
        (target**2).sum(1) / own.scales[2],
        (y64**2).sum(1) / (own.scales[2] + (own.mean_y.astype(float) ** 2).sum()),
    ]
    assert own.directions.shape == (DX, 11)
    np.testing.assert_allclose(found, np.log(np.array(energies) + 1e-3).T, atol=3e-3)
    residuals = own.regressions["cosine"].residuals
    assert (np.diff(residuals) >= 0).all()
    predicted, least = own("cosine", x, y_hat, coverage=0.8)
    place = int(np.ceil(0.8 * (len(residuals) + 1))) - 1
    shift = np.arctanh(predicted.astype(float)) - np.arctanh(least.astype(float))
    np.testing.assert_allclose(shift, residuals[place], rtol=1e-3)
    true = true_cosines(own, y_hat, y)["centred_cosine"]
    wanted = ((y64 - own.mean_y) * (y - own.mean_y)).sum(1) / np.sqrt(
        (target**2).sum(1) * ((y - own.mean_y) ** 2).sum(1)
    )
    np.testing.assert_allclose(true, wanted, rtol=1e-5)


def test_halves_are_of_documents_and_margins_of_the_second(own):
    _, documents = planted(2, 3000)
    held = second_half(documents)
    assert (held[::2] == held[1::2]).all()
    assert 0.4 < held.mean() < 0.6
    assert len(own.regressions["cosine"].residuals) == held.sum()


def test_it_travels_in_the_folder_of_the_map(own, fitted, tmp_path):
    save_map(
        tmp_path,
        fitted[0],
        source={},
        target={},
        penalty=None,
        split="fit",
        confidence=own,
    )
    found = read_map(tmp_path)
    (x, _), _ = planted(4, 40)
    y_hat = found.map(x)
    for name in COSINES:
        for got, wanted in zip(found.confidence(name, x, y_hat), own(name, x, y_hat)):
            np.testing.assert_array_equal(got, wanted)
    assert "split conformal, " in (tmp_path / "README.md").read_text()
    again = confidence_of(own.arrays())
    assert again.arrays().keys() == own.arrays().keys()


def test_what_is_not_to_be_had_is_refused(own, fitted):
    rows, documents = planted(2, 3000)
    (x, _), _ = planted(4, 40)
    y_hat = np.asarray(fitted[0](x))
    for coverage in (0.99999, 1.0, 0.0):
        with pytest.raises(ArtefactError, match=r"cannot be had from 1\d{3} calib"):
            own("cosine", x, y_hat, coverage=coverage)
    with pytest.raises(ValueError, match=f"needs {LEAST_ROWS} rows in each half"):
        fit_confidence(*fitted, (rows[0][:30], rows[1][:30]), documents[:30])
    with pytest.raises(ValueError, match="one entry per row, got 3000, 3000 and 5"):
        fit_confidence(*fitted, rows, documents[:5])
    with pytest.raises(ValueError, match="y needs width 9, got 12"):
        fit_confidence(*fitted, (rows[0], rows[0]), documents)


def test_strange_rows_are_held_to_what_was_seen(own, fitted):
    (x, _), _ = planted(4, 40)
    far = 1e6 * x
    predicted, least = own("cosine", far, np.asarray(fitted[0](far)))
    assert np.isfinite(predicted).all()
    assert (np.abs(predicted) <= 1).all()
    assert (least <= predicted).all()
    assert own.judge("cosine", far, np.asarray(fitted[0](far)))[2].all()
    seen = planted(3, 6000)
    scores = score_confidence(own, fitted[0], *seen)
    assert scores["outside"].high < 0.05
