"""Pure functions inside a caller's own jax.jit, whose x64 setting is JAX's default.

`wide` switches float64 on while a function is traced. What XLA is given afterwards has
to hold together without that switch.
"""

import jax
import numpy as np
import pytest

from helix_jax import alignment as al
from helix_jax import ood, probes, stats
from helix_jax import similarity as si

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 12)).astype("float32")
Y = X @ RNG.normal(size=(12, 9)).astype("float32")
Y += RNG.normal(size=Y.shape).astype("float32")
LABELS = RNG.integers(3, size=len(X))
LOGITS = RNG.normal(size=(len(X), 3)).astype("float32") + 2 * np.eye(3)[LABELS]
KEY = jax.random.key(0)


def moments():
    return al.from_batch(X[:300], Y[:300]), al.from_batch(X[300:], Y[300:])


def chosen(fit, select):
    return al.select_penalty(al.fit_ridge(fit), select)


CASES = {
    "fit_ridge": lambda m, s: al.fit_ridge(m),
    "ridge_maps": lambda m, s: al.ridge_maps(al.fit_ridge(m)),
    "select_penalty": chosen,
    "select_by_gcv": lambda m, s: al.select_by_gcv(al.fit_ridge(m), m),
    "evaluate_map": lambda m, s: al.evaluate_map(chosen(m, s).fit.map, s),
    "fit_least_squares": lambda m, s: al.fit_least_squares(m),
    "fit_procrustes": lambda m, s: al.fit_procrustes(m, scaled=True),
    "fit_canonical": lambda m, s: al.select_map(al.fit_canonical(m), s),
    "fit_reduced_rank": lambda m, s: al.select_map(al.fit_reduced_rank(m), s),
    "fit_pls": lambda m, s: al.select_map(al.fit_pls(m), s),
    "fit_relative": lambda m, s: al.select_map(al.fit_relative(m, X[:40], Y[:40]), s),
    "relative_representation": lambda m, s: al.relative_representation(
        X, X[:5], mean=m.mean_x
    ),
    "mean_map": lambda m, s: al.mean_map(m),
    "random_orthogonal_map": lambda m, s: al.random_orthogonal_map(m, key=KEY),
    "merge": al.merge,
    "translate": lambda m, s: al.translate(m, m.mean_x, m.mean_y),
    "apply_map": lambda m, s: al.apply_map(al.mean_map(m), X),
    "linear_cka": lambda m, s: si.linear_cka(m),
    "unbiased_linear_cka": lambda m, s: si.unbiased_linear_cka(
        si.norms_from_batch(X, Y)
    ),
    "rbf_cka": lambda m, s: si.rbf_cka(X, Y, bandwidth=1.0),
    "rsa": lambda m, s: si.rsa(X, Y),
    "svcca": lambda m, s: si.svcca(m, s, rank=4),
    "pwcca": lambda m, s: si.pwcca(m, s, rank=4),
    "mean_cca": lambda m, s: si.mean_cca(m, s),
    "procrustes_distance": lambda m, s: si.procrustes_distance(m),
    "linear_predictivity": lambda m, s: si.linear_predictivity(m, s, select=s),
    "mutual_neighbours": lambda m, s: si.mutual_neighbours(
        *(si.nearest_neighbours(z, neighbours=5) for z in (X, Y))
    ),
    "cknna": lambda m, s: si.cknna(
        *(si.nearest_neighbours(z, neighbours=5) for z in (X, Y))
    ),
    "linear_cka_null": lambda m, s: si.linear_cka_null(X, Y, permutations=9, key=KEY),
    "row_agreement": lambda m, s: si.row_agreement(LOGITS, LOGITS[::-1]),
    "row_divergence": lambda m, s: si.row_divergence(LOGITS, LOGITS[::-1]),
    "accuracy": lambda m, s: probes.accuracy(LOGITS.argmax(1), LABELS),
    "macro_f1": lambda m, s: probes.macro_f1(LOGITS.argmax(1), LABELS, 3),
    "calibration_error": lambda m, s: probes.calibration_error(LOGITS, LABELS),
    "select_probe": lambda m, s: probes.select_probe(
        probes.fit_probes(X, LABELS, num_classes=3), X[:99], LABELS[:99]
    ),
    "energy_score": lambda m, s: ood.energy_score(LOGITS),
    "entropy_score": lambda m, s: ood.entropy_score(LOGITS),
    "mahalanobis_score": lambda m, s: ood.mahalanobis_score(
        ood.fit_mahalanobis(X, LABELS, num_classes=3), X
    ),
    "cosine_score": lambda m, s: ood.cosine_score(
        ood.fit_class_means(X, LABELS, num_classes=3), X
    ),
    "neighbour_score": lambda m, s: ood.neighbour_score(ood.fit_neighbours(X, k=5), X),
    "benjamini_hochberg": lambda m, s: stats.benjamini_hochberg(
        abs(LOGITS[:20, 0]) / 9
    ),
    "seed_interval": lambda m, s: stats.seed_interval(LOGITS),
    "jackknife_interval": lambda m, s: stats.jackknife_interval(LOGITS[0], LOGITS),
}


@pytest.mark.filterwarnings("error:Explicitly requested dtype")
@pytest.mark.parametrize("name", CASES)
def test_jitted_by_the_caller_it_is_the_same(name):
    fit, select = moments()
    plain = CASES[name](fit, select)
    jitted = jax.jit(CASES[name])(fit, select)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
