r"""The encrypted fit beside the plain one: the map, the accuracy, time and bytes.

    python -m experiments.private_fit --workdir=runs/private_fit --profile=guarded \
      --rows=4000 --source_width=768 --target_width=768
    python -m experiments.private_fit --workdir=runs/trec_private \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--rank=128]

The client has the source's states, the provider the target's, of the same texts. The
client encrypts its rows; the provider returns the cross-covariance on ciphertexts; the
client solves the same ridge regression as everyone, the penalty chosen by generalised
cross-validation, which needs no more pairs. Without models the rows are planted: a
linear map plus noise. With them both maps are read by the target's probe on the test
split.

Cost: two cores, 4,000 rows of 768 by 768 dimensions: about 10 seconds in all.
"""

import dataclasses
import time
from pathlib import Path

import jax
import numpy as np

from experiments.private_fit_blocks import result_blocks
from experiments.shared.about import about, about_pair, count_texts, show, show_saved
from experiments.shared.maps import pair_moments
from experiments.shared.options import PlantedOptions, require_both_sides, seed_option
from experiments.shared.sides import open_corpus
from experiments.shared.task import open_task, read_mapped, score
from helix_jax.alignment import AffineMap, Moments, accumulate, fit_ridge, select_by_gcv
from helix_jax.errors import RunError
from helix_jax.private import Client, FitClient, FitProvider
from helix_jax.private.packing import MAX_WIDTH
from helix_jax.private.profiles import PROFILES
from helix_jax.progress import bar, stage
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
from helix_jax.text.corpus import Corpus


@dataclasses.dataclass(frozen=True)
class PrivateFitConfig(PlantedOptions):
    """Flags of the experiment."""

    profile: str = option("guarded", "of the parameters", choices=tuple(PROFILES))
    rank: int = option(
        0, "principal directions that the client encrypts; 0: all", least=0
    )
    rows_per_width: float = option(2.0, "the provider's guard", above=0)
    rows: int = option(4000, "planted rows", least=2)
    source_width: int = option(768, "of planted rows", least=1, most=MAX_WIDTH)
    target_width: int = option(768, "of planted rows", least=1, most=MAX_WIDTH)
    seed: int = seed_option("of planted rows")
    tiny: bool = option(False, "300 rows of 24 by 20; 600 texts, 64 tokens at most")


def run(config: PrivateFitConfig) -> dict[str, float]:
    """Fit both ways and compare; see the module docstring."""
    small = {"rows": 300, "source_width": 24, "target_width": 20}
    config = prepare_config(config, tiny=small | {"limit": 600, "max_tokens": 64})
    require_both_sides(config)
    specs = check_inputs(config)
    if not config.source:
        require_rows(config, config.rows, config.source_width)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    if config.source:
        corpus = open_corpus(config, labelled=True)
        if (spec := specs[config.source]) is not None:
            require_rows(config, corpus.counts["fit"], spec.width)
        summary = _real(config, corpus)
        said = about_pair(config, summary)
    else:
        summary = _planted(config)
        said = about("planted rows", "", f"{config.rows:,} to fit on")
    show(directory, result_blocks(summary, config.profile), said)
    return finish_run(directory, summary)


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
    if rows < config.rows_per_width * directions:
        most = int(rows / config.rows_per_width)
        raise RunError(
            f"{rows} rows to fit on, and --rows_per_width={config.rows_per_width:g} "
            f"allows {most} of them a fit of {most} directions, not {directions}; use "
            f"more texts or rows (--limit, --rows), or --rank={max(1, most)}."
        )


def encrypted_moments(
    x: np.ndarray,
    y: np.ndarray,
    *,
    ids: list[str] | None = None,
    profile: str = "guarded",
    rank: int | None = None,
    rows_per_width: float = 2.0,
    state: Path | None = None,
) -> tuple[FitClient, Moments, dict[str, float]]:
    """Play both sides of an encrypted fit, and time them.

    Args:
      x: [n, d_x] the client's rows.
      y: [n, d_y] the provider's rows.
      ids: [n] names of the rows, which both sides compare.
      profile: name of the parameters.
      rank: of the client's projection; None for all directions.
      rows_per_width: the provider's guard.
      state: folder where the provider keeps its sums after each message; None keeps
        them in memory.

    Returns:
      (the client's side, Moments, private_fit/... seconds and bytes).
    """
    began = time.perf_counter()
    with stage("the provider prepares"):
        provider = FitProvider(
            y, ids=ids, profile=profile, rows_per_width=rows_per_width
        )
    spent = {"client": 0.0, "provider": time.perf_counter() - began}
    sent = {"upload": 0, "download": 0}

    def timed(side: str, function, *args):
        start = time.perf_counter()
        result = function(*args)
        spent[side] += time.perf_counter() - start
        return result

    client = timed("client", Client, profile)
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    with stage("the client prepares"):
        fit = timed("client", lambda: FitClient(client, offer, x, ids=ids, rank=rank))
    messages = fit.chunks()
    for _ in bar(range(fit.plan.chunks), "rows under encryption", unit="messages"):
        message = timed("client", next, messages)
        sent["upload"] += len(message)
        timed("provider", provider.absorb, message)
        if state is not None:
            provider.save(state)
    mean = timed("provider", provider.mean_message)
    timed("client", fit.read_mean, mean)
    sent["download"] += len(mean)
    results = timed("provider", provider.results)
    with stage("the client decrypts"):
        while (message := timed("provider", next, results, None)) is not None:
            sent["download"] += len(message)
            timed("client", fit.read, message)
        found = timed("client", fit.moments)
    numbers = {f"private_fit/{side}_seconds": value for side, value in spent.items()}
    numbers |= {f"private_fit/{way}_bytes": value for way, value in sent.items()}
    return fit, found, numbers


