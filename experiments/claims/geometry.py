"""Claims on how alike states are, and on traps of fitting."""

import numpy as np

from experiments import similarity
from experiments.claims.ledger import (
    Bench,
    Case,
    Claim,
    Finding,
    interval_of,
    missing,
    show,
    tally,
    verdict_of,
)
from experiments.fit import FitConfig
from experiments.pairs import short_name
from experiments.shared.sides import open_corpus, pair_splits
from helix_jax.alignment import evaluate_map, fit_ridge, from_batch, ridge_at
from helix_jax.stats import bootstrap_statistic, mean_of_sums, seed_interval
from helix_jax.text.hashing import document_of


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
    """A pair holds if the plain CKA may be above .5, and is far above its control."""
    models = tuple(dict.fromkeys(name for pair in bench.pairs for name in pair))
    data = bench.corpora.get("ag_news", "docstrings")
    summary = similarity.run(
        bench.config(
            similarity.SimilarityConfig, "similarity", models=models, data=data
        )
    )
    found = {
        name.removeprefix("similarity/").removesuffix("/linear_cka"): name
        for name in summary
        if name.endswith("/linear_cka")
    }
    if not found:
        return missing("pair of models")
    shuffled = {name: summary[f"{name}_shuffled"] for name in found.values()}

    def case(pair: str, name: str) -> Case:
        cka = interval_of(summary, name)
        return Case(
            f"{pair}: {show(cka, scale=1, digits=3)} "
            f"({summary['data/test_texts']:,} test texts)",
            float(cka.high) > 0.5 and float(cka.low) > 2 * shuffled[name],
            {pair: float(cka.value)},
        )

    return tally(
        (case(*one) for one in found.items()),
        "plain linear CKA of pooled last states; a pair holds if the interval reaches "
        "above .5 and is above twice its shuffled control (at most "
        f"{max(shuffled.values()):.3f} here)",
    )


def check_intercept(bench: Bench) -> Finding:
    """A pair holds if without an intercept the error may be a tenth larger."""

    def case(source: str, target: str) -> Case:
        config = bench.config(
            FitConfig, "intercept", source=source, target=target, data=bench.public
        )
        pairs = pair_splits(config, open_corpus(config), ("fit", "test"))
        (x, y), (x_test, y_test) = (
            [z.astype(np.float64) for z in pairs[split].read()]
            for split in ("fit", "test")
        )
        errors = [_errors(x, y, x_test, y_test, ones=ones) for ones in (False, True)]
        documents = [document_of(one) for one in pairs["test"].ids]
        ratio = bootstrap_statistic(np.stack(errors, 1), documents, mean_of_sums)
        variance = ((y_test - y_test.mean(0)) ** 2).sum()
        without, with_ones = (float(one.sum() / variance) for one in errors)
        names = f"{short_name(source)} to {short_name(target)}"
        return Case(
            f"{names}: {show(ratio, scale=1, digits=3)} times ({without:.4f} without, "
            f"{with_ones:.4f} with, {len(documents):,} test texts)",
            float(ratio.high) > 1.1,
            {f"{names}/without": without, f"{names}/with": with_ones},
        )

    return tally(
        (case(*pair) for pair in bench.pairs),
        "squared error of held-out states over their variance, the printed solution at "
        "lambda 1e-4; a pair holds if the interval of the ratio reaches above 1.1",
    )


def _errors(x, y, x_test, y_test, *, ones: bool) -> np.ndarray:
    """[N] squared errors of (X'X + lambda I)^-1 X'Y, with or without a one a row."""
    if ones:
        x, x_test = (
            np.pad(z, ((0, 0), (0, 1)), constant_values=1) for z in (x, x_test)
        )
    gram = x.T @ x + 1e-4 * np.eye(x.shape[1])
    return ((x_test @ np.linalg.solve(gram, x.T @ y) - y_test) ** 2).sum(axis=1)


def check_few_rows(bench: Bench) -> Finding:
    """Holds if 64 random pairs look aligned in sample and not on other rows."""

    def draw(seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        x, y = (rng.standard_normal((512, 50)).astype(np.float32) for _ in range(2))
        fit, test = from_batch(x[:64], y[:64]), from_batch(x[64:], y[64:])
        affine = ridge_at(fit_ridge(fit, penalties=1e-6), 0).map
        return tuple(float(evaluate_map(affine, one).r2) for one in (fit, test))

    draws = np.array([draw(seed) for seed in range(10)])
    inside, outside = (seed_interval(column) for column in draws.T)
    return Finding(
        f"R2 {show(inside, scale=1, digits=2)} on the 64 fitting rows, "
        f"{show(outside, scale=1, digits=2)} on others",
        verdict_of([float(inside.low) > 0.5 and float(outside.high) <= 0]),
        "ridge between unrelated Gaussian rows of width 50, 10 draws; the similarity "
        "measures refuse such settings",
        {"inside": float(inside.value), "outside": float(outside.value)},
    )
