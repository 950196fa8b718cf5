r"""An affine map from one model's states to another's, with its controls.

    python -m experiments.fit --workdir=runs/fit --source=DIR_OR_ID --target=DIR_OR_ID \
      --data=NAME_FILE_OR_FOLDER

Fits ridge maps for a path of penalties on the fit split, chooses the penalty on the
select split, scores on the test split, and writes WORKDIR/map. The fitted map is
compared with uninformed controls: the mean, a random rotation, and ridge on shuffled
pairs; their R2 should be near or below zero. If both widths are equal, the identity
(the unchanged source states) is another. Intervals of R2 are bootstraps over documents.

With --stores=none no states are kept: moments are accumulated as states are computed,
in pieces kept in WORKDIR/streamed, so that a killed run resumes; pairs are shuffled
within windows of texts, and the test split is computed twice.

The map's folder also predicts how near a mapped row is to the target's own: a cosine,
and a lower bound that should hold for nine rows in ten, calibrated on the select split
and tested on the test split (docs/maps.md); with --stores=none on 16,384 rows of each.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts, short_data
from experiments.shared.names import CONTROL_NAMES
from experiments.shared.options import PairOptions, seed_option
from helix_jax.alignment import MapCard
from helix_jax.progress import bar
from helix_jax.reports import Curves, Quantity, Table, arm_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.runs.prepare import NO_STORES
from helix_jax.stats import Interval
from helix_jax.text.hashing import document_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.map_facts import (
        confidence_table,
        licences_of,
        scored_confidence,
    )
    from experiments.shared.sides import open_corpus, pair_splits, stream_splits
    from helix_jax.alignment import evaluate_map, r2_of_rows
    from helix_jax.linalg import spectrum_of
    from helix_jax.transfer.pair_fit import fit_pairs
    from helix_jax.transfer.stream_fit import fit_streams, row_errors

MAPS = {"": "ridge"} | {f"{name}_": title for name, title in CONTROL_NAMES.items()}
COLUMNS = {"r2": Quantity("test R2", form=3), "cosine": Quantity("centred cosine")}
ANSWER = (
    "One affine map from the source's states has R2 {test/r2} on the target's states "
    "of the test split; a map of shuffled pairs has {test/shuffled_r2}."
)
RESAMPLES = 1000  # of documents, for intervals
TOLD = ("test/", "confidence/", "similarity/")  # numbers on the map's card


@dataclasses.dataclass(frozen=True)
class FitConfig(PairOptions):
    """Flags of the experiment."""

    storeless = True
    seed: int = seed_option("of the random controls")
    tiny: bool = option(False, "400 texts, 64 tokens each at most")


@experiment(tiny={"limit": 400, "max_tokens": 64})
def compute(config: FitConfig, _: Run) -> Report:
    """Fit, score; see the module docstring."""
    corpus = open_corpus(config)
    if config.stores == NO_STORES:
        pairs = stream_splits(config, corpus)
        fitted = fit_streams(pairs, seed=config.seed)
    else:
        pairs = pair_splits(config, corpus)
        fitted = fit_pairs(pairs)
    controls, moments = fitted.controls(config.seed), fitted.moments
    maps = {"": fitted.map} | {f"{name}_": affine for name, affine in controls.items()}
    numbers = count_texts(pairs) | fitted.numbers()
    spectra = {"target, before any map": spectrum_of(moments["test"].cov_yy).values}
    rows = row_errors(pairs["test"], maps, moments["test"])
    documents = [document_of(text_id) for text_id in rows.ids]
    for name, affine in bar(maps.items(), "maps scored"):
        scores = evaluate_map(affine, moments["test"])
        interval = r2_of_rows(
            rows.errors[name], rows.deviations, documents, resamples=RESAMPLES
        )
        numbers[f"test/{name}r2"] = interval._replace(value=float(scores.r2))
        numbers[f"test/{name}cosine"] = float(scores.centred_cosine)
        # The mean's residual is the target; the identity's may be larger by far.
        if name not in ("mean_", "identity_"):
            spectra[f"residual, {MAPS[name]}"] = scores.residual_spectrum
    rank = int(moments["test"].count) - 1
    shown = {name: np.asarray(values)[:rank] for name, values in spectra.items()}
    blocks = [maps_table(numbers), spectrum_curves(shown)]
    confidence, scores = scored_confidence(fitted, resamples=RESAMPLES)
    if scores:
        numbers |= scores
        blocks.append(confidence_table(scores))
    card = MapCard(
        short_data(config.data),
        {split: int(own.count) for split, own in moments.items()},
        {name: value for name, value in numbers.items() if name.startswith(TOLD)},
        licences_of(config.source, config.target),
    )
    save = functools.partial(fitted.save, card=card, confidence=confidence)
    about = about_pair(config, numbers)
    answer = COLUMNS["r2"].fill(ANSWER, numbers)
    return Report(numbers, blocks, about, files={"map": save}, answer=answer)


def maps_table(numbers: Mapping[str, float | Interval]) -> Table:
    """The map and its controls."""
    note = (
        f"Relative penalty {numbers['fit/penalty']:.2g} chosen on the select split; "
        f"linear CKA {numbers['similarity/linear_cka']:.3f} on the test split. "
        f"{BRACKETS}"
    )
    return arm_table(
        "Maps on the test split",
        numbers,
        MAPS,
        COLUMNS,
        lambda name, arm: f"test/{arm}{name}",
        note=note,
    )


def spectrum_curves(spectra: Mapping[str, np.ndarray]) -> Curves:
    """The variance that each map leaves unexplained; the first is the target's."""
    total = next(iter(spectra.values())).sum()
    return Curves(
        "Spectrum of the residual",
        "direction, largest variance first",
        "share of the target's variance",
        {name: _places(values / total) for name, values in spectra.items()},
        log_y=True,
        note="Eigenvalues of the covariance on the test split, each spectrum in its "
        "own order. Those of a residual add up to the unexplained share, 1 - R2, less "
        "what its mean adds.",
    )


def _places(values: np.ndarray, most: int = 200) -> list[list[float]]:
    """(place from 1, value) of at most `most` values above float32 rounding."""
    count = int(np.sum(values > np.finfo(np.float32).eps * values[0]))
    places = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    return [[int(place) + 1, float(values[place])] for place in places]


run = compute.run

if __name__ == "__main__":
    compute.main()
