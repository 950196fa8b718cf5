r"""A retrieval index made with an old model, asked with a new one.

    python -m experiments.embedding_migration --workdir=runs/migration \
      --source=NEW_MODEL --target=OLD_MODEL --data=NAME_FILE_OR_FOLDER

An index holds embeddings of the target (the old model); embedding everything again with
the source (the new model) is dear. How good are the new model's queries, mapped into
the old space by a map that was fitted on a few re-embedded texts? Each text is cut in
two: the first half asks for the second, among the second halves of every split. The
map is fitted on second halves of the fit split, its penalty chosen on the select split,
the queries are of the test split.

| arm        | queries                  | index                                     |
|------------|--------------------------|-------------------------------------------|
| native     | old model                | old model                                 |
| reindexed  | new model                | new model: everything embedded again      |
| mapped     | new model, mapped        | old model                                 |
| backward   | new model                | old model, mapped to the new one's space  |
| unmapped   | new model, cut or padded | old model: control                        |
| shuffled   | new model, mapped        | old model; map of shuffled pairs: control |
| random     | new model, rotated       | old model: control                        |

Cosines are about the mean of the index's fit rows; every recall has a bootstrap
interval over documents.

Cost: two cores, embedded models, docstrings: about two minutes.
"""

import dataclasses

import jax
import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts, show, show_saved
from experiments.shared.maps import choose_map, control_maps, pair_moments
from experiments.shared.options import PairOptions, resamples_option, seed_option
from experiments.shared.sides import load_sides, open_corpus, states_of, with_stores
from experiments.shared.task import SPLITS, draw
from helix_jax.activations import Pair, join
from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    apply_map,
    fit_ridge,
    select_penalty,
)
from helix_jax.errors import CorpusError
from helix_jax.linalg import unit_rows
from helix_jax.progress import bar
from helix_jax.reports import Block, Curves, Table, format_interval
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.prepare import IMPORTED
from helix_jax.runs.program import start_program
from helix_jax.similarity import swapped
from helix_jax.similarity.retrieval import relevant_ranks
from helix_jax.stats import bootstrap_interval
from helix_jax.text.hashing import document_of
from helix_jax.text.views import halves

ARMS = {
    "native": "old queries, old index",
    "reindexed": "new queries, new index",
    "mapped": "new queries mapped, old index",
    "backward": "new queries, old index mapped",
    "unmapped": "control: new queries as they are",
    "shuffled": "control: map of shuffled pairs",
    "random": "control: random rotation",
}


@dataclasses.dataclass(frozen=True)
class MigrationConfig(PairOptions):
    """Flags of the experiment."""

    cutoffs: tuple[int, ...] = option(
        (1, 10, 100), "k of recall at k", least=1, required=True
    )
    rows: tuple[int, ...] = option(
        (100, 300, 1000, 3000, 10_000), "texts embedded again, for the curve", least=2
    )
    words: int = option(8, "a half with fewer words is left out", least=1)
    resamples: int = resamples_option()
    seed: int = seed_option("of the random controls")
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


def run(config: MigrationConfig) -> dict[str, float]:
    """Index, map, ask; see the module docstring."""
    small = {"limit": 600, "max_tokens": 64, "resamples": 200, "rows": (100, 200)}
    config = prepare_config(config, tiny=small)
    for side in ("source", "target"):
        if getattr(config, side).startswith(IMPORTED):
            raise CorpusError(
                f"embedding_migration: --{side}={getattr(config, side)}: halves of "
                "texts are to be embedded, so both sides must be models and not "
                "embeddings:FILE."
            )
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    summary = _compute(config)
    show(directory, result_blocks(summary, config), about_pair(config, summary))
    return finish_run(directory, summary)


