"""Claims on how alike states are, and on traps of fitting."""

import numpy as np

from experiments import similarity
from experiments.claims.ledger import (
    Bench,
    Case,
    Claim,
    Finding,
    missing,
    tally,
    verdict_of,
)
from experiments.fit import FitConfig
from experiments.pairs import short_name
from experiments.states import open_corpus, pair_splits
from helix_jax.alignment import evaluate_map, fit_ridge, from_batch, ridge_at


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
    cases = (
        Case(f"{pair}: {value:.3f}", value > max(0.5, 2 * null), {pair: value})
        for (pair, value), null in zip(found.items(), shuffled)
    )
    return tally(
        cases,
        "plain linear CKA of pooled last states; a pair holds above .5 and above twice "
        f"its shuffled control (at most {max(shuffled):.3f} here)",
    )


def check_intercept(bench: Bench) -> Finding:
    """A pair holds if leaving the intercept out adds a tenth to the squared error."""

    def case(source: str, target: str) -> Case:
        config = bench.config(
            FitConfig, "intercept", source=source, target=target, data=bench.public
        )
        pairs = pair_splits(config, open_corpus(config), ("fit", "test"))
        (x, y), test = pairs["fit"].read(), pairs["test"].read()
        errors = [_error(x, y, *test, ones=ones) for ones in (False, True)]
        names = f"{short_name(source)} to {short_name(target)}"
        return Case(
            f"{names}: {errors[0]:.4f} without, {errors[1]:.4f} with",
            errors[0] > 1.1 * errors[1],
            {f"{names}/without": errors[0], f"{names}/with": errors[1]},
        )

    return tally(
        (case(*pair) for pair in bench.pairs),
        "squared error of held-out states over their variance, the printed solution at "
        "lambda 1e-4; a pair holds at 1.1 times",
    )


def _error(x, y, x_test, y_test, *, ones: bool) -> float:
    """1 - R2 of (X'X + lambda I)^-1 X'Y, with or without a column of ones."""
    x, y, x_test, y_test = (
        np.asarray(one, np.float64) for one in (x, y, x_test, y_test)
    )
    if ones:
        x, x_test = (
            np.pad(z, ((0, 0), (0, 1)), constant_values=1) for z in (x, x_test)
        )
    gram = x.T @ x + 1e-4 * np.eye(x.shape[1])
    missed = x_test @ np.linalg.solve(gram, x.T @ y) - y_test
    return float((missed**2).sum() / ((y_test - y_test.mean(0)) ** 2).sum())


def check_few_rows(bench: Bench) -> Finding:
    """Holds if 64 random pairs look aligned in sample and not on other rows."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((512, 50)).astype(np.float32) for _ in range(2))
    fit, test = from_batch(x[:64], y[:64]), from_batch(x[64:], y[64:])
    affine = ridge_at(fit_ridge(fit, penalties=1e-6), 0).map
    inside, outside = (float(evaluate_map(affine, one).r2) for one in (fit, test))
    return Finding(
        f"R2 {inside:.2f} on the 64 fitting rows, {outside:.2f} on others",
        verdict_of([inside > 0.5 and outside <= 0]),
        "ridge between unrelated Gaussian rows of width 50; the similarity measures "
        "refuse such settings",
        {"inside": inside, "outside": outside},
    )
