"""All pairs at once and held-out measures: equal to each pair on its own."""

import jax
import numpy as np
import pytest

from helix_jax.alignment import from_batch
from helix_jax.similarity import (
    cknna,
    linear_cka_null,
    nearest_neighbours,
    procrustes_distance,
    pwcca,
    rbf_cka,
    rsa,
    svcca,
)
from helix_jax.similarity.held_out import fit_pair, pair_nulls, reduced, score_pair
from helix_jax.similarity.matrix import similarity_matrix, similarity_nulls
from tests.similarity import twins


def _three():
    (x, y), (_, z) = twins.planted(80), twins.planted(80, seed=1)
    return x, y, z


@pytest.mark.slow
def test_matrix_equals_pairs_on_their_own():
    rows = _three()
    names = ("rbf_cka", "rsa_spearman", "cknna")
    got = similarity_matrix(rows, measures=names, pairs=[(0, 2), (1, 0)], neighbours=5)
    for place, (a, b) in enumerate([(0, 2), (1, 0)]):
        x, y = rows[a], rows[b]
        near = [nearest_neighbours(one, neighbours=5) for one in (x, y)]
        want = rbf_cka(x, y), rsa(x, y), cknna(*near)
        for name, one in zip(names, want):
            assert float(got[name][place]) == pytest.approx(float(one), rel=1e-9)
    with pytest.raises(ValueError, match=r"measures need to be among .* got cka"):
        similarity_matrix(rows, measures=("cka",))


def test_nulls_equal_pairs_on_their_own():
    rows = _three()
    got = similarity_nulls(
        rows, measures=("linear_cka", "mutual_knn"), permutations=4, neighbours=5
    )
    for place, (a, b) in enumerate([(0, 1), (0, 2), (1, 2)]):
        want = linear_cka_null(rows[a], rows[b], permutations=4)
        np.testing.assert_allclose(got["linear_cka"][:, place], want, rtol=1e-9)
    assert got["mutual_knn"].shape == (4, 3)


@pytest.mark.slow
def test_held_out_scores_equal_the_measures_in_principal_coordinates():
    x, y = twins.planted(600, 9, 8)
    parts = [(x[i], y[i]) for i in (slice(300), slice(300, 400), slice(400, 600))]
    fitted = fit_pair(parts[0], parts[1], rank=4)
    got = score_pair(fitted, parts[2])
    moments = [from_batch(*parts[i]) for i in (0, 2)]
    want = {
        "svcca": svcca(*moments, rank=4),
        "pwcca": pwcca(*moments, rank=4),
        "procrustes": procrustes_distance(*(reduced(fitted, m) for m in moments)),
    }
    for name, one in want.items():
        assert float(got[name]) == pytest.approx(float(one), rel=1e-8)
    jitted = jax.jit(score_pair)(fitted, parts[2])
    for name, one in got.items():
        assert float(jitted[name]) == pytest.approx(float(one), abs=1e-5)
    nulls = pair_nulls(fitted, parts[0], parts[2], permutations=3)
    for name, null in nulls.items():
        far = np.asarray(null) > np.asarray(got[name])
        assert (far if name == "procrustes" else ~far).all()


@pytest.mark.slow
def test_ranks_beyond_the_rows_are_refused():
    x, y = twins.planted(60)
    fitted = fit_pair((x[:30], y[:30]), (x[30:40], y[30:40]), rank=5)
    with pytest.raises(ValueError, match="30 rows are too few for 10 directions"):
        score_pair(fitted, (x[40:], y[40:]))