def gcv_map(moments: Moments) -> AffineMap:
    """The ridge map whose penalty generalised cross-validation chooses.

    Raises:
      RunError: the map is not to be trusted.
    """
    with stage("fitting ridge, every penalty"):
        chosen = jax.block_until_ready(select_by_gcv(fit_ridge(moments), moments))
    if not bool(chosen.fit.ok):
        raise RunError("private_fit: the source states vary too little to fit a map.")
    return chosen.fit.map


def compare_moments(private: Moments, plain: Moments) -> dict[str, float]:
    """How far the encrypted cross-covariance is from the plain one."""
    a, b = (np.asarray(one.cov_xy, np.float64) for one in (private, plain))
    scales = np.sqrt(np.diag(np.asarray(plain.cov_xx, np.float64)))[:, None]
    largest = np.abs(np.asarray(private.mean_y) - np.asarray(plain.mean_y)).max()
    return {
        "private_fit/relative_error": float(np.linalg.norm(a - b) / np.linalg.norm(b)),
        # Every source dimension counting alike, whatever its size.
        "private_fit/scaled_error": float(
            np.linalg.norm((a - b) / scales) / np.linalg.norm(b / scales)
        ),
        "private_fit/mean_error": float(largest),
    }


def _planted(config: PrivateFitConfig) -> dict[str, float]:
    generator = np.random.default_rng(config.seed)
    shape = (config.source_width, config.target_width)
    planted = generator.standard_normal(shape) / np.sqrt(shape[0])
    x = generator.standard_normal((config.rows, shape[0])) + 1
    y = x @ planted + generator.standard_normal((config.rows, shape[1])) - 2
    fit, private, summary = encrypted_moments(
        x,
        y,
        profile=config.profile,
        rank=config.rank or None,
        rows_per_width=config.rows_per_width,
    )
    if config.rank:
        affine = fit.expand(gcv_map(private))
        plain = gcv_map(_moments(x, y))
    else:
        summary |= compare_moments(private, _moments(x, y))
        affine, plain = gcv_map(private), gcv_map(_moments(x, y))
    return summary | {"private_fit/map_error": _map_error(affine, plain)}


def _real(config: PrivateFitConfig, corpus: Corpus) -> dict[str, float]:
    opened = open_task(config, corpus)
    task, pairs = opened.task, opened.pairs
    fit, private, summary = encrypted_moments(
        task.x["fit"],
        task.y["fit"],
        ids=list(pairs["fit"].ids),
        profile=config.profile,
        rank=config.rank or None,
        rows_per_width=config.rows_per_width,
        state=Path(config.workdir) / "provider",
    )
    moments = pair_moments(pairs["fit"])
    affine, plain = fit.expand(gcv_map(private)), gcv_map(moments)
    if not config.rank:
        summary |= compare_moments(private, moments)
    summary["private_fit/map_error"] = _map_error(affine, plain)
    summary |= count_texts(pairs)
    summary["private_fit/rows"] = len(task.x["fit"])
    for name, one in (("", affine), ("plain_", plain)):
        accuracy = score(task, "arm", [read_mapped(task, one)]).accuracy
        summary[f"private_fit/{name}test_accuracy"] = accuracy
    return summary


def _moments(x: np.ndarray, y: np.ndarray) -> Moments:
    with jax.enable_x64(True):
        return accumulate([(x, y)])


def _map_error(affine: AffineMap, other: AffineMap) -> float:
    a, b = (np.asarray(one.kernel, np.float64) for one in (affine, other))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


if __name__ == "__main__":
    start_program(PrivateFitConfig, run)
