r"""One map from the states of several silos, of which nobody sees one silo's moments.

    python -m experiments.aggregate --workdir=runs/aggregate --silos=5 --dropped=1
    python -m experiments.aggregate --workdir=runs/aggregate --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --split_by=label

Each silo sums its own rows to moments; the moments are summed under masks, with some
silos gone before theirs has come; ridge is fitted to the total. Without --source the
rows are planted: every silo sees its own directions strongly and others weakly.

Cost: two cores, 10 s planted; 6,000 docstrings and two embedded models, 3 minutes.

`aggregate/equal_to_clear_sum` has to be 1: the total is the sum of the silos' integers
bit for bit. `aggregate/relative_error`, of the map against the one from pooled rows,
has to be below 1e-9. The reason to do it at all: `aggregate/single_silo_error`, the
mean share of variance that the map of one silo alone leaves unexplained on held-out
rows of all, against `aggregate/all_silos_error`: 0.64 against 0.016 planted.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from experiments.shared.about import about, short_data, sides_of
from experiments.shared.options import PlantedOptions, seed_option
from experiments.shared.sides import open_corpus, pair_splits
from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    evaluate_map,
    fit_ridge,
    merge_all,
    ridge_at,
    select_penalty,
)
from helix_jax.errors import RunError
from helix_jax.private.aggregation import MomentsFormat, rehearse_moments
from helix_jax.private.aggregation.session import MAX_SILOS, default_threshold
from helix_jax.private.rehearsal import rehearse_sum
from helix_jax.progress import stage
from helix_jax.reports import Bars, Table
from helix_jax.runs import Run, option
from helix_jax.runs.experiment import Report, Specs, experiment
from helix_jax.stats import relative_error
from helix_jax.text.hashing import document_of, part_of
from helix_jax.transfer.pair_fit import choose_map, pair_moments

QUANTITIES = {  # name -> words, scale
    "equal_to_clear_sum": ("total equal to the silos' integers, bit for bit", 1),
    "survivors": ("silos that stayed", 1),
    "rows": ("rows of those silos", 1),
    "vector_length": ("numbers that a silo sends", 1),
    "fraction_bits": ("bits behind the point of each", 1),
    "upload_bytes": ("a silo's messages, MB", 1e-6),
    "silo_seconds": ("a silo's time, mean, s", 1),
    "aggregator_seconds": ("the aggregator's time, s", 1),
    "moments_relative_error": ("largest relative error of the moments", 1),
    "relative_error": ("relative error of the map, against pooled rows", 1),
    "all_silos_error": ("unexplained by the map of all silos, % of variance", 100),
    "single_silo_error_least": ("unexplained by the best map of one silo, %", 100),
    "single_silo_error": ("unexplained by a map of one silo, mean, %", 100),
    "predictions_relative_error": ("predictions summed under encryption, error", 1),
    "predictions_single_silo_gap": ("one silo's prediction against the mean's, gap", 1),
    "predictions_upload_bytes": ("an encrypted answer, kB", 1e-3),
    "predictions_aggregator_seconds": ("the aggregator's sum of answers, s", 1),
}


@dataclasses.dataclass(frozen=True)
class AggregateConfig(PlantedOptions):
    """Flags of the experiment."""

    silos: int = option(5, "silos that hold rows", least=3, most=MAX_SILOS)
    dropped: int = option(
        1, "silos that leave before their masked moments have come", least=0
    )
    threshold: int = option(0, "silos that must stay; 0: two thirds and one", least=0)
    rows: int = option(4000, "planted rows of each silo, without --source", least=2)
    source_width: int = option(64, "of planted rows", least=1)
    target_width: int = option(48, "of planted rows", least=1)
    value_bits: int = option(
        10, "public bound: means below 2^bits, variances 4^bits", least=-40, most=40
    )
    split_by: str = option(
        "document", "what a silo's rows share", choices=("document", "label")
    )
    seed: int = seed_option("of the planted rows")
    tiny: bool = option(False, "400 rows of width 12 and 10, or 400 texts of 64 tokens")

    @property
    def kept(self) -> int:
        """How many silos stay."""
        return self.silos - self.dropped


class SiloRows(NamedTuple):
    """Moments of every silo, of the pooled rows of those that stay, of others."""

    silos: list[Moments]
    pooled: Moments
    select: Moments
    test: Moments


def check(config: AggregateConfig, _: Specs) -> None:
    """Raise unless enough silos stay for the threshold, and the threshold is sound."""
    least = max(3, config.silos // 2 + 1)
    threshold = config.threshold or default_threshold(config.silos)
    if not least <= threshold <= config.silos:
        raise RunError(
            f"--threshold must be {least} to {config.silos} for --silos="
            f"{config.silos}, got {config.threshold}."
        )
    if config.kept < threshold:
        raise RunError(
            f"--dropped={config.dropped} of --silos={config.silos} leaves "
            f"{config.kept}, but {threshold} must stay; drop fewer, or lower "
            f"--threshold (to {least} at least)."
        )


@experiment(
    tiny={
        "limit": 400,
        "max_tokens": 64,
        "rows": 400,
        "source_width": 12,
        "target_width": 10,
    },
    check=check,
)
def compute(config: AggregateConfig, _: Run) -> Report:
    """Aggregate, fit, compare; see the module docstring."""
    data = stored_rows(config) if config.source else planted_rows(config)
    total, numbers = sum_moments(data, config)
    with stage("the map of the sum beside those of single silos"):
        alone = [
            select_penalty(fit_ridge(moments), data.select).fit.map
            for moments in data.silos[: config.kept]
        ]
        numbers |= map_errors(total, alone, data)
    with stage("predictions summed under encryption"):
        numbers |= prediction_errors(alone, data.test, config.seed)
    sides = (sides_of(config), short_data(config.data))
    said = about(
        *(sides if config.source else ("planted rows", "")),
        f"{numbers['rows']:,} rows of the silos that stayed to fit on",
        f"{numbers['test_rows']:,} rows to test on",
    )
    note = f"{numbers['survivors']} of {config.silos} silos stayed."
    return Report(
        {f"aggregate/{name}": value for name, value in numbers.items()},
        [quantities_table(numbers, note), error_bars(numbers)],
        said,
    )


def sum_moments(
    data: SiloRows, config: AggregateConfig
) -> tuple[Moments, dict[str, float]]:
    """The sum under masks of the moments of the silos that stay, and what it cost."""
    shape = data.pooled.cov_xy.shape
    layout = MomentsFormat(*shape, config.silos, value_bits=config.value_bits)
    with stage("summing under masks"):
        result = rehearse_moments(
            data.silos,
            layout,
            threshold=config.threshold or None,
            leaves={k: "mask" for k in range(config.kept + 1, config.silos + 1)},
        )
    clear = merge_all(data.silos[: config.kept])
    return result.moments, {
        "equal_to_clear_sum": float(result.equal_to_clear_sum),
        "survivors": len(result.cost.survivors),
        "rows": int(result.moments.count),
        "test_rows": int(data.test.count),
        "vector_length": layout.length,
        "fraction_bits": layout.fraction_bits,
        "upload_bytes": max(result.cost.upload_bytes.values()),
        "silo_seconds": result.silo_seconds,
        "aggregator_seconds": result.cost.aggregator_seconds,
        "moments_relative_error": max(map(relative_error, result.moments, clear)),
    }


def map_errors(
    total: Moments, alone: list[AffineMap], data: SiloRows
) -> dict[str, float]:
    """The map of the total against the pooled map and against maps of one silo."""
    chosen = choose_map({"fit": total, "select": data.select}).fit
    path = fit_ridge(data.pooled, penalties=[float(chosen.penalty)])
    pooled = ridge_at(path, 0).map
    errors = [1 - float(evaluate_map(own, data.test).r2) for own in alone]
    return {
        "relative_error": relative_error(chosen.map.kernel, pooled.kernel),
        "all_silos_error": 1 - float(evaluate_map(chosen.map, data.test).r2),
        "single_silo_error": float(np.mean(errors)),
        "single_silo_error_least": min(errors),
    }


def prediction_errors(
    maps: list[AffineMap], test: Moments, seed: int
) -> dict[str, float]:
    """The mean of the silos' maps of a client's queries, which sees no single one.

    Each silo answers under encryption with its own map, scaled by one over their
    number, and sends its answer to the aggregator, who adds them.
    """
    count = len(maps)
    shares = jax.tree.map(lambda part: np.asarray(part) / count, maps)
    spread = np.sqrt(np.diag(np.asarray(test.cov_xx, np.float64)))
    noise = np.random.default_rng(seed).normal(size=(8, len(spread)))
    x = np.asarray(test.mean_x) + spread * noise
    summed = rehearse_sum(shares, x)
    clear = [x @ share.kernel + share.bias for share in shares]
    mean = sum(clear)
    error, gap = (
        np.abs(results - mean).max() / np.abs(mean).max()
        for results in (summed.results, count * clear[0])
    )
    return {
        "predictions_relative_error": error,
        "predictions_single_silo_gap": gap,  # of one silo's predictions to the mean
        "predictions_upload_bytes": summed.answer_bytes,
        "predictions_aggregator_seconds": summed.seconds,
    }


def planted_rows(config: AggregateConfig) -> SiloRows:
    """y = x W + noise with one W; the spectrum of x is another in every silo."""
    rng = np.random.default_rng(config.seed)
    dx, dy = config.source_width, config.target_width
    kernel = rng.normal(size=(dx, dy)) / np.sqrt(dx)
    spectra = [rng.permutation(np.logspace(0, -3, dx)) for _ in range(config.silos)]
    means = rng.normal(size=(config.silos, dx))

    def draw(silo: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        x = means[silo] + rng.normal(size=(rows, dx)) * spectra[silo]
        return x, x @ kernel + 0.1 * rng.normal(size=(rows, dy))

    fit = [draw(silo, config.rows) for silo in range(config.silos)]
    held_out = -(-config.rows // config.silos)
    select, test = (
        accumulate(draw(silo, held_out) for silo in range(config.silos))
        for _ in range(2)
    )
    silos = [accumulate([pair]) for pair in fit]
    return SiloRows(silos, accumulate(fit[: config.kept]), select, test)


def stored_rows(config: AggregateConfig) -> SiloRows:
    """The states of two models on a corpus, its fit split dealt out to the silos."""
    pairs = pair_splits(config, open_corpus(config), ("fit", "select", "test"))
    owner = owners(pairs["fit"], config)
    parts = [np.flatnonzero(owner == silo) for silo in range(config.silos)]
    if min(map(len, parts)) < 2:
        raise RunError(
            f"{config.silos} silos get {[len(part) for part in parts]} rows by "
            f"{config.split_by}; each needs 2. Use fewer --silos or more texts."
        )
    return SiloRows(
        [pair_moments(pairs["fit"].select(part)) for part in parts],
        pair_moments(pairs["fit"].select(np.flatnonzero(owner < config.kept))),
        pair_moments(pairs["select"]),
        pair_moments(pairs["test"]),
    )


def owners(pair: Pair, config: AggregateConfig) -> np.ndarray:
    """[N] the silo of each row, from 0; no document is dealt to two silos."""
    if config.split_by == "document":
        documents = map(document_of, pair.ids)
        return np.array(
            [part_of(document, config.silos, salt="silo") for document in documents]
        )
    if (pair.labels < 0).any():
        raise RunError(
            f"--split_by={config.split_by}: needs document, or label on a corpus whose "
            "texts all have one."
        )
    return pair.labels % config.silos


def quantities_table(numbers: Mapping[str, float], note: str) -> Table:
    """All numbers."""
    rows: list[list[object]] = [
        [said, numbers[name] if scale == 1 else scale * numbers[name]]
        for name, (said, scale) in QUANTITIES.items()
    ]
    rows[0][1] = bool(rows[0][1])
    return Table("Moments summed under masks", ["quantity", "value"], rows, note=note)


def error_bars(numbers: Mapping[str, float]) -> Bars:
    """What the sum of silos gains."""
    errors = {
        "all silos, summed": "all_silos_error",
        "best single silo": "single_silo_error_least",
        "mean single silo": "single_silo_error",
    }
    return Bars(
        "What the map leaves unexplained on rows of all silos",
        "squared error, % of variance",
        list(errors),
        {"map": [[100 * numbers[name]] * 3 for name in errors.values()]},
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
