"""Two spaces in one list of results: mixing, calibrations, orders."""

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression

from helix_jax import choices
from helix_jax.linalg import unit_rows
from helix_jax.similarity.retrieval import Search
from helix_jax.transfer.mixed import (
    CALIBRATIONS,
    Calibration,
    Parts,
    calibrate_scores,
    mixed_ranks,
    renewed_rows,
)
from helix_jax.transfer.residuals import rank_agreement

ROWS, QUERIES = 300, 120
WANTED = np.arange(ROWS - QUERIES, ROWS)


def space(seed, width, noise):
    """A search whose i-th query is the i-th of the last rows, with noise."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, width)) + 0.5
    asked = rows[WANTED] + noise * rng.normal(size=(QUERIES, width))
    return Search(*(np.asarray(unit_rows(z), np.float32) for z in (asked, rows)))


@pytest.fixture(scope="module")
def spaces():
    """Of the new model, precise and wide; of the old one, through a map."""
    return space(0, 24, 0.7), space(1, 9, 1.0)


@pytest.mark.parametrize("slope", [2.0, -2.0, 0.0])
def test_a_mixed_score_is_its_own_parts_line(spaces, slope):
    """A map of shuffled pairs may have no slope, or one downwards."""
    new, old = spaces
    parts = Parts(new, old, Calibration(3.0, -1.0), Calibration(slope, 0.5))
    renewed = renewed_rows(np.random.default_rng(0).permutation(ROWS), 0.3)
    assert renewed.sum() == 90
    search = parts.mix(renewed)
    native = 3 * new.queries @ new.index.T - 1
    mapped = slope * old.queries @ old.index.T + 0.5
    wanted = np.where(renewed, native, mapped)
    found = 3 * search.queries @ search.index.T  # divided by the larger slope
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_no_share_is_the_map_alone_and_all_is_the_new_index(spaces):
    parts = Parts(*spaces, Calibration(5.0, 0.3), Calibration(1.0, 0.0))
    orders = np.stack([np.random.default_rng(n).permutation(ROWS) for n in range(3)])
    none, all_rows = (mixed_ranks(parts, orders, p, WANTED) for p in (0, 100))
    assert none.shape == (1, QUERIES)
    np.testing.assert_array_equal(none[0], spaces[1].ranks(WANTED))
    for ranks in all_rows:
        np.testing.assert_array_equal(ranks, spaces[0].ranks(WANTED))


@pytest.mark.slow
def test_log_odds_are_those_of_scikit_learn(spaces):
    search = Search(spaces[0].queries, spaces[0].index[WANTED])
    found = calibrate_scores("log_odds", search)
    scores = search.queries.astype(float) @ search.index.T.astype(float)
    twin = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000)
    twin.fit(scores.reshape(-1, 1), np.eye(QUERIES).reshape(-1))
    assert found.slope == pytest.approx(twin.coef_[0, 0], rel=1e-3)
    assert found.offset == pytest.approx(twin.intercept_[0], rel=1e-3)


def test_scores_of_parts_of_unequal_spread_need_a_line(spaces):
    """One part's cosines made small: as they are, they would never come first."""
    new, old = spaces
    small = Search(new.queries * np.float32(0.2), new.index)
    order = np.random.default_rng(0).permutation(ROWS)[None]
    ranks = {}
    assert tuple(CALIBRATIONS) == choices.CALIBRATIONS
    for name in CALIBRATIONS:
        lines = (
            calibrate_scores(name, Search(one.queries, one.index[WANTED]))
            for one in (small, old)
        )
        ranks[name] = mixed_ranks(Parts(small, old, *lines), order, 50, WANTED)
    right = {name: np.mean(found == 1) for name, found in ranks.items()}
    for name in ("standardised", "log_odds"):
        assert right[name] > right["raw"] + 0.1, right


def test_a_calibration_that_there_is_not_is_refused(spaces):
    with pytest.raises(ValueError, match="unknown calibration 'plain'; there are raw"):
        calibrate_scores("plain", spaces[0])
    with pytest.raises(ValueError, match="got 120 and 300"):
        calibrate_scores("raw", spaces[0])


def test_agreement_of_ranks_is_spearmans():
    rng = np.random.default_rng(0)
    a = rng.normal(size=80)
    b = np.exp(a + rng.normal(size=80))
    found = rank_agreement(a, b, list(map(str, range(80))), resamples=100)
    assert found.value == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-9)
    assert found.low < found.value < found.high
