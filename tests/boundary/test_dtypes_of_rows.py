"""Rows, weights, tokens and masks whatever the dtype: see test_dtypes.py."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import alignment as al
from helix_jax import similarity as si
from helix_jax.activations import pool
from helix_jax.activations.batching import pad_batch, plan_batches
from helix_jax.attacks import membership
from helix_jax.private.fit_provider import FitProvider
from helix_jax.similarity.retrieval import relevant_ranks
from helix_jax.stats import relative_error
from helix_jax.text.pairing import pair_tokens
from tests.boundary.dtypes import (
    FLOATS,
    LOGITS,
    NINE,
    OTHERS,
    RNG,
    ROWS,
    SIGNED,
    WHOLE,
    N,
    arrays,
    check,
    softmax,
)


@pytest.mark.slow
def test_moments_of_every_float():
    expected = al.from_batch(ROWS.astype(np.float64), OTHERS.astype(np.float64))
    both = {"rtol": 1e-9, "atol": 1e-6}
    check(al.from_batch, expected, ROWS, OTHERS, dtypes=FLOATS, **both)
    check(
        lambda x, y: al.accumulate([(x[:128], y[:128]), (x[128:], y[128:])]),
        expected,
        ROWS,
        OTHERS,
        dtypes=FLOATS,
        **both,
    )
    norms = si.norms_from_batch(ROWS.astype(np.float64), OTHERS.astype(np.float64))
    check(si.norms_from_batch, norms, ROWS, OTHERS, dtypes=FLOATS, **both)
    for x in (ROWS, ROWS.astype(np.uint8), ROWS > 0):
        with pytest.raises(TypeError, match="x needs a floating-point array"):
            al.from_batch(x, OTHERS.astype(float))


def test_weights_of_every_dtype():
    weights = NINE % 4
    x, y = ROWS.astype(np.float64), OTHERS.astype(np.float64)
    repeated = np.repeat(np.arange(N), weights)
    expected = al.from_batch(x[repeated], y[repeated])
    check(lambda w: al.from_batch(x, y, weights=w), expected, weights, atol=1e-9)
    halves = al.from_batch(x[weights > 1], y[weights > 1])
    used = al.from_batch(x, y, weights=weights > 1)
    np.testing.assert_allclose(used.cov_xy, halves.cov_xy)
    for bad in (weights - 1, np.where(weights, 1, np.nan), np.full(N, np.inf)):
        with pytest.raises(ValueError, match="weights need to be finite"):
            al.from_batch(x, y, weights=bad)
    with pytest.raises(ValueError, match="zero or one"):
        si.norms_from_batch(x, y, weights=weights)


def test_float32_moments_count_beyond_16_777_216():
    one = al.from_batch(np.float32([[1.0]]), np.float32([[2.0]]), dtype="float32")
    many = one._replace(count=jnp.float32(2**24))
    both = al.merge(al.merge(many, one), one)
    assert int(both.count) == 2**24 + 2
    assert both.cov_xx.dtype == both.mean_x.dtype == jnp.float32
    stream = al.accumulate([(np.ones((3, 1), "f4"),) * 2] * 2, dtype="float32")
    assert stream.count.dtype == np.float64
    assert stream.cov_xy.dtype == np.float32


def test_maps_of_every_dtype():
    affine = al.AffineMap(RNG.normal(size=(8, 5)), RNG.normal(size=5))
    check(
        lambda x: al.apply_map(affine, x),
        ROWS @ affine.kernel + affine.bias,
        ROWS,
        rtol=1e-5,
        atol=1e-4,
    )
    big = np.full((1, 8), 2**30 + 1)
    np.testing.assert_allclose(
        al.apply_map(affine, big), big @ affine.kernel + affine.bias, rtol=1e-12
    )


def test_row_scores():
    a, b = ROWS[:, :5], OTHERS
    cosine = np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    difference = np.abs(a - b).astype(float)
    huber = np.where(difference < 1, difference**2 / 2, difference - 0.5).mean(1)
    check(al.row_cosine, cosine, a, b, rtol=1e-4, atol=1e-5)
    check(al.cosine_rows, 1 - cosine, a, b, rtol=1e-4, atol=1e-5)
    check(al.mse_rows, np.mean((a - b) ** 2, axis=1), a, b)
    check(al.huber_rows, huber, a, b)
    p, q = softmax(LOGITS / 10), softmax(LOGITS[::-1] / 10)
    kl = np.sum(p * np.log(p / q), axis=1)
    found = al.kl_of_logits(LOGITS / 10, LOGITS[::-1] / 10)
    np.testing.assert_allclose(found, kl, rtol=1e-5, atol=1e-6)
    check(lambda z: al.kl_of_logits(z, z), np.zeros(N), LOGITS, atol=1e-6)
    masked = np.array([[0.0, 1.0, -np.inf]])
    np.testing.assert_allclose(al.kl_of_logits(masked, masked), [0.0], atol=1e-7)
    for score in (al.row_cosine, al.mse_rows, al.huber_rows, al.kl_of_logits):
        with pytest.raises(ValueError, match=r"needs shape \[300, 5\], got \[300, 1\]"):
            score(a * 1.0, b[:, :1] * 1.0)
    # Squares of 300 are beyond float16.
    wide = np.full((1, 4), 300.0)
    np.testing.assert_allclose(al.row_cosine(np.float16(wide), np.float16(wide)), [1.0])
    np.testing.assert_allclose(al.mse_rows(np.float16(wide), -np.float16(wide)), 6e2**2)


@pytest.mark.slow
def test_similarities_of_every_float():
    x, y = ROWS.astype(np.float64), OTHERS.astype(np.float64)
    centre = y.mean(0)
    measures = {
        "linear_cka": lambda a, b: si.linear_cka(al.from_batch(a, b)),
        "unbiased": lambda a, b: si.unbiased_linear_cka(si.norms_from_batch(a, b)),
        "rbf_cka": si.rbf_cka,
        "rsa": lambda a, b: si.rsa(a, b, ranks=False),
        "svcca": lambda a, b: si.svcca(al.from_batch(a, b), rank=3),
        "procrustes": lambda a, b: si.procrustes_distance(al.from_batch(a, b)),
        "gram": lambda a, b: si.gram_cka(si.gram_sums((a, b))),
        "minibatch": lambda a, b: si.minibatch_cka(
            [(a[:99], b[:99]), (a[99:], b[99:])]
        ),
        "null": lambda a, b: si.linear_cka_null(a, b, permutations=3),
        "neighbours": lambda a, b: si.mutual_neighbours(
            si.nearest_neighbours(a), si.nearest_neighbours(b)
        ),
        "agreement": lambda a, b: si.row_agreement(a[:, :5], b),
        "divergence": lambda a, b: si.row_divergence(a[:, :5], b),
        "centred": lambda a, b: si.centred_row_cosine(a[:, :5], b, centre),
    }
    for name, measure in measures.items():
        expected = measure(x, y)
        for dtype, rows in zip(
            arrays(ROWS, FLOATS), arrays(OTHERS, FLOATS), strict=True
        ):
            found = measure(dtype[1], rows[1])
            np.testing.assert_allclose(
                found, expected, rtol=1e-6, atol=1e-9, err_msg=f"{name} {dtype[0]}"
            )
        with pytest.raises(TypeError, match="floating-point"):
            measure(ROWS, OTHERS)


def test_retrieval():
    queries, index = ROWS[:40], np.concatenate([ROWS[::-1], OTHERS[:, [0] * 8]])
    relevant = N - 1 - np.arange(40)
    scores = queries @ index.T
    own = scores[np.arange(40), relevant][:, None]
    expected = np.sum(scores >= own, axis=1)
    check(lambda q, z: relevant_ranks(q, z, relevant), expected, queries, index)
    check(lambda r: relevant_ranks(queries, index, r), expected, relevant, dtypes=WHOLE)


def test_neighbours_that_do_not_fit_their_dtype_are_refused():
    near = si.nearest_neighbours(ROWS.astype(float), neighbours=3)
    narrow = near._replace(rows=np.asarray(near.rows).astype(np.int8))
    with pytest.raises(ValueError, match=r"lie in \[0, 300\), got -"):
        si.cknna(near, narrow)
    wide = near._replace(rows=np.asarray(near.rows).astype(np.uint16))
    np.testing.assert_allclose(si.cknna(near, wide), si.cknna(near, near))


def test_calibration_in_a_null():
    null = RNG.integers(0, 50, size=30)
    expected = si.calibrate(60.0, null.astype(float), best=100.0)
    check(lambda z: si.calibrate(60, z, best=100.0), expected, null)


@pytest.mark.slow
def test_pooling():
    states = np.full((2, 400, 3), 2.0)
    mask = np.arange(400) < np.array([[300], [400]])
    for method in ("mean", "last", "cls", "weighted_mean"):
        check(
            lambda z, method=method: pool(jnp.asarray(z), mask, method=method),
            np.full((2, 3), 2.0),
            states,
        )
        check(
            lambda m, method=method: pool(
                jnp.asarray(states, jnp.bfloat16), jnp.asarray(m), method=method
            ),
            np.full((2, 3), 2.0),
            mask.astype(int),
        )


def test_lengths_and_ends():
    lengths = RNG.integers(1, 120, size=50)
    settings = {"ladder": (8, 32, 128), "token_budget": 256}
    expected = [batch.rows.tolist() for batch in plan_batches(lengths, **settings)]
    for name, made in arrays(lengths, WHOLE):
        batches = plan_batches(np.asarray(made), **settings)
        assert [batch.rows.tolist() for batch in batches] == expected, name
    ends = [np.arange(1, 100) * 1 for _ in range(200)]
    others = [one[::3] for one in ends]
    wanted = pair_tokens(ends, others)
    for dtype in SIGNED:  # many texts of few characters: keys beyond int16
        found = pair_tokens(
            *([z.astype(dtype) for z in side] for side in (ends, others))
        )
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted)):
            np.testing.assert_array_equal(one, other, err_msg=dtype)
    tokens = [np.arange(5, dtype=np.uint8) + 250 - 5]
    padded, _ = pad_batch(tokens, plan_batches(np.array([5]), **settings)[0])
    assert padded.dtype == np.int32
    np.testing.assert_array_equal(padded[0, :5], tokens[0])


def test_membership():
    members = RNG.random((6, 40)) < 0.5
    residuals = RNG.normal(size=(6, 40, 3)) * np.where(members, 1, 2)[..., None]
    scores = np.rint(20 * membership.loss_scores(residuals, members)).astype(int)
    for name, made in arrays(members.astype(int), WHOLE):
        found = membership.loss_scores(residuals, np.asarray(made))
        np.testing.assert_allclose(
            found, membership.loss_scores(residuals, members), err_msg=name
        )
    x, y = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 3))
    np.testing.assert_allclose(
        membership.shadow_residuals(x, y, members.astype(np.uint8), penalty=0.1),
        membership.shadow_residuals(x, y, members, penalty=0.1),
    )
    scores = scores - scores.min()

    def area(s, m):
        rng = np.random.default_rng(0)
        return membership.roc(s, m, rng=rng, resamples=5).auc.value

    assert area(scores.astype(np.uint16), members.astype(np.uint8)) == pytest.approx(
        area(scores.astype(float), members)
    )
    with pytest.raises(ValueError, match="needs shape"):
        relative_error(np.ones(4), np.ones((4, 1)))


@pytest.mark.slow
def test_rows_of_a_private_fit():
    def offer(rows):
        own = FitProvider(rows, profile="open").offer  # numbered at random
        return dataclasses.replace(own, number=bytes(16)).to_bytes()

    expected = offer(ROWS.astype(np.float64))
    for name, made in arrays(ROWS):
        assert offer(made) == expected, name
