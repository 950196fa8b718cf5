r"""An affine map from one model's states to another's, with its controls.

    python -m experiments.fit --workdir=runs/fit --source=DIR_OR_ID --target=DIR_OR_ID \
      --data=NAME_FILE_OR_FOLDER

Fits ridge maps for a path of penalties on the fit split, chooses the penalty on the
select split, scores on the test split, and writes WORKDIR/map. Beside the fitted map
stand the maps that know nothing of the pairing: the mean, a random rotation, and ridge
on shuffled pairs; all should be near or below zero. Intervals of R2 are bootstraps over
documents.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from experiments.fits import r2_interval, with_ends
from experiments.inputs import check_inputs
from experiments.shown import BRACKETS, about_pair, count_texts, show, show_saved
from experiments.states import PairOptions, open_corpus, pair_splits, seed_option
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
from helix_jax.linalg import spectrum_of
from helix_jax.progress import bar, stage
from helix_jax.reports import Block, Curves, Table, format_interval
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.program import start_program
from helix_jax.similarity import linear_cka
from helix_jax.text.hashing import document_of

MAPS = {
    "": "ridge",
    "shuffled_": "control: shuffled pairs",
    "random_": "control: random rotation",
    "mean_": "control: the mean",
}
RESAMPLES = 1000  # of documents, for intervals


@dataclasses.dataclass(frozen=True)
class FitConfig(PairOptions):
    """Flags of the experiment."""

    seed: int = seed_option("of the random controls")
    tiny: bool = option(False, "400 texts, 64 tokens each at most")


def run(config: FitConfig) -> dict[str, float]:
    """Fit, score, write the map; see the module docstring."""
    config = prepare_config(config, tiny={"limit": 400, "max_tokens": 64})
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary, spectra = _compute(config)
    show(directory, result_blocks(summary, spectra), about_pair(config, summary))
    return finish_run(directory, summary)


def _compute(config: FitConfig) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    corpus = open_corpus(config)
    pairs = pair_splits(config, corpus, ("fit", "select", "test"))
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    chosen = choose_map(moments)
    key = jax.random.key(config.seed)
    controls = control_maps(pairs["fit"], moments["fit"], chosen, key)
    maps = {"": chosen.fit.map} | {f"{k}_": one for k, one in controls.items()}
    summary = count_texts(pairs) | fit_summary(chosen, moments)
    spectra = {"target": spectrum_of(moments["test"].cov_yy).values}
    rank = min(len(spectra["target"]), int(moments["test"].count) - 1)
    test = pairs["test"].read()
    documents = [document_of(one) for one in pairs["test"].ids]
    for name, affine in bar(maps.items(), "maps scored"):
        scores = evaluate_map(affine, moments["test"])
        interval = r2_interval(affine, test, documents, RESAMPLES)
        summary |= with_ends(f"test/{name}r2", interval._replace(value=scores.r2))
        summary[f"test/{name}cosine"] = float(scores.centred_cosine)
        spectra[MAPS[name]] = scores.residual_spectrum
    save_map(
        Path(config.workdir) / "map",
        chosen.fit.map,
        source=pairs["fit"].x.fingerprint,
        target=pairs["fit"].y.fingerprint,
        penalty=float(chosen.fit.penalty),
        split="fit",
    )
    return summary, {name: np.asarray(one)[:rank] for name, one in spectra.items()}


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
            "fit: the system could not be solved: the source states of the fit split "
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


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of maps."""
    rows = [
        [
            said,
            format_interval(summary, f"test/{name}r2", scale=1, digits=3),
            summary[f"test/{name}cosine"],
        ]
        for name, said in MAPS.items()
    ]
    return ["map", "test R2", "centred cosine"], rows


def result_blocks(
    summary: dict[str, float], spectra: dict[str, np.ndarray]
) -> list[Block]:
    """The map beside its controls, and the variance that each leaves unexplained."""
    total = spectra["target"].sum()
    shown = {"target, before any map": spectra["target"]} | {
        f"residual, {name}": spectra[name]
        for name in list(MAPS.values())[:-1]  # the mean's is the target's
    }
    return [
        Table(
            "Maps on the test split",
            *result_rows(summary),
            note=f"Relative penalty {summary['fit/penalty']:.2g} chosen on the select "
            f"split; linear CKA {summary['similarity/linear_cka']:.3f} on the test "
            f"split. {BRACKETS}",
        ),
        Curves(
            "Spectrum of the residual",
            "direction, largest variance first",
            "share of the target's variance",
            {name: _places(values / total) for name, values in shown.items()},
            log_y=True,
            note="Eigenvalues of the covariance on the test split, each spectrum in "
            "its own order. Those of a residual add up to the unexplained share, "
            "1 - R2, less what its mean adds.",
        ),
    ]


def _places(values: np.ndarray, most: int = 200) -> list[list[float]]:
    """(place from 1, value) of at most so many values above rounding to float32."""
    count = int(np.sum(values > np.finfo(np.float32).eps * values[0]))
    places = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    return [[int(place) + 1, float(values[place])] for place in places]


if __name__ == "__main__":
    start_program(FitConfig, run)
