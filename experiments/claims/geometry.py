"""Claims on the similarity of states, and on pitfalls of fitting."""

import itertools
from collections.abc import Iterator

import numpy as np

from experiments import fit, similarity
from experiments.claims.bench import Bench, claim, missing, names_of, read, show
from experiments.shared.sides import open_corpus, pair_splits
from helix_jax.alignment import evaluate_map, fit_ridge, from_batch, ridge_at
from helix_jax.models import model_name
from helix_jax.reports.ledger import UNTESTABLE, Case, Claim, Finding, tally
from helix_jax.stats import bootstrap_statistic, mean_of_sums, seed_interval
from helix_jax.text.hashing import document_of


def check_cka(bench: Bench) -> Finding:
    """A pair holds if its plain CKA can be above .5 and is far above its control."""
    models = tuple(dict.fromkeys(name for pair in bench.pairs for name in pair))
    if len(models) < 2:
        return Finding("", UNTESTABLE, missing("pair of models"))
    data = bench.corpora.get("ag_news", "docstrings")
    summary = bench.run(similarity.compute, "similarity", models=models, data=data)
    cases, controls = [], []
    for names in itertools.combinations(map(model_name, models), 2):
        pair = "/".join(names)
        cka = read(summary, f"similarity/{pair}/linear_cka")
        controls.append(summary[f"similarity/{pair}/linear_cka_shuffled"])
        cases.append(
            Case(
                f"{pair}: {show(cka, scale=1, digits=3)} "
                f"({summary['data/test_texts']:,} test texts)",
                cka.high > 0.5 and cka.low > 2 * controls[-1],
                {pair: cka.value},
            )
        )
    return tally(
        cases,
        "plain linear CKA of pooled last states; a pair holds if the interval reaches "
        "above .5 and is above twice its shuffled control (at most "
        f"{max(controls):.3f} here)",
    )


@claim("squared error .234 without, .0098 with (a synthetic check)")
def intercept(bench: Bench) -> Iterator[Case]:
    """The printed solution has no intercept; a column of ones adds it.

    ratio of the squared errors on held-out states, without and with the column, at
    lambda 1e-4; in brackets each divided by the states' variance; a pair holds if the
    interval of the ratio reaches above 1.1
    """
    for pair in bench.pairs:
        source, target = pair
        config = bench.config(
            fit.compute, "intercept", source=source, target=target, data=bench.public
        )
        pairs = pair_splits(config, open_corpus(config), ("fit", "test"))
        (x, y), (x_test, y_test) = (
            [z.astype(np.float64) for z in pairs[split].read()]
            for split in ("fit", "test")
        )
        errors = [_errors(x, y, x_test, y_test, ones=ones) for ones in (False, True)]
        documents = [document_of(text_id) for text_id in pairs["test"].ids]
        ratio = bootstrap_statistic(np.stack(errors, 1), documents, mean_of_sums)
        variance = ((y_test - y_test.mean(0)) ** 2).sum()
        without, with_ones = (float(rows.sum() / variance) for rows in errors)
        names = names_of(pair)
        yield Case(
            f"{names}: {show(ratio, scale=1, digits=3)} times ({without:.4f} without, "
            f"{with_ones:.4f} with, {len(documents):,} test texts)",
            float(ratio.high) > 1.1,
            {f"{names}/without": without, f"{names}/with": with_ones},
        )


def _errors(x, y, x_test, y_test, *, ones: bool) -> np.ndarray:
    """[N] squared errors of (X'X + lambda I)^-1 X'Y, with `ones` as a column or not."""
    if ones:
        x, x_test = (
            np.pad(z, ((0, 0), (0, 1)), constant_values=1) for z in (x, x_test)
        )
    gram = x.T @ x + 1e-4 * np.eye(x.shape[1])
    return ((x_test @ np.linalg.solve(gram, x.T @ y) - y_test) ** 2).sum(axis=1)


@claim("PCA to 50 dimensions and 64 points 'align' random labels")
def few_rows(_: Bench) -> Iterator[Case]:
    """With too few rows for the rank, random pairs look aligned.

    ridge between unrelated Gaussian rows of width 50, over 10 draws; holds if R2 is
    above .5 on the fitting rows and not above 0 on others; the similarity measures
    refuse such settings
    """

    def draw(seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        x, y = (rng.standard_normal((512, 50)).astype(np.float32) for _ in range(2))
        seen, unseen = from_batch(x[:64], y[:64]), from_batch(x[64:], y[64:])
        affine = ridge_at(fit_ridge(seen, penalties=1e-6), 0).map
        return tuple(float(evaluate_map(affine, rows).r2) for rows in (seen, unseen))

    inside, outside = map(seed_interval, np.transpose([draw(s) for s in range(10)]))
    yield Case(
        f"R2 {show(inside, scale=1, digits=2)} on the 64 fitting rows, "
        f"{show(outside, scale=1, digits=2)} on others",
        float(inside.low) > 0.5 and float(outside.high) <= 0,
        {"inside": float(inside.value), "outside": float(outside.value)},
    )


CLAIMS = (
    Claim(
        "cka",
        "Many pairs of language models have linear CKA above .5.",
        "embedding models .595 to .881; many pairs above .5",
        check_cka,
    ),
    intercept,
    few_rows,
)
