"""Every public numerical function gives float64 for float64, outside any x64 setting.

Each is called with float64 rows while JAX's own default is float32. What comes back is
float64 throughout, or float32 throughout where the function says so; JAX's warning of a
float64 that was cut is an error.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import alignment as al
from helix_jax import linalg, ood, probes, stats
from helix_jax import similarity as si

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 12))
Y = X @ RNG.normal(size=(12, 9)) + RNG.normal(size=(400, 9))
Z = Y @ RNG.normal(size=(9, 9))
LABELS = RNG.integers(3, size=len(X))
LOGITS = RNG.normal(size=(len(X), 3)) + 2 * np.eye(3)[LABELS]
KNOWN, STRANGE = RNG.normal(size=50), 1 + RNG.normal(size=40)
DOCUMENTS = np.arange(len(X)) // 4
GROUPS = np.arange(50) // 2, np.arange(40) // 2
KEY = jax.random.key(0)
FEW = {"permutations": 5, "key": KEY}


def moments():
    return al.from_batch(X[:300], Y[:300])


def held_out():
    return al.from_batch(X[300:], Y[300:])


def ridge():
    return al.fit_ridge(moments())


def affine():
    return al.ridge_at(ridge(), 5).map


def confidence():
    return al.fit_confidence(affine(), moments(), (X, Y), DOCUMENTS)


def probe():
    path = probes.fit_probes(X, LABELS, num_classes=3, penalties=[0.1])
    return probes.select_probe(path, X, LABELS).probe


def neighbours():
    return [si.nearest_neighbours(z, neighbours=5) for z in (X, Y)]


def sums():
    return si.gram_sums((X, Y))


def batches():
    return [(X[:200], Y[:200]), (X[200:], Y[200:])]


def norm_sum(state, x, y, weights):
    return state + jnp.sum(weights * jnp.sum(x**2, axis=1))


def cka_of(fit, test):
    return si.linear_cka(fit)


def merged(_):
    return al.all_merge(al.from_batch(X[:100], Y[:100]), "devices")


CALLS = {
    linalg.first_argmax: lambda: linalg.first_argmax(LOGITS),
    linalg.laid_out_transpose: lambda: linalg.laid_out_transpose(X),
    linalg.product: lambda: linalg.product(X.T, X),
    linalg.random_orthogonal: lambda: linalg.random_orthogonal(KEY, 5, 4),
    linalg.rank_of: lambda: linalg.rank_of(KNOWN**2),
    linalg.rank_threshold: lambda: linalg.rank_threshold(KNOWN**2),
    linalg.rounding_variance: lambda: linalg.rounding_variance(KNOWN),
    linalg.spectrum_of: lambda: linalg.spectrum_of(X.T @ X),
    linalg.unit_rows: lambda: linalg.unit_rows(X),
    al.accumulate: lambda: al.accumulate(batches()),
    al.accumulate_with_shuffled: lambda: al.accumulate_with_shuffled(
        batches(), key=KEY
    ),
    al.all_merge: lambda: jax.vmap(merged, axis_name="devices")(jnp.arange(2)),
    al.apply_map: lambda: al.apply_map(affine(), X),
    al.canonical_factors: lambda: al.canonical_factors(moments(), penalty=0.1),
    al.compose_map: lambda: al.compose_map(affine(), al.identity_map(9, 9)),
    al.cosine_rows: lambda: al.cosine_rows(Y, Z),
    al.deviations: lambda: al.deviations(Y),
    al.empty: lambda: al.empty(3, 4),
    al.evaluate_map: lambda: al.evaluate_map(affine(), held_out()),
    al.fit_all: lambda: al.fit_all(
        moments(), held_out(), anchors=(X[:40], Y[:40]), count=3
    ),
    al.fit_canonical: lambda: al.fit_canonical(moments()),
    al.fit_confidence: confidence,
    al.fit_descent: lambda: (
        al.fit_descent(
            "gradient_mse",
            (X[:128], Y[:128]),
            (X[300:], Y[300:]),
            moments=moments(),
            ridge=affine(),
            key=KEY,
            epochs=1,
        ).map
    ),
    al.fit_gradient: lambda: al.fit_gradient(
        al.residual_affine(affine()),
        (X[:128], Y[:128]),
        (X[300:], Y[300:]),
        loss=al.mse_rows,
        key=KEY,
        settings=al.Descent(batch=64, epochs=1),
    ),
    al.fit_least_squares: lambda: al.fit_least_squares(moments()),
    al.fit_pls: lambda: al.fit_pls(moments()),
    al.fit_procrustes: lambda: al.fit_procrustes(moments(), scaled=True),
    al.fit_reduced_rank: lambda: al.fit_reduced_rank(moments()),
    al.fit_relative: lambda: al.fit_relative(moments(), X[:40], Y[:40]),
    al.fit_ridge: ridge,
    al.fit_shuffled: lambda: al.fit_shuffled(X, Y, key=KEY, penalty=0.1),
    al.fit_unpaired: lambda: al.fit_unpaired(
        X[:64], Y[:64], key=KEY, starts=1, rows=32, match_rows=32
    ),
    al.fold_rows: lambda: al.fold_rows(norm_sum, np.zeros(()), batches()),
    al.from_batch: moments,
    al.growing_moments: lambda: list(
        al.growing_moments(X, Y, order=np.arange(400), sizes=[40, 400])
    ),
    al.huber_rows: lambda: al.huber_rows(Y, Z),
    al.gaussian_like: lambda: al.gaussian_like(Y, seed=0),
    al.identity_map: lambda: al.identity_map(3, 3),
    al.kl_of_logits: lambda: al.kl_of_logits(LOGITS, LOGITS[::-1]),
    al.map_at: lambda: al.map_at(al.fit_pls(moments()), 0),
    al.mean_map: lambda: al.mean_map(moments()),
    al.merge: lambda: al.merge(moments(), held_out()),
    al.merge_all: lambda: al.merge_all([moments(), held_out()]),
    al.select_columns: lambda: al.select_columns(moments(), slice(1, 3)),
    al.mse_rows: lambda: al.mse_rows(Y, Z),
    al.path_maps: lambda: al.path_maps(al.fit_pls(moments())),
    al.path_r2: lambda: al.path_r2(al.fit_pls(moments()), held_out()),
    al.prepare: lambda: al.prepare(moments(), held_out(), count=3),
    al.r2_of_rows: lambda: al.r2_of_rows(
        al.squared_errors(affine(), X, Y), al.deviations(Y), DOCUMENTS, resamples=20
    ),
    al.r2_interval: lambda: al.r2_interval(affine(), (X, Y), DOCUMENTS, resamples=20),
    al.random_orthogonal_map: lambda: al.random_orthogonal_map(moments(), key=KEY),
    al.relative_representation: lambda: al.relative_representation(
        X, X[:5], mean=X.mean(0)
    ),
    al.affine_rates: lambda: al.affine_rates(moments()),
    al.residual_affine: lambda: al.residual_affine(affine()).delta,
    al.residual_low_rank: lambda: al.residual_low_rank(KEY, affine(), rank=2).delta,
    al.residual_mlp: lambda: al.residual_mlp(KEY, moments(), affine(), hidden=4).delta,
    al.ridge_at: lambda: al.ridge_at(ridge(), 5),
    al.ridge_maps: lambda: al.ridge_maps(ridge()),
    al.row_cosine: lambda: al.row_cosine(Y, Z),
    al.scale_dimensions: lambda: al.scale_dimensions(affine(), moments()),
    al.score_confidence: lambda: al.score_confidence(
        confidence(), affine(), (X, Y), DOCUMENTS, resamples=20
    ),
    al.score_rows: lambda: al.score_rows(affine(), batches(), centre=Y.mean(0)),
    al.select_by_gcv: lambda: al.select_by_gcv(ridge(), moments()),
    al.select_map: lambda: al.select_map(al.fit_pls(moments()), held_out()),
    al.select_penalty: lambda: al.select_penalty(ridge(), held_out()),
    al.shuffled_moments: lambda: al.shuffled_moments(X, Y, key=KEY),
    al.squared_errors: lambda: al.squared_errors(affine(), X, Y),
    al.to_affine: lambda: al.to_affine(al.LowRankMap(X[:12, :2], Y[:2], Y[0])),
    al.translate: lambda: al.translate(moments(), X[0], Y[0]),
    si.accumulate_norms: lambda: si.accumulate_norms(batches()),
    si.calibrate: lambda: si.calibrate(0.9, KNOWN),
    si.canonical_directions: lambda: si.canonical_directions(moments(), rank=4),
    si.cca_null: lambda: si.cca_null((X, Y), rank=4, **FEW),
    si.centred_matrices: lambda: si.centred_matrices((X, Y), product_dtype="float64"),
    si.centred_row_cosine: lambda: si.centred_row_cosine(Y, Z, Y.mean(0)),
    si.cka_null_moments: lambda: si.cka_null_moments(sums()),
    si.cknna: lambda: si.cknna(*neighbours()),
    si.correlation_null_moments: lambda: si.correlation_null_moments(sums()),
    si.gram_cka: lambda: si.gram_cka(sums()),
    si.gram_correlation: lambda: si.gram_correlation(sums()),
    si.gram_null: lambda: si.gram_null((Y @ Y.T)[None], (Z @ Z.T)[None], **FEW),
    si.gram_sums: sums,
    si.gram_unbiased_cka: lambda: si.gram_unbiased_cka(sums()),
    si.linear_cka: lambda: si.linear_cka(moments()),
    si.linear_cka_null: lambda: si.linear_cka_null(X, Y, **FEW),
    si.linear_cka_null_moments: lambda: si.linear_cka_null_moments(
        si.norms_from_batch(X, Y)
    ),
    si.linear_predictivity: lambda: si.linear_predictivity(
        moments(), held_out(), select=held_out()
    ),
    si.mean_cca: lambda: si.mean_cca(moments(), held_out()),
    si.merge_norms: lambda: si.merge_norms(
        si.norms_from_batch(X[:99], Y[:99]), si.norms_from_batch(X[99:], Y[99:])
    ),
    si.minibatch_cka: lambda: si.minibatch_cka(batches()),
    si.moments_null: lambda: si.moments_null(cka_of, (X, Y), **FEW),
    si.mutual_neighbours: lambda: si.mutual_neighbours(*neighbours()),
    si.nearest_neighbours: lambda: neighbours()[0],
    si.nearest_rows: lambda: si.nearest_rows(X[:9], X, neighbours=3),
    si.neighbours_null: lambda: si.neighbours_null(si.cknna, *neighbours(), **FEW),
    si.norms_from_batch: lambda: si.norms_from_batch(X, Y),
    si.predictivity_null: lambda: si.predictivity_null(
        (X[:300], Y[:300]), (X[300:], Y[300:]), penalty=0.1, **FEW
    ),
    si.procrustes_distance: lambda: si.procrustes_distance(moments(), held_out()),
    si.pwcca: lambda: si.pwcca(moments(), held_out(), rank=4),
    si.rbf_cka: lambda: si.rbf_cka(X, Y),
    si.row_agreement: lambda: si.row_agreement(LOGITS, LOGITS[::-1]),
    si.row_divergence: lambda: si.row_divergence(LOGITS, LOGITS[::-1]),
    si.rows_null: lambda: si.rows_null(si.row_agreement, LOGITS, LOGITS, **FEW),
    si.rsa: lambda: si.rsa(X, Y),
    si.score_directions: lambda: si.score_directions(
        si.canonical_directions(moments(), rank=4), held_out()
    ),
    si.svcca: lambda: si.svcca(moments(), held_out(), rank=4),
    si.swapped: lambda: si.swapped(moments()),
    si.unbiased_cka_null_moments: lambda: si.unbiased_cka_null_moments(40),
    si.unbiased_linear_cka: lambda: si.unbiased_linear_cka(si.norms_from_batch(X, Y)),
    stats.benjamini_hochberg: lambda: stats.benjamini_hochberg(np.arange(1, 9) / 10),
    stats.benjamini_yekutieli: lambda: stats.benjamini_yekutieli(np.arange(1, 9) / 10),
    stats.bootstrap_counts: lambda: stats.bootstrap_counts(
        lambda counts: [counts @ KNOWN], [50], chance=KEY, resamples=20
    ),
    stats.bootstrap_interval: lambda: stats.bootstrap_interval(
        KNOWN, GROUPS[0], resamples=20
    ),
    stats.bootstrap_statistic: lambda: stats.bootstrap_statistic(
        X[:, :2], DOCUMENTS, stats.mean_of_sums, resamples=20
    ),
    stats.document_rank_correlations: lambda: stats.document_rank_correlations(
        {"a": [1.0, 3, 2]}, [1.0, 2, 3], list("abc"), resamples=4
    ),
    stats.learning_curve: lambda: stats.learning_curve(
        KNOWN[None] ** 2,
        KNOWN[None] > 0,
        KNOWN**2,
        GROUPS[0],
        [9],
        tolerance=0.1,
        resamples=20,
    ),
    stats.relative_error: lambda: stats.relative_error(X, X + 1),
    stats.mean_of_sums: lambda: stats.mean_of_sums(KNOWN[:2]),
    stats.jackknife_interval: lambda: stats.jackknife_interval(KNOWN[0], KNOWN),
    stats.pair_rank_correlation: lambda: stats.pair_rank_correlation(
        [1.0, 3, 2], [1.0, 2, 3], [(0, 1), (1, 2), (2, 0)], resamples=4
    ),
    stats.paired_interval: lambda: stats.paired_interval(
        KNOWN, KNOWN[::-1], GROUPS[0], resamples=20
    ),
    stats.rank_correlations: lambda: stats.rank_correlations(
        {"a": [1.0, 3, 2], "b": [1.0, 2, 3]},
        [1.0, 2, 3],
        [(0, 1), (1, 2), (2, 0)],
        against="a",
        resamples=4,
    ),
    stats.permutation_null: lambda: stats.permutation_null(
        lambda order, z: jnp.sum(z[order] * z), len(X), X[:, 0], permutations=5
    ),
    stats.permutation_p: lambda: stats.permutation_p(0.3, KNOWN),
    stats.seed_interval: lambda: stats.seed_interval(KNOWN),
    stats.sign_flip_p: lambda: stats.sign_flip_p(KNOWN, GROUPS[0], permutations=20),
    ood.auroc_standard_error: lambda: ood.auroc_standard_error(KNOWN, STRANGE),
    ood.cosine_score: lambda: ood.cosine_score(
        ood.fit_class_means(X, LABELS, num_classes=3), X
    ),
    ood.count_scores: lambda: ood.count_scores(KNOWN, STRANGE),
    ood.detection_intervals: lambda: ood.detection_intervals(
        KNOWN, STRANGE, *GROUPS, resamples=20
    ),
    ood.detection_metrics: lambda: ood.detection_metrics(KNOWN, STRANGE),
    ood.energy_score: lambda: ood.energy_score(LOGITS),
    ood.entropy_score: lambda: ood.entropy_score(LOGITS),
    ood.fit_class_means: lambda: ood.fit_class_means(X, LABELS, num_classes=3),
    ood.fit_detectors: lambda: ood.fit_detectors(probe(), X, LABELS),
    ood.fit_mahalanobis: lambda: ood.fit_mahalanobis(X, LABELS, num_classes=3),
    ood.fit_neighbours: lambda: ood.fit_neighbours(X, k=5),
    ood.fit_one_class: lambda: ood.fit_one_class(X.mean(0), np.cov(X.T)),
    ood.fit_vim: lambda: ood.fit_vim(probe(), X),
    ood.mahalanobis_score: lambda: ood.mahalanobis_score(
        ood.fit_mahalanobis(X, LABELS, num_classes=3), X
    ),
    ood.max_logit_score: lambda: ood.max_logit_score(LOGITS),
    ood.max_softmax_score: lambda: ood.max_softmax_score(LOGITS),
    ood.metrics_of_counts: lambda: ood.metrics_of_counts([1, 2, 0], [0, 1, 3]),
    ood.neighbour_score: lambda: ood.neighbour_score(ood.fit_neighbours(X, k=5), X),
    ood.one_class_score: lambda: ood.one_class_score(
        ood.fit_one_class(X.mean(0), np.cov(X.T)), X
    ),
    ood.relative_mahalanobis_score: lambda: ood.relative_mahalanobis_score(
        ood.fit_mahalanobis(X, LABELS, num_classes=3), X
    ),
    ood.roc_points: lambda: ood.roc_points(KNOWN, STRANGE),
    ood.vim_score: lambda: ood.vim_score(ood.fit_vim(probe(), X), X),
    probes.accuracy: lambda: probes.accuracy(LABELS, LABELS[::-1]),
    probes.arm_scores: lambda: probes.arm_scores(
        [LOGITS], LABELS, DOCUMENTS, resamples=20
    ),
    probes.calibration_error: lambda: probes.calibration_error(LOGITS, LABELS),
    probes.confusion_matrix: lambda: probes.confusion_matrix(LABELS, LABELS, 3),
    probes.f1_of_confusion: lambda: probes.f1_of_confusion(np.eye(3) + 1),
    probes.fit_probes: lambda: probes.fit_probes(
        X, LABELS, num_classes=3, penalties=[0.1, 1]
    ),
    probes.macro_f1: lambda: probes.macro_f1(LABELS, LABELS[::-1], 3),
    probes.negative_log_likelihood: lambda: probes.negative_log_likelihood(
        LOGITS, LABELS
    ),
    probes.predict_logits: lambda: probes.predict_logits(probe(), X),
    probes.right_rows: lambda: probes.right_rows([LOGITS], LABELS),
    probes.select_probe: probe,
    probes.train_probe: lambda: probes.train_probe(
        X, LABELS, X, LABELS, 3, penalties=[0.1, 1]
    ),
}
FLOAT32 = {  # as their documentation says
    al.affine_rates,
    al.fit_confidence,
    al.fit_descent,
    al.fit_gradient,
    al.kl_of_logits,
    al.residual_affine,
    al.residual_low_rank,
    al.residual_mlp,
    ood.fit_neighbours,
    ood.neighbour_score,
}
BOTH = {al.fit_unpaired, ood.fit_detectors}  # a float64 map or fit, and float32 scores
NO_FLOATS = {
    linalg.has_float64,
    linalg.wide,
    linalg.wide_dtype,
    al.derangement,
    al.kl_loss,
    al.load_map,
    al.push_map,
    al.push_maps,
    al.rank_grid,
    al.save_map,
    al.usable_methods,
    stats.at_most,
    stats.document_groups,
    stats.estimate_of,
    stats.exact_fraction,
    stats.least_discoveries,
    stats.plateau_size,
    probes.load_probe,
    probes.save_probe,
    probes.sklearn_c,
}


def public_functions():
    for package in (linalg, al, si, stats, ood, probes):
        names = getattr(package, "__all__", None) or vars(package)
        for name in names:
            function = getattr(package, name)
            if not inspect.isfunction(function):
                continue
            if package is not linalg or function.__module__ == linalg.__name__:
                yield function


def test_every_public_function_is_called_here():
    told = CALLS.keys() | NO_FLOATS
    assert not {one.__qualname__ for one in public_functions() if one not in told}


@pytest.mark.filterwarnings("error:Explicitly requested dtype")
@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_float64_rows_give_float64_outside_any_x64_setting(function):
    assert not jax.config.jax_enable_x64
    leaves = jax.tree.leaves(CALLS[function]())
    dtypes = {np.asarray(z).dtype for z in leaves if not is_key(z)}
    floats = {dtype for dtype in dtypes if dtype.kind == "f"}
    wanted = {"float32"} if function in FLOAT32 else {"float64"}
    assert {dtype.name for dtype in floats} <= wanted | (
        {"float32"} if function in BOTH else set()
    )


def is_key(leaf):
    return jnp.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)
