r"""One map from the states of several silos, without anybody seeing one silo's moments.

    python -m experiments.aggregate --workdir=runs/aggregate --silos=5 --dropped=1
    python -m experiments.aggregate --workdir=runs/aggregate --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER --split_by=label

Each silo sums its own rows to moments; the moments are summed under masks, with some
silos leaving before they send theirs; ridge is fitted to the total. Without --source
the rows are planted: every silo sees its own directions strongly and others weakly.

Cost: two cores, 10 s planted; 6,000 docstrings and two embedded models, 3 minutes.

`aggregate/equal_to_clear_sum` must be 1: the total is the sum of the silos' integers
bit for bit. `aggregate/relative_error`, of the map against the one from pooled rows,
must be below 1e-9. The gain is in `aggregate/single_silo_error`, the mean share of
variance that the map of one silo leaves unexplained on held-out rows of all silos,
against `aggregate/all_silos_error`: 0.64 against 0.016 on planted rows.

With --epsilon and --rank, a second sum protects each pair of rows by differential
privacy, with noise from all silos (docs/differential_privacy.md); the select split is
public then.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from experiments.shared.about import about_planted
from experiments.shared.options import PlantedOptions, seed_option
from helix_jax.errors import RunError
from helix_jax.private.aggregation.session import (
    MAX_SILOS,
    default_threshold,
    least_threshold,
)
from helix_jax.progress import stage
from helix_jax.reports import Quantity, plain_bars, quantity_table
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of, part_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus, pair_splits
    from helix_jax.private.accountant import Privacy
    from helix_jax.private.aggregation.private_maps import private_errors
    from helix_jax.private.aggregation.silo_maps import (
        SiloMoments,
        map_errors,
        planted_silos,
        prediction_errors,
        sum_silos,
    )
    from helix_jax.transfer.pair_fit import choose_map, pair_moments

QUANTITIES = {
    "equal_to_clear_sum": Quantity(
        "total equal to the silos' integers, bit for bit", form=bool
    ),
    "survivors": Quantity("silos that stayed"),
    "rows": Quantity("rows of those silos"),
    "vector_length": Quantity("numbers that a silo sends"),
    "fraction_bits": Quantity("fraction bits of each number"),
    "upload_bytes": Quantity("a silo's messages, MB", 1e-6),
    "silo_seconds": Quantity("a silo's time, mean, s"),
    "aggregator_seconds": Quantity("the aggregator's time, s"),
    "moments_relative_error": Quantity("largest relative error of the moments"),
    "relative_error": Quantity("relative error of the map, against pooled rows"),
    "all_silos_error": Quantity(
        "unexplained by the map of all silos, % of variance", 100
    ),
    "single_silo_error_least": Quantity(
        "unexplained by the best map of one silo, %", 100
    ),
    "single_silo_error": Quantity("unexplained by a map of one silo, mean, %", 100),
    "private_error": Quantity(
        "unexplained by the map of the sum with differential privacy, %", 100
    ),
    "clipped_error": Quantity("the same without noise, %", 100),
    "private_silos": Quantity("silos whose noise is counted"),
    "private_upload_bytes": Quantity("a silo's messages of that sum, MB", 1e-6),
    "predictions_relative_error": Quantity(
        "predictions summed under encryption, error"
    ),
    "predictions_single_silo_gap": Quantity(
        "one silo's prediction against the mean's, gap"
    ),
    "predictions_upload_bytes": Quantity("an encrypted answer, kB", 1e-3),
    "predictions_aggregator_seconds": Quantity("the aggregator's sum of answers, s"),
}
UNEXPLAINED = Quantity("variance unexplained, %", 100, 2)
ANSWER = (
    "Variance unexplained on held-out rows of all silos: {all_silos_error} by the map "
    "of the summed moments, {single_silo_error_least} by the best map of one silo, "
    "{single_silo_error} by a map of one silo on average."
)
ERRORS = {
    "all silos, summed": "all_silos_error",
    "best single silo": "single_silo_error_least",
    "mean single silo": "single_silo_error",
}


@dataclasses.dataclass(frozen=True)
class AggregateConfig(PlantedOptions):
    """Flags of the experiment."""

    silos: int = option(5, "silos that hold rows", least=3, most=MAX_SILOS)
    dropped: int = option(
        1, "silos that leave before sending their masked moments", least=0
    )
    threshold: int = option(0, "silos that must stay; 0: two thirds plus one", least=0)
    rows: int = option(4000, "planted rows of each silo, without --source", least=2)
    source_width: int = option(64, "width of planted source rows", least=1)
    target_width: int = option(48, "width of planted target rows", least=1)
    value_bits: int = option(
        10, "public bound: means below 2^bits, variances 4^bits", least=-40, most=40
    )
    epsilon: float = option(
        0.0, "epsilon of the differential privacy of a pair of rows; 0: none", least=0
    )
    delta: float = option(
        1e-5, "delta of the differential privacy, below 1 / rows", above=0, most=0.5
    )
    rank: int = option(0, "directions of the source in the sum with --epsilon", least=0)
    split_by: str = option(
        "document", "how rows are divided among silos", choices=("document", "label")
    )
    seed: int = seed_option("of the planted rows")
    tiny: bool = option(False, "400 rows of width 12 and 10, or 400 texts of 64 tokens")

    @property
    def kept(self) -> int:
        """How many silos stay."""
        return self.silos - self.dropped


def check(config: AggregateConfig, _: Specs) -> None:
    """Raise unless enough silos stay for the threshold, and the threshold is sound."""
    least = least_threshold(config.silos, 0)
    threshold = config.threshold or default_threshold(config.silos)
    if not least <= threshold <= config.silos:
        raise RunError(
            f"--threshold must be {least} to {config.silos} for --silos="
            f"{config.silos}, got {config.threshold}."
        )
    if config.epsilon:
        try:
            Privacy(config.epsilon, config.delta)
        except ValueError as wrong:
            raise RunError(f"--epsilon, --delta: {wrong}") from wrong
        if not config.rank:
            raise RunError(
                "--epsilon needs --rank: the noise grows with the directions of the "
                "source."
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
    data = stored_rows(config) if config.source else planted(config)
    with stage("summing under masks"):
        total, numbers = sum_silos(
            data, threshold=config.threshold or None, value_bits=config.value_bits
        )
    with stage("the map of the sum beside those of single silos"):
        alone = data.maps_alone()
        of_sum = choose_map({"fit": total, "select": data.select}).fit
        numbers |= map_errors(of_sum, alone, data)
    if config.epsilon:
        with stage("the sum with differential privacy"):
            numbers |= private_errors(
                data,
                epsilon=config.epsilon,
                delta=config.delta,
                rank=config.rank,
                threshold=config.threshold or None,
            )
    with stage("predictions summed under encryption"):
        numbers |= prediction_errors(alone, data.test, seed=config.seed)
    told = about_planted(
        config,
        "planted rows",
        f"{numbers['rows']:,} rows of the silos that stayed to fit on",
        f"{numbers['test_rows']:,} rows to test on",
    )
    table = quantity_table(
        "Moments summed under masks",
        numbers,
        QUANTITIES,
        corner="quantity",
        note=f"{numbers['survivors']} of {config.silos} silos stayed.",
    )
    bars = plain_bars(
        "What the map leaves unexplained on rows of all silos",
        "squared error, % of variance",
        {title: 100 * numbers[name] for title, name in ERRORS.items()},
        series="map",
    )
    answer = UNEXPLAINED.fill(ANSWER, numbers)
    numbers = {f"aggregate/{name}": value for name, value in numbers.items()}
    return Report(numbers, [table, bars], told, answer=answer)


def planted(config: AggregateConfig) -> SiloMoments:
    """Planted rows of the sizes of the flags."""
    return planted_silos(
        silos=config.silos,
        kept=config.kept,
        rows=config.rows,
        widths=(config.source_width, config.target_width),
        seed=config.seed,
    )


def stored_rows(config: AggregateConfig) -> SiloMoments:
    """The states of two models on a corpus, with its fit split dealt to the silos."""
    corpus = open_corpus(config)
    owner = owners(corpus, config)
    parts = [np.flatnonzero(owner == silo) for silo in range(config.silos)]
    if min(map(len, parts)) < 2:
        raise RunError(
            f"{config.silos} silos get {[len(part) for part in parts]} rows by "
            f"{config.split_by}; each needs 2. Use fewer --silos or more texts."
        )
    pairs = pair_splits(config, corpus, ("fit", "select", "test"))
    return SiloMoments(
        [pair_moments(pairs["fit"].select(part)) for part in parts],
        config.kept,
        pair_moments(pairs["fit"].select(np.flatnonzero(owner < config.kept))),
        pair_moments(pairs["select"]),
        pair_moments(pairs["test"]),
        [pairs["fit"].select(part).read() for part in parts] if config.epsilon else (),
        pairs["select"].read() if config.epsilon else (),
    )


def owners(corpus: Corpus, config: AggregateConfig) -> np.ndarray:
    """[N] the silo of each text to fit on, from 0; no document is dealt to two."""
    if config.split_by == "document":
        documents = (document_of(text.id) for text in corpus.read("fit"))
        return np.array(
            [part_of(document, config.silos, salt="silo") for document in documents]
        )
    if corpus.classes is None:
        raise RunError(
            f"--split_by={config.split_by}: needs document, or label on a corpus whose "
            "texts all have one."
        )
    return corpus.labels("fit") % config.silos


run = compute.run

if __name__ == "__main__":
    compute.main()
