"""Rank correlation over pairs of objects, against scipy and against its own promise."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from helix_jax.stats import document_rank_correlations, pair_rank_correlation


def pairs_of(count: int) -> list[tuple[int, int]]:
    return list(itertools.permutations(range(count), 2))


def test_the_value_is_spearmans():
    pairs = pairs_of(7)
    x, y = np.random.default_rng(0).normal(size=(2, len(pairs)))
    x = np.round(x, 1)  # with ties
    got = pair_rank_correlation(x, y, pairs, resamples=50)
    assert got.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert got.low <= got.value <= got.high


def test_a_resample_holds_the_pairs_of_the_objects_that_it_drew():
    """Brute force: every object as often as drawn, and all pairs among them."""
    pairs = pairs_of(5)[:-3]  # not every pair is there
    x, y = np.random.default_rng(1).normal(size=(2, len(pairs)))
    got = pair_rank_correlation(x, y, pairs, resamples=60, seed=4)
    found = []
    for drawn in np.random.default_rng(4).integers(5, size=(60, 5)):
        places = [
            pairs.index(two) for two in itertools.product(drawn, drawn) if two in pairs
        ]
        if len(set(x[places])) > 1:
            found.append(spearmanr(x[places], y[places]).statistic)
    wanted = np.quantile(found, [0.025, 0.975])
    assert (got.low, got.high) == pytest.approx(tuple(wanted), abs=1e-12)


def test_a_monotone_measure_has_no_doubt():
    pairs = pairs_of(6)
    x = np.arange(len(pairs), dtype=float)
    up = pair_rank_correlation(x, np.exp(x / 9), pairs, resamples=99)
    assert tuple(up) == pytest.approx((1, 1, 1))
    down = pair_rank_correlation(x, -x, pairs, resamples=99)
    assert tuple(down) == pytest.approx((-1, -1, -1))


def test_models_and_not_pairs_are_resampled():
    """What belongs to models alone repeats in their pairs: intervals must know it.

    Both measures are effects of the first model plus a little noise, unrelated to each
    other: 132 pairs, but 12 models. Of 25 draws 95% intervals over models hold 0 in 24
    (seen), intervals that take pairs for independent in 16.
    """
    pairs, held, naive = pairs_of(12), 0, 0
    first = np.array([a for a, _ in pairs])
    for seed in range(25):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, 12))
        x, y = (z[first] + 0.1 * rng.normal(size=len(pairs)) for z in (a, b))
        got = pair_rank_correlation(x, y, pairs, resamples=100, seed=seed)
        held += got.low <= 0 <= got.high
        naive += abs(got.value) < 1.96 / np.sqrt(len(pairs) - 1)
    assert held >= 22
    assert naive <= 18


def test_documents_of_rows_are_resampled_whole():
    """Brute force: all rows of every document as often as it was drawn."""
    documents = ["a", "b", "a", "c", "d", "d", "d", "e"]
    x, y = np.random.default_rng(2).normal(size=(2, 8))
    measures = {"x": x, "minus": -x}
    got = document_rank_correlations(measures, y, documents, resamples=60, seed=4)
    assert got["x"].value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert tuple(got["minus"]) == pytest.approx(
        (-got["x"].value, -got["x"].high, -got["x"].low)
    )
    found = []
    for drawn in np.random.default_rng(4).integers(5, size=(60, 5)):
        places = [
            row for one in drawn for row in range(8) if documents[row] == "abcde"[one]
        ]
        if len(set(x[places])) > 1:
            found.append(spearmanr(x[places], y[places]).statistic)
    wanted = np.quantile(found, [0.025, 0.975])
    assert (got["x"].low, got["x"].high) == pytest.approx(tuple(wanted), abs=1e-12)
    with pytest.raises(ValueError, match="three objects or more, got 2"):
        document_rank_correlations(measures, y, ["a"] * 4 + ["b"] * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones(5)}, "one entry per row"),
        ({"x": np.zeros(6)}, "x is the same for every row"),
        ({"y": np.full(6, np.nan)}, "y"),
        ({"pairs": [(0, 0), *pairs_of(3)[1:]]}, "two different objects"),
        ({"pairs": [(0, 1)] * 6}, "three objects"),
    ],
)
def test_wrong_input_is_refused(change, message):
    given = {"x": np.arange(6.0), "y": np.arange(6.0), "pairs": pairs_of(3)} | change
    with pytest.raises(ValueError, match=message):
        pair_rank_correlation(given.pop("x"), given.pop("y"), given.pop("pairs"))
