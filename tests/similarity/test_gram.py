"""CKA, RSA over kernels in tiles: equal to numpy and scipy, invariant, guarded."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.similarity import (
    centred_matrices,
    cka_null_moments,
    correlation_null_moments,
    gram_cka,
    gram_correlation,
    gram_null,
    gram_sums,
    gram_unbiased_cka,
    linear_cka,
    linear_cka_null,
    linear_cka_null_moments,
    minibatch_cka,
    norms_from_batch,
    rbf_cka,
    rsa,
    unbiased_cka_null_moments,
    unbiased_linear_cka,
)
from tests.similarity import twins

CENTRINGS = {
    "cka": (gram_cka, twins.cka),
    "unbiased": (gram_unbiased_cka, twins.unbiased_cka),
}


def _condensed(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


@pytest.mark.parametrize("block_rows", [16, 25, 512])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_cka_equals_numpy_for_every_pair_in_tiles_of_any_size(kernel, block_rows):
    x, y = twins.planted(shift=50.0)
    _, z = twins.planted(seed=1)
    sums = gram_sums((x, y, z), kernel=kernel, block_rows=block_rows)
    matrices = [twins.kernel(one, kernel) for one in (x, y, z)]
    for measure, twin in CENTRINGS.values():
        got = np.asarray(measure(sums))
        np.testing.assert_allclose(np.diagonal(got), 1, rtol=1e-9)
        for a, b in itertools.combinations(range(3), 2):
            want = twin(matrices[a], matrices[b])
            assert got[a, b] == got[b, a] == pytest.approx(want, rel=1e-8)


def test_linear_form_equals_the_streamed_one():
    x, y = twins.planted(shift=5.0)
    record, sums = norms_from_batch(x, y), gram_sums((x, y))
    got = float(gram_cka(sums)[0, 1]), float(gram_unbiased_cka(sums)[0, 1])
    assert got[0] == pytest.approx(float(linear_cka(record.moments)), rel=1e-10)
    assert got[1] == pytest.approx(float(unbiased_linear_cka(record)), rel=1e-10)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
def test_rsa_equals_scipy(distance):
    x, y = twins.planted()
    left, right = (_condensed(twins.kernel(z, distance)) for z in (x, y))
    for ranks, twin in ((False, scipy.stats.pearsonr), (True, scipy.stats.spearmanr)):
        got = float(rsa(x, y, distance=distance, ranks=ranks, block_rows=17))
        # Ranks tell distances apart to a millionth of their range.
        tolerance = 1e-5 if ranks else 1e-9
        assert got == pytest.approx(twin(left, right)[0], abs=tolerance)


def test_spearman_keeps_ties():
    rng = np.random.default_rng(0)
    x, y = (np.repeat(rng.normal(size=(15, 4)), 3, axis=0) for _ in range(2))
    left, right = (_condensed(twins.kernel(z, "euclidean")) for z in (x, y))
    want = scipy.stats.spearmanr(left.round(9), right.round(9))[0]
    assert float(rsa(x, y, distance="euclidean")) == pytest.approx(want, abs=1e-4)


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5), st.sampled_from([6, 30])
)
@pytest.mark.slow
def test_invariant_to_rotation_scale_shift_and_order(seed, scale, shift, rows):
    x, y = twins.planted(rows, seed=seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    order = rng.permutation(rows)
    moved = (scale * x @ rotation + shift)[order]
    for kernel in ("linear", "rbf", "euclidean"):
        for measure in (gram_cka, gram_unbiased_cka, gram_correlation):
            want = measure(gram_sums((x, y), kernel=kernel))[0, 1]
            got = measure(gram_sums((moved, y[order]), kernel=kernel))[0, 1]
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


def test_narrow_products_are_accurate_to_their_digits():
    x, y = twins.planted(200, 40, 30)
    for kernel in ("linear", "rbf"):
        wide = gram_unbiased_cka(gram_sums((x, y), kernel=kernel))
        narrow = gram_sums((x, y), kernel=kernel, product_dtype="float32")
        np.testing.assert_allclose(gram_unbiased_cka(narrow), wide, atol=1e-6)


@pytest.mark.slow
def test_minibatches_average_to_the_whole():
    x, y = twins.planted(4000, noise=3.0)
    whole = gram_unbiased_cka(gram_sums((x, y)))[0, 1]
    parts = [(x[i : i + 50], y[i : i + 50]) for i in range(0, 4000, 50)]
    assert float(minibatch_cka(parts)) == pytest.approx(float(whole), abs=0.02)
    one = float(minibatch_cka([(x, y)]))
    assert one == pytest.approx(float(whole), rel=1e-9)
    hsic = [
        sum(twins.hsic_1(a @ a.T, b @ b.T) for a, b in pairs)
        for pairs in (parts, [(a, a) for a, _ in parts], [(b, b) for _, b in parts])
    ]
    want = hsic[0] / np.sqrt(hsic[1] * hsic[2])
    assert float(minibatch_cka(parts)) == pytest.approx(want, rel=1e-8)
    with pytest.raises(ValueError, match="at least one batch"):
        minibatch_cka([])


def _all_orders(rows):
    return [list(order) for order in itertools.permutations(range(rows))]


@pytest.mark.parametrize(
    ("kernel", "measure", "null_moments"),
    [
        ("linear", gram_cka, cka_null_moments),
        ("rbf", gram_cka, cka_null_moments),
        ("rbf", gram_unbiased_cka, lambda sums: unbiased_cka_null_moments(5)),
        ("correlation", gram_correlation, correlation_null_moments),
    ],
)
@pytest.mark.slow
def test_null_moments_equal_all_orders(kernel, measure, null_moments):
    x, y = twins.planted(5, shift=1.0)
    every = [
        measure(gram_sums((x[order], y), kernel=kernel))[0, 1]
        for order in _all_orders(5)
    ]
    got = null_moments(gram_sums((x, y), kernel=kernel))
    mean, deviation = (np.ravel(z)[min(1, np.size(z) - 1)] for z in got)
    assert mean == pytest.approx(np.mean(every), abs=1e-9)
    assert deviation == pytest.approx(np.std(every), rel=1e-8)


def test_null_moments_of_streamed_linear_cka():
    x, y = twins.planted(5, shift=1.0)
    matrices = [twins.kernel(z, "linear") for z in (x, y)]
    every = [
        twins.cka(matrices[0][np.ix_(order, order)], matrices[1])
        for order in _all_orders(5)
    ]
    got = linear_cka_null_moments(norms_from_batch(x, y))
    np.testing.assert_allclose(got, [np.mean(every), np.std(every)], rtol=1e-9)


@pytest.mark.parametrize(("rows", "dx"), [(40, 7), (12, 30)])
def test_linear_null_equals_recomputing_in_both_forms(rows, dx):
    x, y = twins.planted(rows, dx, 6)
    key = jax.random.key(3)
    orders = [
        np.asarray(jax.random.permutation(jax.random.fold_in(key, i), rows))
        for i in range(6)
    ]
    matrices = [twins.kernel(z, "linear") for z in (x, y)]
    want = [twins.cka(matrices[0], matrices[1][np.ix_(o, o)]) for o in orders]
    got = linear_cka_null(x, y, permutations=6, key=key)
    np.testing.assert_allclose(got, want, rtol=1e-9)
    left, right = (centred_matrices((z,)) for z in (x, y))
    got = gram_null(left, right, permutations=6, key=key)[:, 0, 0]
    np.testing.assert_allclose(got, want, rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": "rbf", "centring": "cka"},
        {"kernel": "rbf", "centring": "unbiased"},
        {"kernel": "correlation", "centring": "correlation"},
        {"kernel": "euclidean", "centring": "correlation", "ranks": True},
    ],
)
def test_centred_matrices_give_the_scores(settings):
    x, y = twins.planted()
    matrices = np.asarray(centred_matrices((x, y), **settings))
    measure = {
        "cka": gram_cka,
        "unbiased": gram_unbiased_cka,
        "correlation": gram_correlation,
    }[settings.pop("centring")]
    want = float(measure(gram_sums((x, y), **settings))[0, 1])
    assert np.vdot(matrices[0], matrices[1]) == pytest.approx(want, abs=1e-5)


def test_null_is_around_its_exact_moments():
    x, y = twins.planted(50)
    null = np.asarray(linear_cka_null(x, y, permutations=3000))
    mean, deviation = linear_cka_null_moments(norms_from_batch(x, y))
    error = 5 * float(deviation) / 3000**0.5
    assert null.mean() == pytest.approx(float(mean), abs=error)
    assert null.std() == pytest.approx(float(deviation), rel=0.1)


@pytest.mark.slow
def test_constant_and_duplicate_rows():
    x, y = twins.planted()
    constant = np.full((60, 3), 0.1)
    for kernel in ("linear", "rbf"):
        sums = gram_sums((constant, y), kernel=kernel)
        for measure in (gram_cka, gram_unbiased_cka):
            assert np.isnan(np.asarray(measure(sums))[0]).all()
    assert np.isnan(float(rsa(constant, y)))
    assert np.isnan(float(rsa(constant, y, distance="euclidean")))
    assert np.isnan(np.asarray(linear_cka_null(constant, y, permutations=2))).all()
    # A constant column among others says nothing.
    wider = np.concatenate([x, np.full((60, 1), 1e3)], axis=1)
    got = float(rbf_cka(wider, y))
    assert got == pytest.approx(float(rbf_cka(x, y)), rel=1e-9)
    # Duplicates are rows like others.
    x, y = (np.concatenate([z, z[:20]]) for z in (x, y))
    want = twins.cka(twins.kernel(x, "rbf"), twins.kernel(y, "rbf"))
    assert float(rbf_cka(x, y)) == pytest.approx(want, rel=1e-7)


@pytest.mark.slow
def test_bad_input_is_refused():
    x, y = twins.planted()
    with pytest.raises(ValueError, match="NaN or infinity, first in row 3"):
        rbf_cka(np.where(np.arange(60)[:, None] == 3, np.inf, x), y)
    with pytest.raises(ValueError, match=r"same rows, got \[60, 59\]"):
        gram_sums((x, y[1:]))
    with pytest.raises(ValueError, match="kernel needs to be one of linear, rbf"):
        gram_sums((x, y), kernel="poly")
    with pytest.raises(ValueError, match="at least 4 rows"):
        rbf_cka(x[:3], y[:3], unbiased=True)
    with pytest.raises(ValueError, match="bandwidth needs to be positive"):
        rbf_cka(x, y, bandwidth=0)
    with pytest.raises(ValueError, match="centring needs to be one of"):
        centred_matrices((x, y), centring="none")
    with pytest.raises(ValueError, match=r"matrices \[A, N, N\]"):
        gram_null(np.ones((1, 3, 3)), np.ones((1, 4, 4)))
