"""Claims on how alike states are, and on traps of fitting."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import similarity
from experiments.claims.ledger import (
    Bench,
    Claim,
    Finding,
    missing,
    verdict_of,
)
from helix_jax.alignment import (
    AffineMap,
    Moments,
    evaluate_map,
    fit_ridge,
    from_batch,
    ridge_at,
)


def claims() -> list[Claim]:
    """Every claim of this file."""
    return [
        Claim(
            "cka",
            "Many pairs of language models have linear CKA above .5.",
            "embedding models .595 to .881; many pairs above .5",
            check_cka,
        ),
        Claim(
            "intercept",
            "The printed solution has no intercept; a column of ones mends it.",
            "squared error .234 without, .0098 with (a synthetic check)",
            check_intercept,
        ),
        Claim(
            "few_rows",
            "With few rows for the rank, random pairs look aligned.",
            "PCA to 50 dimensions and 64 points 'align' random labels",
            check_few_rows,
        ),
    ]


def check_cka(bench: Bench) -> Finding:
    """A pair holds if the plain CKA is above .5 and far above its shuffled control."""
    models = tuple(dict.fromkeys(name for pair in bench.pairs for name in pair))
    data = bench.corpora.get("ag_news", "docstrings")
    summary = similarity.run(
        bench.config(
            similarity.SimilarityConfig, "similarity", models=models, data=data
        )
    )
    found = {
        name.removeprefix("similarity/").removesuffix("/linear_cka"): value
        for name, value in summary.items()
        if name.endswith("/linear_cka")
    }
    if not found:
        return missing("pair of models")
    shuffled = [summary[f"similarity/{pair}/linear_cka_shuffled"] for pair in found]
    outcomes = [
        value > 0.5 and value > 2 * null
        for value, null in zip(found.values(), shuffled)
    ]
    said = "; ".join(f"{pair}: {value:.3f}" for pair, value in found.items())
    why = (
        "plain linear CKA of pooled last states; a pair holds above .5 and above twice "
        f"its shuffled control (at most {max(shuffled):.3f} here)"
    )
    return Finding(said, verdict_of(outcomes), why, found)


def _planted(key: jax.Array, rows: int) -> tuple[jax.Array, jax.Array]:
    """Uncentred states x and y = x W + b + noise, with a large mean as states have."""
    keys = jax.random.split(key, 4)
    x = 0.3 * jax.random.normal(keys[0], (rows, 32)) + jax.random.normal(keys[1], (32,))
    kernel = jax.random.normal(keys[2], (32, 24)) / 6
    noise = 0.1 * jax.random.normal(keys[3], (rows, 24))
    return x, x @ kernel + 2.0 + noise


def check_intercept(bench: Bench) -> Finding:
    """Holds if leaving the intercept out costs at least ten times the error."""
    x, y = _planted(jax.random.key(0), 4000)
    fit, test = from_batch(x[:2000], y[:2000]), from_batch(x[2000:], y[2000:])
    with_bias = ridge_at(fit_ridge(fit), 1e-4).map
    raw = Moments(
        fit.count, jnp.zeros_like(fit.mean_x), jnp.zeros_like(fit.mean_y),
        *(fit.count * jnp.outer(a, b) + c for a, b, c in (
            (fit.mean_x, fit.mean_x, fit.cov_xx), (fit.mean_x, fit.mean_y, fit.cov_xy),
            (fit.mean_y, fit.mean_y, fit.cov_yy))),
    )  # fmt: skip
    without = ridge_at(fit_ridge(raw), 1e-4).map
    errors = [
        float(jnp.mean((x[2000:] @ one.kernel + one.bias - y[2000:]) ** 2))
        for one in (AffineMap(without.kernel, jnp.zeros(24)), with_bias)
    ]
    del test
    return Finding(
        f"{errors[0]:.4f} without, {errors[1]:.4f} with an intercept",
        verdict_of([errors[0] > 10 * errors[1]]),
        "mean squared error on held-out planted rows; holds at ten times",
        {"without": errors[0], "with": errors[1]},
    )


def check_few_rows(bench: Bench) -> Finding:
    """Holds if 64 random pairs look aligned in sample and not on other rows."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((512, 50)) for _ in range(2))
    fit, test = from_batch(x[:64], y[:64]), from_batch(x[64:], y[64:])
    affine = ridge_at(fit_ridge(fit), 1e-6).map
    inside, outside = (float(evaluate_map(affine, one).r2) for one in (fit, test))
    return Finding(
        f"R2 {inside:.2f} on the 64 fitting rows, {outside:.2f} on others",
        verdict_of([inside > 0.5 and outside <= 0]),
        "ridge between unrelated Gaussian rows of width 50; the similarity measures "
        "refuse such settings",
        {"inside": inside, "outside": outside},
    )
