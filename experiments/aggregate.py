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
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.aggregate_blocks import result_blocks
from experiments.shared.about import about, short_data, show, show_saved, sides_of
from experiments.shared.maps import choose_map, pair_moments
from experiments.shared.options import PlantedOptions, require_both_sides, seed_option
from experiments.shared.sides import open_corpus, pair_splits
from helix_jax.activations import Pair
from helix_jax.alignment import (
    Moments,
    accumulate,
    evaluate_map,
    fit_ridge,
    merge_all,
    ridge_at,
    select_penalty,
)
from helix_jax.errors import RunError
from helix_jax.private import Client, Provider, shared_scales, sum_answers
from helix_jax.private.aggregation import MomentsFormat, decode, encode, rehearse
from helix_jax.private.aggregation.session import MAX_SILOS, default_threshold
from helix_jax.private.aggregation.words import add, zeros
from helix_jax.progress import stage
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.text.hashing import document_of, part_of


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


class SiloRows(NamedTuple):
    """Moments of every silo, of the pooled rows of some silos, and of held-out rows."""

    silos: list[Moments]
    pooled: Moments
    select: Moments
    test: Moments


def run(config: AggregateConfig) -> dict[str, float]:
    """Aggregate, fit, compare; see the module docstring."""
    small = {"limit": 400, "max_tokens": 64, "rows": 400}
    config = prepare_config(
        config, tiny=small | {"source_width": 12, "target_width": 10}
    )
    require_both_sides(config)
    require_enough_silos(config)
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary = _compute(config)
    show(directory, result_blocks(summary, config.silos), _about(config, summary))
    return finish_run(directory, summary)


def _about(config: AggregateConfig, summary: dict[str, float]) -> str:
    tested = f"{summary['aggregate/test_rows']:,} rows to test on"
    dealt = f"{summary['aggregate/rows']:,} rows of the silos that stayed to fit on"
    if not config.source:
        return about("planted rows", "", dealt, tested)
    return about(sides_of(config), short_data(config.data), dealt, tested)


