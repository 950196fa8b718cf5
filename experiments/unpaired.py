r"""A map between two models that have read no text in common.

    python -m experiments.unpaired --workdir=runs/unpaired --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--target_data=NAME_FILE_OR_FOLDER]

The documents of the fit split are dealt to the two sides by a hash, so that no text is
seen by both; with --target_data the target's side is the fit split of that corpus. The
map is that of `alignment.fit_unpaired`. It is scored on pairs of the test split, which
are used for nothing else: R2; recall, how often the target state that is nearest to a
mapped one by cosine is that of the same text; for labelled texts the accuracy of the
target's own probe. `found` is whether the fit itself takes its map for right.

Beside it stand the ridge map of pairs of the source's texts, the ceiling; and controls:
the target's states replaced by a Gaussian of the same mean and covariance, which spread
alike and have no shape; a random rotation, and the mean. Each of --seeds deals the
documents anew. Scores are means over seeds, their intervals bootstraps over documents;
agreement and `found` stand with the least and the most of all seeds.

Cost: two busy cores, --max_tokens=96 --seeds=2: 9 minutes.

With these flags, embedded pebble-llama -> pebble-qwen3 on docstrings: R2 .673
[.658, .687] where ridge on pairs has .743, recall 58.8 % of 2,825 texts (87.0),
accuracy 58.1 % (62.2); agreement .43, .01 against the Gaussian.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.shared.about import (
    about,
    count_documents,
    short_data,
    show,
    show_saved,
    sides_of,
)
from experiments.shared.maps import (
    choose_map,
    deviations,
    pair_moments,
    r2_of_sums,
    squared_errors,
)
from experiments.shared.method_maps import Rows, with_ends
from experiments.shared.options import PairOptions, resamples_option, seeds_option
from experiments.shared.sides import (
    load_sides,
    open_corpus,
    paired_states,
    states_of,
    with_stores,
)
from experiments.shared.task import SPLITS, Task, make_task, probe_accuracies
from experiments.unpaired_blocks import ARMS, MEASURES, result_blocks
from helix_jax.activations import Pair, Store
from helix_jax.alignment import (
    AffineMap,
    apply_map,
    fit_unpaired,
    from_batch,
    mean_map,
    random_orthogonal_map,
)
from helix_jax.errors import RunError
from helix_jax.linalg import unit_rows
from helix_jax.probes import predict_logits
from helix_jax.progress import bar, stage
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_arrays,
    read_summary,
    write_arrays,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.similarity.retrieval import relevant_ranks
from helix_jax.stats import bootstrap_interval, bootstrap_statistic
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of, part_of


@dataclasses.dataclass(frozen=True)
class UnpairedConfig(PairOptions):
    """Flags of the experiment."""

    target_data: str = option(
        "", "corpus of the target's side; empty: half of --data", names="corpora"
    )
    starts: int = option(3, "starts of each half of the rows", least=1)
    seeds: int = seeds_option("ways to deal the documents")
    resamples: int = resamples_option()
    tiny: bool = option(False, "800 texts, 64 tokens each at most, one seed and start")


class Dealt(NamedTuple):
    """Rows of both sides without a text in common, and pairs of the source's texts.

    Attributes:
      x: [N, dx] source states.
      y: [M, dy] target states, of other texts.
      paired: [N, dy] target states of the source's texts, for the ceiling.
    """

    x: np.ndarray
    y: np.ndarray
    paired: np.ndarray


def run(config: UnpairedConfig) -> dict[str, float]:
    """Deal, fit, score; see the module docstring."""
    small = {"limit": 800, "max_tokens": 64, "starts": 1, "seeds": 1}
    config = prepare_config(config, tiny=small | {"resamples": 200})
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary = _compute(config)
    show(directory, result_blocks(summary), _about(config, summary))
    return finish_run(directory, summary)


def _about(config: UnpairedConfig, summary: dict[str, float]) -> str:
    documents = summary["data/test_documents"]
    data = [config.data, config.target_data] if config.target_data else [config.data]
    return about(
        sides_of(config),
        short_data(",".join(data)),
        f"{summary['unpaired/source_rows']:,} texts of the source",
        f"{summary['unpaired/target_rows']:,} others of the target to fit on",
        f"{summary['unpaired/test_rows']:,} texts to test on (of {documents:,} "
        "documents)",
        documents=documents,
    )


def deal(ids: list[str], rows: Rows, other: Store | None, seed: int) -> Dealt:
    """Half of the documents to the source, the others or `other` to the target.

    Args:
      ids: [N] of the texts of the fit split.
      rows: their source and target states.
      other: target states of other texts.
      seed: of the deal.
    """
    documents = [document_of(one) for one in ids]
    own = np.array([part_of(one, 2, salt=f"deal {seed}") == 0 for one in documents])
    x, y = rows
    if other is None:
        return Dealt(x[own], y[~own], y[own])
    return Dealt(x[own], other.read(), y[own])


def require_others(corpus: Corpus, strange: Corpus) -> frozenset[str]:
    """The texts of the first corpus, which are left out of the second.

    Raises:
      RunError: fewer than two of the fit split of the second are left.
    """
    own = frozenset(one.text for split in SPLITS for one in corpus.read(split))
    shared = [one.id for one in strange.read("fit") if one.text in own]
    total = strange.counts["fit"]
    if total - len(shared) < 2:
        raise RunError(
            f"unpaired: --target_data has {len(shared)} of its {total} texts from "
            f"--data, first {shared[0]!r}; the two sides are to have none in common."
        )
    if shared:
        print(
            f"{len(shared)} of {total} texts of --target_data are also in --data "
            f"(first {shared[0]!r}) and are left out.",
            flush=True,
        )
    return own


def gaussian_like(y: np.ndarray, seed: int) -> np.ndarray:
    """As many rows [N, D], normal, of the mean and the covariance of y."""
    drawn = np.random.default_rng(seed).standard_normal(y.shape, np.float32)
    values, basis = np.linalg.eigh(np.cov(y.T))
    root = basis * np.sqrt(np.maximum(values, 0))
    return (y.mean(axis=0) + drawn @ root.T).astype(np.float32)


def _compute(config: UnpairedConfig) -> dict[str, float]:
    corpus, strange, own = open_corpus(config), None, frozenset()
    if config.target_data:
        strange = open_corpus(config, config.target_data, least={"fit": 2})
        own = require_others(corpus, strange)
    options, sides = with_stores(config), load_sides(config)
    pairs = {split: paired_states(*sides, corpus, split, options) for split in SPLITS}
    other = None
    if strange is not None:
        other = states_of(
            sides[1], strange, "fit", options, keep=lambda one: one.text not in own
        )
    task = None if corpus.classes is None else make_task(pairs, corpus.classes)
    rows = pairs["fit"].read()
    deals = []
    for seed in bar(range(config.seeds), "deals"):
        place = Path(config.workdir) / f"deal-{seed}.npz"
        if not place.exists():
            dealt = deal(pairs["fit"].ids, rows, other, seed)
            write_arrays(place, **_score_deal(config, pairs, dealt, task, seed))
        deals.append(read_arrays(place))
    every = {name: np.stack([found[name] for found in deals]) for name in deals[0]}
    summary: dict[str, float] = {
        "unpaired/test_rows": len(pairs["test"].ids),
        "unpaired/seeds": config.seeds,
        "data/test_documents": count_documents(pairs["test"].ids),
    }
    for side in ("source", "target"):
        summary[f"unpaired/{side}_rows"] = int(every[f"{side}_rows"].mean())
    documents = [document_of(one) for one in pairs["test"].ids]
    for arm in bar(ARMS, "arms summarised"):
        summary |= _summarise(config, arm, every, documents)
    if task is not None:
        for name, interval in probe_accuracies(task).items():
            summary |= with_ends(f"unpaired/{name}_accuracy", interval)
    return summary


def _score_deal(
    config: UnpairedConfig,
    pairs: dict[str, Pair],
    dealt: Dealt,
    task: Task | None,
    seed: int,
) -> dict[str, np.ndarray]:
    """Every arm's scores of the test rows under ARM/score, and the rest as scalars."""
    maps, numbers = _fit_arms(config, pairs["select"], dealt, seed)
    found = {name: np.asarray(value) for name, value in numbers.items()}
    found |= {
        "source_rows": np.asarray(len(dealt.x)),
        "target_rows": np.asarray(len(dealt.y)),
    }
    test = pairs["test"].read()
    for arm, affine in bar(maps.items(), "arms scored"):
        rows = _score_rows(affine, test, dealt.y.mean(axis=0), task)
        found |= {f"{arm}/{name}": row for name, row in rows.items()}
    return found


