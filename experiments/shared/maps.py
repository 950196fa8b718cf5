"""One ridge map between two sides, its controls, and how maps are scored."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    FitResult,
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
from helix_jax.progress import bar, stage
from helix_jax.similarity import linear_cka


def pair_moments(pair: Pair) -> Moments:
    """Moments of a pair of stores, streamed."""
    total = -(-len(pair.x) // 8192)
    return accumulate(bar(pair.rows(), "moments", total=total, unit="blocks"))


def choose_map(moments: dict[str, Moments]) -> Selection:
    """The ridge map of the fit split whose penalty is best on the select split.

    Raises:
      RunError: the map is not to be trusted.
    """
    with stage("fitting ridge, every penalty"):
        chosen = select_penalty(fit_ridge(moments["fit"]), moments["select"])
        chosen = jax.block_until_ready(chosen)
    if not bool(chosen.fit.ok):
        raise RunError(
            "the system could not be solved: the source states of the fit split "
            f"have rank {int(chosen.fit.rank)}. Do they vary from text to text?"
        )
    return chosen


def control_maps(
    pair: Pair, moments: Moments, chosen: Selection, key: jax.Array
) -> dict[str, AffineMap]:
    """Maps that know nothing of the pairing."""
    rotation, shuffle = jax.random.split(key)
    penalty = float(chosen.fit.penalty)
    with stage("fitting the controls"):
        x, y = pair.read()
        return {
            "shuffled": fit_shuffled(x, y, key=shuffle, penalty=penalty),
            "random": random_orthogonal_map(moments, key=rotation),
            "mean": mean_map(moments),
        }


def map_file(pair: Pair, fit: FitResult) -> Callable[[Path], Path]:
    """What writes the map of some pairs to a folder, see `Report.files`."""
    return partial(
        save_map,
        map=fit.map,
        source=pair.x.fingerprint,
        target=pair.y.fingerprint,
        penalty=float(fit.penalty),
        split="fit",
    )


def fit_numbers(chosen: Selection, moments: dict[str, Moments]) -> dict[str, float]:
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