def _compute(config: MigrationConfig) -> dict[str, float]:
    options = with_stores(config)
    asking, held = halves(open_corpus(config), words=config.words)
    sides = load_sides(config)
    pairs = {
        split: join(*(states_of(side, held, split, options) for side in sides))
        for split in SPLITS
    }
    queries = join(*(states_of(side, asking, "test", options) for side in sides))
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    chosen = choose_map(moments)
    backward = {split: swapped(one) for split, one in moments.items()}
    controls = control_maps(
        pairs["fit"], moments["fit"], chosen, jax.random.key(config.seed)
    )
    new, old = (
        np.concatenate([side(pair).read() for pair in pairs.values()])
        for side in (lambda pair: pair.x, lambda pair: pair.y)
    )
    asked_new, asked_old = queries.read()
    relevant = np.arange(len(old) - len(asked_old), len(old))
    fit = moments["fit"]
    centre_new, centre_old = (
        np.asarray(mean, np.float32) for mean in (fit.mean_x, fit.mean_y)
    )
    index = unit_rows(old - centre_old)

    def in_old(asked):
        return relevant_ranks(unit_rows(asked - centre_old), index, relevant)

    def in_new(rows):
        asked = unit_rows(asked_new - centre_new)
        return relevant_ranks(asked, unit_rows(rows - centre_new), relevant)

    mapped_index = apply_map(choose_map(backward).fit.map, old)
    asked = {
        "native": (in_old, asked_old),
        "reindexed": (in_new, new),
        "mapped": (in_old, apply_map(chosen.fit.map, asked_new)),
        "backward": (in_new, mapped_index),
        "unmapped": (in_old, _resized(asked_new, old.shape[1])),
        "shuffled": (in_old, apply_map(controls["shuffled"], asked_new)),
        "random": (in_old, apply_map(controls["random"], asked_new)),
    }
    ranks = {
        arm: search(rows) for arm, (search, rows) in bar(asked.items(), "arms asked")
    }
    documents = [document_of(one) for one in queries.ids]
    summary = count_texts(pairs) | {
        "data/test_documents": len(set(documents)),  # of the queries
        "migration/index_rows": len(old),
        "migration/queries": len(relevant),
        "migration/fit_rows": len(pairs["fit"].x),
    }
    for arm, found in bar(ranks.items(), "arms scored"):
        summary |= _recalls(arm, found, documents, config)
    counts = _counts(config, len(pairs["fit"].x))
    for count in bar(counts, "maps of fewer texts"):
        affine = _map_of_rows(pairs["fit"], moments["select"], count, config.seed)
        found = in_old(apply_map(affine, asked_new))
        summary |= _recalls(f"mapped_of_{count}", found, documents, config)
    return summary


def _map_of_rows(pair: Pair, select: Moments, count: int, seed: int) -> AffineMap:
    """The ridge map of some rows of a pair."""
    moments = accumulate(pair.select(np.sort(draw(pair.ids, count, seed))).rows())
    return select_penalty(fit_ridge(moments), select).fit.map


def _recalls(arm: str, ranks: np.ndarray, documents, config) -> dict[str, float]:
    """Recall at every cutoff, with its interval, and the mean reciprocal rank."""
    numbers = {f"migration/mean_reciprocal_rank_{arm}": float(np.mean(1 / ranks))}
    for k in config.cutoffs:
        interval = bootstrap_interval(ranks <= k, documents, resamples=config.resamples)
        for end, value in zip(("", "_low", "_high"), interval):
            numbers[f"migration/recall_at_{k}_{arm}{end}"] = float(value)
    return numbers


def _counts(config: MigrationConfig, rows: int) -> list[int]:
    return [count for count in config.rows if count < rows]


def _resized(rows: np.ndarray, width: int) -> np.ndarray:
    """Rows cut, or padded with zeros, to a width: what happens without a map."""
    padded = np.zeros((len(rows), width), rows.dtype)
    shared = min(width, rows.shape[1])
    padded[:, :shared] = rows[:, :shared]
    return padded


def result_rows(summary, config: MigrationConfig) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of arms, in percent."""
    rows = [
        [said]
        + [
            format_interval(summary, f"migration/recall_at_{k}_{arm}")
            for k in config.cutoffs
        ]
        for arm, said in ARMS.items()
    ]
    return ["arm", *(f"recall@{k}, %" for k in config.cutoffs)], rows


def result_blocks(summary, config: MigrationConfig) -> list[Block]:
    """The arms as a table, and recall against texts embedded again."""
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    ends = ("", "_low", "_high")

    def point(count: int, arm: str) -> list[float]:
        name = f"migration/recall_at_{k}_{arm}"
        return [count, *(100 * summary[f"{name}{end}"] for end in ends)]

    every = int(summary["migration/fit_rows"])
    counts = _counts(config, every)
    places = [*counts, every]
    series = {
        "mapped": [point(count, f"mapped_of_{count}") for count in counts]
        + [point(every, "mapped")],
        **{
            arm: [point(count, arm) for count in places]
            for arm in ("native", "reindexed", "unmapped")
        },
    }
    note = (
        f"{summary['migration/queries']} queries of the test split in an index of "
        f"{summary['migration/index_rows']} second halves. {BRACKETS}"
    )
    return [
        Table("Recall of the relevant text", *result_rows(summary, config), note=note),
        Curves(
            f"Recall at {k} against texts embedded again",
            "texts embedded by both models",
            f"recall at {k}, %",
            series,
            log_x=True,
        ),
    ]


if __name__ == "__main__":
    start_program(MigrationConfig, run)
