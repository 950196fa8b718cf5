r"""How alike the states of several models are: CKA and linear predictability.

    python -m experiments.similarity --workdir=runs/cka --models=A,B,C \
      --data=NAME_FILE_OR_FOLDER

For every pair: linear CKA, its unbiased form, and the test R2 of ridge both ways, on
the test split; beside them the same on shuffled pairs, where the plain form of CKA
stays above zero and the unbiased one does not. `_std` is over --subsamples halves of
the test split, drawn by document.
"""

import dataclasses
import itertools

import jax
import numpy as np

from experiments.fit import choose_map, pair_moments
from experiments.states import (
    ExtractionOptions,
    TextOptions,
    load_side,
    open_corpus,
    states_of,
    with_stores,
)
from helix_jax.activations import Pair, join
from helix_jax.alignment import derangement, evaluate_map
from helix_jax.errors import RunError
from helix_jax.reports import markdown_table
from helix_jax.runs import finish_run, is_done, open_run, option, read_summary
from helix_jax.runs.program import start_program
from helix_jax.similarity import accumulate_norms, linear_cka, unbiased_linear_cka
from helix_jax.text.hashing import document_of, unit_hash


@dataclasses.dataclass(frozen=True)
class SimilarityConfig(TextOptions, ExtractionOptions):
    """Flags of the experiment."""

    workdir: str = option("", "work directory")
    models: tuple[str, ...] = option((), "two or more: folders, ids, embeddings:FILE")
    layer: int = option(-1, "0 is the embedding, -1 the last")
    subsamples: int = option(3, "halves of the test split for the spread")
    seed: int = option(0, "of the shuffled control")
    tiny: bool = option(False, "400 texts, 64 tokens each at most")


def run(config: SimilarityConfig) -> dict[str, float]:
    """Compare every pair; see the module docstring."""
    if config.tiny:
        config = dataclasses.replace(config, limit=400, max_tokens=64)
    if not config.workdir or len(config.models) < 2:
        raise RunError("similarity: --workdir and two or more --models are required.")
    directory = open_run(config.workdir, config)
    if is_done(directory):
        return read_summary(directory)
    options = with_stores(config)
    corpus = open_corpus(config)
    sides = [load_side(name, options, layer=config.layer) for name in config.models]
    names = [side.name for side in sides]
    if len(set(names)) < len(names):
        raise RunError(f"similarity: --models must have different names, got {names}.")
    stores = {
        (side.name, split): states_of(side, corpus, split, options)
        for side in sides
        for split in ("fit", "select", "test")
    }
    summary: dict[str, float] = {}
    rows = []
    for a, b in itertools.combinations(names, 2):
        pairs = {
            split: join(stores[a, split], stores[b, split])
            for split in ("fit", "select", "test")
        }
        backward = {split: Pair(pair.y, pair.x) for split, pair in pairs.items()}
        scores = _scores(pairs["test"], config)
        scores["r2_forward"] = _ridge_r2(pairs)
        scores["r2_backward"] = _ridge_r2(backward)
        summary |= {f"similarity/{a}/{b}/{name}": v for name, v in scores.items()}
        rows.append([f"{a} - {b}", *scores.values()])
    header = ["pair", *scores]
    print(markdown_table(header, rows))
    return finish_run(directory, summary)


def _ridge_r2(pairs: dict[str, Pair]) -> float:
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    return float(evaluate_map(choose_map(moments).fit.map, moments["test"]).r2)


def _scores(pair: Pair, config: SimilarityConfig) -> dict[str, float]:
    both = accumulate_norms(pair.rows())
    halves = [
        accumulate_norms(pair.select(_half(pair.ids, number)).rows())
        for number in range(config.subsamples)
    ]
    order = np.asarray(derangement(jax.random.key(config.seed), len(pair.x)))
    shuffled = accumulate_norms(Pair(pair.x, pair.y.select(order)).rows())
    plain = [float(linear_cka(half.moments)) for half in halves]
    unbiased = [float(unbiased_linear_cka(half)) for half in halves]
    return {
        "linear_cka": float(linear_cka(both.moments)),
        "linear_cka_std": float(np.std(plain)) if plain else float("nan"),
        "linear_cka_shuffled": float(linear_cka(shuffled.moments)),
        "unbiased_cka": float(unbiased_linear_cka(both)),
        "unbiased_cka_std": float(np.std(unbiased)) if unbiased else float("nan"),
        "unbiased_cka_shuffled": float(unbiased_linear_cka(shuffled)),
    }


def _half(ids: list[str], number: int) -> np.ndarray:
    """[N] bool, the rows whose document falls into this half."""
    salt = f"subsample {number}"
    return np.array([unit_hash(document_of(one), salt=salt) < 0.5 for one in ids])


if __name__ == "__main__":
    start_program(SimilarityConfig, run)