def require_enough_silos(config: AggregateConfig) -> None:
    """Raise unless enough silos stay for the threshold, and the threshold is sound."""
    least = max(3, config.silos // 2 + 1)
    threshold = config.threshold or default_threshold(config.silos)
    stay = config.silos - config.dropped
    if not least <= threshold <= config.silos:
        raise RunError(
            f"--threshold must be {least} to {config.silos} for --silos="
            f"{config.silos}, got {config.threshold}."
        )
    if stay < threshold:
        raise RunError(
            f"--dropped={config.dropped} of --silos={config.silos} leaves {stay}, but "
            f"{threshold} must stay; drop fewer, or lower --threshold (to {least} at "
            "least)."
        )


def _compute(config: AggregateConfig) -> dict[str, float]:
    if config.source:
        data = stored_rows(config)
    else:
        with stage("planting rows"):
            data = planted_rows(config)
    layout = MomentsFormat(
        *data.pooled.cov_xy.shape, config.silos, value_bits=config.value_bits
    )
    vectors = [encode(moments, layout) for moments in data.silos]
    kept = config.silos - config.dropped
    with stage("summing under masks"):
        result = rehearse(
            vectors,
            content=layout.content,
            threshold=config.threshold or None,
            leaves={k: "mask" for k in range(kept + 1, config.silos + 1)},
        )
    clear = zeros(layout.length)
    for k in result.survivors:
        add(clear, vectors[k - 1])
    moments = decode(result.total, layout)
    seconds = [result.silo_seconds[k] for k in sorted(result.survivors)]
    summary = {
        "aggregate/equal_to_clear_sum": float(np.array_equal(result.total, clear)),
        "aggregate/survivors": len(result.survivors),
        "aggregate/rows": int(moments.count),
        "aggregate/test_rows": int(data.test.count),
        "aggregate/vector_length": layout.length,
        "aggregate/fraction_bits": layout.fraction_bits,
        "aggregate/upload_bytes": max(result.upload_bytes.values()),
        "aggregate/silo_seconds": float(np.mean(seconds)),
        "aggregate/aggregator_seconds": result.aggregator_seconds,
    }
    with stage("the map of the sum beside those of single silos"):
        summary |= map_errors(moments, data, kept)
    with stage("predictions summed under encryption"):
        return summary | predictions(data, kept, config)


def map_errors(moments: Moments, data: SiloRows, kept: int) -> dict[str, float]:
    """The map of the total against the pooled map and against maps of one silo."""
    chosen = choose_map({"fit": moments, "select": data.select}).fit
    penalty = [float(chosen.penalty)]
    pooled = ridge_at(fit_ridge(data.pooled, penalties=penalty), 0).map
    gap = np.linalg.norm(chosen.map.kernel - pooled.kernel)
    alone = [
        select_penalty(fit_ridge(one), data.select).fit.map for one in data.silos[:kept]
    ]
    errors = [1 - float(evaluate_map(one, data.test).r2) for one in alone]
    kept_moments = merge_all(data.silos[:kept])
    return {
        "aggregate/moments_relative_error": max(
            float(np.linalg.norm(got - own) / np.linalg.norm(own))
            for got, own in zip(moments, kept_moments)
        ),
        "aggregate/relative_error": float(gap / np.linalg.norm(pooled.kernel)),
        "aggregate/all_silos_error": 1 - float(evaluate_map(chosen.map, data.test).r2),
        "aggregate/single_silo_error": float(np.mean(errors)),
        "aggregate/single_silo_error_least": min(errors),
    }


def predictions(data: SiloRows, kept: int, config: AggregateConfig) -> dict[str, float]:
    """The mean of the silos' maps of a client's queries, which sees no single one.

    Each silo answers under encryption with its own map, scaled by one over their
    number, and sends its answer to the aggregator, who adds them.
    """
    maps = [
        select_penalty(fit_ridge(one), data.select).fit.map for one in data.silos[:kept]
    ]
    both = [(np.asarray(m.kernel) / kept, np.asarray(m.bias) / kept) for m in maps]
    rng = np.random.default_rng(config.seed)
    spread = np.sqrt(np.diag(np.asarray(data.test.cov_xx, np.float64)))
    x = np.asarray(data.test.mean_x) + spread * rng.normal(size=(8, len(spread)))
    norm = float(np.linalg.norm(x, axis=1).max())
    shared = shared_scales([Provider(*own, input_norm=norm).layer for own in both])
    providers = [Provider(*own, input_norm=norm, shared=shared) for own in both]
    client = Client()
    for provider in providers:
        provider.register(client.public_bundle())
    layer = client.read_layer(providers[0].layer.to_bytes())
    query = client.encrypt(layer, x)
    answers = [provider.answer(query) for provider in providers]
    began = time.perf_counter()
    total = sum_answers(answers, layer)
    seconds = time.perf_counter() - began
    found = client.decrypt(total)
    clear = [x @ kernel + bias for kernel, bias in both]
    largest = np.abs(sum(clear)).max()
    return {
        "aggregate/predictions_relative_error": float(
            np.abs(found - sum(clear)).max() / largest
        ),
        # How far one silo's prediction is from the mean that the client sees.
        "aggregate/predictions_single_silo_gap": float(
            np.abs(kept * clear[0] - sum(clear)).max() / largest
        ),
        "aggregate/predictions_upload_bytes": len(answers[0]),
        "aggregate/predictions_aggregator_seconds": seconds,
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

    def mixture() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (draw(silo, held_out) for silo in range(config.silos))

    return SiloRows(
        [accumulate([pair]) for pair in fit],
        accumulate(fit[: config.silos - config.dropped]),
        accumulate(mixture()),
        accumulate(mixture()),
    )


def stored_rows(config: AggregateConfig) -> SiloRows:
    """The states of two models on a corpus, its fit split dealt out to the silos."""
    corpus = open_corpus(config)
    pairs = pair_splits(config, corpus, ("fit", "select", "test"))
    owner = owners(pairs["fit"], config)
    parts = [np.flatnonzero(owner == silo) for silo in range(config.silos)]
    if min(map(len, parts)) < 2:
        raise RunError(
            f"aggregate: {config.silos} silos get {[len(part) for part in parts]} rows "
            f"by {config.split_by}; each needs 2. Use fewer --silos or more texts."
        )
    kept = np.flatnonzero(owner < config.silos - config.dropped)
    return SiloRows(
        [pair_moments(pairs["fit"].select(part)) for part in parts],
        pair_moments(pairs["fit"].select(kept)),
        pair_moments(pairs["select"]),
        pair_moments(pairs["test"]),
    )


def owners(pair: Pair, config: AggregateConfig) -> np.ndarray:
    """[N] the silo of each row, from 0; no document is dealt to two silos."""
    if config.split_by == "document":
        documents = map(document_of, pair.ids)
        return np.array([part_of(one, config.silos, salt="silo") for one in documents])
    if config.split_by != "label" or (pair.labels < 0).any():
        raise RunError(
            f"aggregate: --split_by={config.split_by}: needs document, or label on a "
            "corpus whose texts all have one."
        )
    return pair.labels % config.silos


if __name__ == "__main__":
    start_program(AggregateConfig, run)