def _fit_arms(
    config: UnpairedConfig, select: Pair, dealt: Dealt, seed: int
) -> tuple[dict[str, AffineMap], dict[str, float]]:
    """Every arm's map, and whether those without pairs take themselves for right."""
    key, rotation = jax.random.split(jax.random.key(seed))
    maps, trust = {}, {}
    targets = {"unpaired": dealt.y, "gaussian": gaussian_like(dealt.y, seed)}
    for name, y in targets.items():
        with stage(f"fitting without pairs ({ARMS[name]})"):
            fit = fit_unpaired(dealt.x, y, key=key, starts=config.starts)
            fit = jax.block_until_ready(fit)
        maps[name] = fit.map
        trust[f"{name}_agreement"] = float(fit.agreement)
        trust[f"{name}_found"] = float(fit.found)
    moments = {"fit": from_batch(dealt.x, dealt.paired), "select": pair_moments(select)}
    maps["paired"] = choose_map(moments).fit.map
    maps["random"] = random_orthogonal_map(moments["fit"], key=rotation)
    maps["mean"] = mean_map(moments["fit"])
    return maps, trust


def _score_rows(
    affine: AffineMap, test: Rows, centre: np.ndarray, task: Task | None
) -> dict[str, np.ndarray]:
    """Squared error, deviation, whether found and whether read right, a test row."""
    x, y = test
    mapped = np.asarray(apply_map(affine, x))
    ranks = relevant_ranks(
        unit_rows(mapped - centre), unit_rows(y - centre), np.arange(len(y))
    )
    rows = {
        "error": squared_errors(affine, x, y),
        "deviation": deviations(y),
        "recall": (ranks == 1).astype(float),
    }
    if task is not None:
        logits = np.asarray(predict_logits(task.target_probe, mapped))
        rows["accuracy"] = (logits.argmax(-1) == task.labels["test"]).astype(float)
    return rows


def _summarise(
    config: UnpairedConfig, arm: str, every: dict[str, np.ndarray], documents: list[str]
) -> dict[str, float]:
    """Scores of an arm, means over seeds [S, N] with intervals over documents."""
    start, settings = f"unpaired/{arm}", {"resamples": config.resamples}
    errors = [every[f"{arm}/{name}"].mean(axis=0) for name in ("error", "deviation")]
    found = with_ends(
        f"{start}_r2",
        bootstrap_statistic(np.stack(errors, 1), documents, r2_of_sums, **settings),
    )
    for measure in MEASURES:
        if f"{arm}/{measure}" in every:
            right = every[f"{arm}/{measure}"].mean(axis=0)
            interval = bootstrap_interval(right, documents, **settings)
            found |= with_ends(f"{start}_{measure}", interval)
    for name in ("agreement", "found"):
        if f"{arm}_{name}" in every:
            values = every[f"{arm}_{name}"]
            ends = values.mean(), values.min(), values.max()
            found |= with_ends(f"{start}_{name}", ends)
    return found


if __name__ == "__main__":
    start_program(UnpairedConfig, run)
