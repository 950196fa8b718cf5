r"""The encrypted fit compared with the plain one: map, accuracy, time and bytes.

    python -m experiments.private_fit --workdir=runs/private_fit --profile=guarded \
      --rows=4000 --source_width=768 --target_width=768
    python -m experiments.private_fit --workdir=runs/trec_private \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--rank=128] \
      [--epsilon=2 --rank=8 --curve]

The client has the source's states, the provider the target's, of the same texts. The
client encrypts its rows; the provider returns the cross-covariance on ciphertexts; the
client solves the usual ridge regression, its penalty chosen by generalised
cross-validation, which needs no further pairs. Without models the rows are planted: a
linear map plus noise. With models, both maps are scored by the target's probe on the
test split.

With --epsilon, rows are clipped, results are noisy (docs/differential_privacy.md) and
the select split is public; --curve measures accuracy and membership at several
epsilons.

Cost: two cores, 4,000 rows of 768 by 768 dimensions: about 10 seconds in all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.shared.about import BRACKETS, about, about_pair, count_texts
from experiments.shared.options import TINY_TEXTS, PlantedOptions, seed_option
from experiments.shared.privacy_options import PrivacyOptions
from helix_jax.errors import RunError
from helix_jax.private.packing import MAX_WIDTH
from helix_jax.private.policies import PRECISION, PRECISIONS, SHARE
from helix_jax.private.profiles import PROFILES
from helix_jax.reports import Block, Quantity, cross_bars, plain_bars, quantity_table
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.stats import Interval

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.privacy import (
        Protection,
        measure_privacy,
        privacy_blocks,
        require_privacy,
        unit_pair,
    )
    from experiments.shared.sides import open_corpus, row_width
    from experiments.shared.task import open_task
    from helix_jax.alignment import Moments, accumulate
    from helix_jax.private.comparisons import moment_errors
    from helix_jax.private.curator import noisy_map
    from helix_jax.private.fit_bits import widest_fit
    from helix_jax.private.planted import planted_rows
    from helix_jax.private.rehearsal import rehearse_fit
    from helix_jax.stats import relative_error
    from helix_jax.transfer.pair_fit import gcv_map, pair_moments
    from helix_jax.transfer.task import Task

PUBLIC_ROWS = 300  # planted ones, for differential privacy
ARMS = {"test_accuracy": "under encryption", "plain_test_accuracy": "in the clear"}
QUANTITIES = {
    **{k: Quantity(f"accuracy, map fitted {v}, %", 100, 1) for k, v in ARMS.items()},
    "map_error": Quantity("relative error of the map", 1, ".3g"),
    "relative_error": Quantity("relative error of the cross-covariance", 1, ".3g"),
    "client_seconds": Quantity("client, s", 1, ".3g"),
    "provider_seconds": Quantity("provider, s", 1, ".3g"),
    "upload_bytes": Quantity("client to provider, MB", 1e-6, ".3g"),
    "download_bytes": Quantity("provider to client, MB", 1e-6, ".3g"),
}


@dataclasses.dataclass(frozen=True)
class PrivateFitConfig(PrivacyOptions, PlantedOptions):
    """Flags of the experiment."""

    profile: str = option(
        "guarded", "profile of the parameters", choices=tuple(PROFILES)
    )
    rank: int = option(
        0, "principal directions that the client encrypts; 0: all", least=0
    )
    precision: int = option(
        PRECISION,
        "most bits in one number of the result",
        least=PRECISIONS[0],
        most=PRECISIONS[-1],
    )
    share: float = option(
        SHARE, "share of the target rows' bits that all results may carry", above=0
    )
    rows: int = option(4000, "planted rows", least=2)
    source_width: int = option(
        768, "width of planted source rows", least=1, most=MAX_WIDTH
    )
    target_width: int = option(
        768, "width of planted target rows", least=1, most=MAX_WIDTH
    )
    seed: int = seed_option("of planted rows")
    tiny: bool = option(False, "300 rows of 24 by 20; 600 texts, 64 tokens at most")


class Problem(NamedTuple):
    """The rows of a fit.

    Attributes:
      x: [N, D] the client's.
      y: [N, E] the provider's.
      ids: [N] names of the rows; None for planted ones.
      moments: of both in the clear.
      task: whose probe reads the maps; None for planted rows.
      counts: of texts.
      reference: public rows of both, [M, D] and [M, E].
    """

    x: np.ndarray
    y: np.ndarray
    ids: list[str] | None
    moments: Moments
    task: Task | None
    counts: dict[str, int]
    reference: tuple[np.ndarray, np.ndarray]


def check(config: PrivateFitConfig, _: Specs) -> None:
    """Refuse too few planted rows, and invalid privacy."""
    require_privacy(config)
    if not config.source:
        if config.curve:
            raise RunError("--curve needs --source, --target and --data with labels.")
        require_rows(config, config.rows, config.source_width)


@experiment(
    tiny=TINY_TEXTS | {"rows": 300, "source_width": 24, "target_width": 20},
    check=check,
    needs=("Pyfhel",),
)
def compute(config: PrivateFitConfig, run: Run) -> Report:
    """Fit both ways and compare; see the module docstring."""
    problem = stored_rows(config) if config.source else planted(config)
    rehearse = partial(
        rehearse_fit,
        ids=problem.ids,
        profile=config.profile,
        precision=config.precision,
        share=config.share,
        state=run.folder / "provider" if config.source else None,
    )
    if config.epsilon:
        rows = problem.x, problem.y
        unit = unit_pair(rows, problem.reference, rank=config.rank)
        shares = Protection.of(config, config.epsilon)
        fit = rehearse(unit.x, unit.y, privacy=shares.privacy, own=shares.own)
        affine = unit.expand(noisy_map(fit.moments, fit.client.noise))
    else:
        fit = rehearse(problem.x, problem.y, rank=config.rank or None)
        affine = fit.client.expand(gcv_map(fit.moments))
    maps = {"test_accuracy": affine, "plain_test_accuracy": gcv_map(problem.moments)}
    private, plain = (np.asarray(affine.kernel) for affine in maps.values())
    numbers = fit.costs | {"map_error": relative_error(private, plain)}
    if not config.rank and not config.epsilon:
        numbers |= moment_errors(fit.moments, problem.moments)
    if problem.task is None:
        told = about("planted rows", "", f"{config.rows:,} to fit on")
    else:
        told = about_pair(config, problem.counts)
        numbers["rows"] = len(problem.x)
        for name, affine in maps.items():
            logits = problem.task.read_mapped(affine)
            numbers[name] = problem.task.accuracy(logits)
    blocks = result_blocks(numbers, config.profile)
    if config.curve and problem.task is not None:
        price = measure_privacy(config, problem.task, rank=config.rank)
        numbers |= price
        blocks += privacy_blocks(price, config)
    return Report(
        {f"private_fit/{name}": value for name, value in numbers.items()}
        | problem.counts,
        blocks,
        told,
        answer=private_fit_answer(numbers),
    )


def require_rows(config: PrivateFitConfig, rows: int, width: int) -> None:
    """Raise where the provider would refuse so few rows of such a width.

    Raises:
      RunError: says which flags would do.
    """
    if config.rank > width:
        raise RunError(
            f"--rank={config.rank} is more than the {width} dimensions of the source."
        )
    directions = config.rank or width
    most = widest_fit(rows, precision=config.precision, share=config.share)
    if PROFILES[config.profile].guarded and directions > most:
        raise RunError(
            f"{rows} rows to fit on, and --share={config.share:g} with "
            f"--precision={config.precision} allow a fit of {max(most, 0)} directions, "
            f"not {directions}; use more texts or rows (--limit, --rows)"
            + (f", or --rank={most}." if most > 0 else ".")
        )


def planted(config: PrivateFitConfig) -> Problem:
    """Planted rows of the sizes of the flags."""
    widths = config.source_width, config.target_width
    count, public = config.rows, PUBLIC_ROWS if config.epsilon else 0
    x, y = planted_rows(rows=count + public, widths=widths, seed=config.seed)
    reference, (x, y) = (x[count:], y[count:]), (x[:count], y[:count])
    with jax.enable_x64(True):
        moments = accumulate([(x, y)])
    return Problem(x, y, None, moments, None, {}, reference)


def stored_rows(config: PrivateFitConfig) -> Problem:
    """The states of two models on the fit split."""
    corpus = open_corpus(config, labelled=True)
    width = row_width(config, "source")
    if width is not None:
        require_rows(config, corpus.counts["fit"], width)
    opened = open_task(config, corpus)
    task, fit = opened.task, opened.pairs["fit"]
    return Problem(
        task.x["fit"],
        task.y["fit"],
        list(fit.ids),
        pair_moments(fit),
        task,
        count_texts(opened.pairs),
        (task.x["select"], task.y["select"]),
    )


def private_fit_answer(numbers: Mapping[str, float | Interval]) -> str:
    """How close the map is to the plain fit's, and what it cost, in a sentence."""
    said = {name: shown.told(numbers, name) for name, shown in QUANTITIES.items()}
    accuracy = (
        f" Accuracy of the target's probe: {said['test_accuracy']}, "
        f"{said['plain_test_accuracy']} by the plain fit."
    )
    return (
        "The map fitted under encryption differs from the plain fit's by a relative "
        f"error of {said['map_error']}; it took the client {said['client_seconds']} "
        f"and the provider {said['provider_seconds']}."
        + (accuracy if "test_accuracy" in numbers else "")
    )


def result_blocks(numbers: Mapping[str, float | Interval], profile: str) -> list[Block]:
    """The table, accuracy beside the plain map's, time and bytes by party."""
    note = (
        f"Profile {profile}. The plain fit sees the same rows and chooses its "
        "penalty in the same way."
    )
    scored = {name: title for name, title in ARMS.items() if name in numbers}
    accuracy = cross_bars(
        "Accuracy of the target's probe",
        Quantity("accuracy, %", 100),
        scored,
        {"": "map fitted"},
        lambda name, _: numbers[name],
        note=BRACKETS,
    )
    if scored:
        note += f" {BRACKETS}"
    seconds = {party: numbers[f"{party}_seconds"] for party in ("client", "provider")}
    megabytes = {way: 1e-6 * numbers[f"{way}_bytes"] for way in ("upload", "download")}
    return [
        quantity_table("Encrypted fit", numbers, QUANTITIES, note=note),
        *([accuracy] if scored else []),
        plain_bars("Time of the fit", "seconds", seconds, series="fit"),
        plain_bars("Bytes of the fit", "MB", megabytes, series="fit"),
    ]


run = compute.run

if __name__ == "__main__":
    compute.main()
