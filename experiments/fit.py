r"""An affine map from one model's states to another's, with its controls.

    python -m experiments.fit --workdir=runs/fit --source=DIR_OR_ID --target=DIR_OR_ID \
      --data=NAME_FILE_OR_FOLDER

Fits ridge maps for a path of penalties on the fit split, chooses the penalty on the
select split, scores on the test split, and writes WORKDIR/map. Beside the fitted map
stand the maps that know nothing of the pairing: the mean, a random rotation, and ridge
on shuffled pairs; all should be near or below zero.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from experiments.states import (
    PairOptions,
    open_corpus,
    pair_splits,
)
from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    Moments,
    Selection,
    accumulate,
    evaluate_map,
    fit_ridge,
    fit_shuffled,
    mean_map,
    random_orthogonal_map,
    save_map,
    select_penalty,
)
from helix_jax.errors import RunError
from helix_jax.reports import markdown_table
from helix_jax.runs import finish_run, is_done, open_run, option, read_summary
from helix_jax.runs.program import start_program
from helix_jax.similarity import linear_cka


@dataclasses.dataclass(frozen=True)
class FitConfig(PairOptions):
    """Flags of the experiment."""

    seed: int = option(0, "of the random controls")
    tiny: bool = option(False, "400 texts, 64 tokens each at most")


def run(config: FitConfig) -> dict[str, float]:
    """Fit, score, write the map; see the module docstring."""
    if config.tiny:
        config = dataclasses.replace(config, limit=400, max_tokens=64)
    if not (config.workdir and config.source and config.target):
        raise RunError("fit: --workdir, --source and --target are required.")
    directory = open_run(config.workdir, config)
    if is_done(directory):
        return read_summary(directory)
    corpus = open_corpus(config)
    pairs = pair_splits(config, corpus, ("fit", "select", "test"))
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    chosen = choose_map(moments)
    key = jax.random.key(config.seed)
    maps = {"fitted": chosen.fit.map} | control_maps(
        pairs["fit"], moments["fit"], chosen, key
    )
    summary = fit_summary(chosen, moments)
    rows = []
    for name, affine in maps.items():
        scores = evaluate_map(affine, moments["test"])
        start = "test/" if name == "fitted" else f"test/{name}_"
        summary[f"{start}r2"] = float(scores.r2)
        summary[f"{start}cosine"] = float(scores.centred_cosine)
        rows.append([name, float(scores.r2), float(scores.centred_cosine)])
    save_map(
        Path(config.workdir) / "map",
        chosen.fit.map,
        source=pairs["fit"].x.fingerprint,
        target=pairs["fit"].y.fingerprint,
        penalty=float(chosen.fit.penalty),
        split="fit",
    )
    print(markdown_table(["map", "test R2", "centred cosine"], rows))
    return finish_run(directory, summary)


def pair_moments(pair: Pair) -> Moments:
    """Moments of a pair of stores, streamed."""
    total = -(-len(pair.x) // 8192)
    return accumulate(tqdm(pair.rows(), total=total, desc="moments", leave=False))


def choose_map(moments: dict[str, Moments]) -> Selection:
    """The ridge map of the fit split whose penalty is best on the select split.

    Raises:
      RunError: the map is not to be trusted.
    """
    chosen = select_penalty(fit_ridge(moments["fit"]), moments["select"])
    if not bool(chosen.fit.ok):
        raise RunError(
            "fit: the system could not be solved: the source states of the fit split "
            f"have rank {int(chosen.fit.rank)}. Do they vary from text to text?"
        )
    return chosen


def control_maps(
    pair: Pair, moments: Moments, chosen: Selection, key: jax.Array
) -> dict[str, AffineMap]:
    """Maps that know nothing of the pairing."""
    x, y = pair.read()
    rotation, shuffle = jax.random.split(key)
    penalty = float(chosen.fit.penalty)
    return {
        "shuffled": fit_shuffled(x, y, key=shuffle, penalty=penalty),
        "random": random_orthogonal_map(moments, key=rotation),
        "mean": mean_map(moments),
    }


def fit_summary(chosen: Selection, moments: dict[str, Moments]) -> dict[str, float]:
    """Numbers of the fit itself."""
    test = evaluate_map(chosen.fit.map, moments["test"])
    return {
        "fit/r2": float(test.r2),
        "fit/rows": int(moments["fit"].count),
        "fit/penalty": float(chosen.fit.penalty),
        "fit/penalty_at_edge": int(chosen.at_edge),
        "fit/condition": float(chosen.fit.condition),
        "fit/rank": int(chosen.fit.rank),
        "fit/select_r2": float(np.asarray(chosen.r2)[int(chosen.index)]),
        "similarity/linear_cka": float(linear_cka(moments["test"])),
    }


if __name__ == "__main__":
    start_program(FitConfig, run)
