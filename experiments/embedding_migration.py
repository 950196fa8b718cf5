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
from collections.abc import Mapping

import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.maps import choose_map, fit_pairs
from experiments.shared.options import PairOptions, resamples_option, seed_option
from experiments.shared.sides import load_sides, open_corpus, paired_states, with_stores
from helix_jax.activations import Pair
from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    apply_map,
    fit_ridge,
    select_penalty,
)
from helix_jax.errors import CorpusError
from helix_jax.progress import bar
from helix_jax.reports import Curves, Table, format_interval
from helix_jax.runs import Run, option
from helix_jax.runs.experiment import Report, Specs, experiment
from helix_jax.similarity import swapped
from helix_jax.similarity.retrieval import (
    RetrievalScores,
    centred_ranks,
    score_ranks,
    with_width,
)
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS, document_of, hashed_order
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


def require_models(config: MigrationConfig, specs: Specs) -> None:
    """Raise CorpusError where embeddings stand for a model."""
    for flag, name in (("source", config.source), ("target", config.target)):
        if specs[name] is None:
            raise CorpusError(
                f"--{flag}={name}: halves of texts are to be embedded, so both sides "
                "must be models and not embeddings:FILE."
            )


@experiment(
    tiny={"limit": 600, "max_tokens": 64, "resamples": 200, "rows": (100, 200)},
    check=require_models,
)
def compute(config: MigrationConfig, _: Run) -> Report:
    """Index, map, ask; see the module docstring."""
    options, sides = with_stores(config), load_sides(config)
    asking, held = halves(open_corpus(config), words=config.words)
    pairs = {split: paired_states(*sides, held, split, options) for split in SPLITS}
    queries = paired_states(*sides, asking, "test", options)
    fitted = fit_pairs(pairs)
    moments, controls = fitted.moments, fitted.controls(config.seed)
    backward = choose_map({split: swapped(one) for split, one in moments.items()})
    new, old = map(np.concatenate, zip(*(pair.read() for pair in pairs.values())))
    asked_new, asked_old = queries.read()
    fit, every = moments["fit"], len(pairs["fit"].x)
    in_new = new, np.asarray(fit.mean_x, np.float32)
    in_old = old, np.asarray(fit.mean_y, np.float32)
    documents = [document_of(name) for name in queries.ids]
    relevant = np.arange(len(old) - len(documents), len(old))  # the test split is last

    def ask(asked, index, centre) -> RetrievalScores:
        ranks = centred_ranks(asked, index, relevant, centre=centre)
        settings = {"cutoffs": config.cutoffs, "resamples": config.resamples}
        return score_ranks(ranks, documents, **settings)

    asked = {
        "native": (asked_old, *in_old),
        "reindexed": (asked_new, *in_new),
        "mapped": (apply_map(fitted.map, asked_new), *in_old),
        "backward": (asked_new, apply_map(backward.fit.map, old), in_new[1]),
        "unmapped": (with_width(asked_new, old.shape[1]), *in_old),
        "shuffled": (apply_map(controls["shuffled"], asked_new), *in_old),
        "random": (apply_map(controls["random"], asked_new), *in_old),
    }
    arms = {arm: ask(*rows) for arm, rows in bar(asked.items(), "arms asked")}
    curve = {}
    for count in bar([n for n in config.rows if n < every], "maps of fewer texts"):
        few = map_of_rows(pairs["fit"], moments["select"], count, config.seed)
        curve[count] = ask(apply_map(few, asked_new), *in_old)
    numbers = count_texts(pairs) | {
        "data/test_documents": len(set(documents)),  # of the queries
        "migration/index_rows": len(old),
        "migration/queries": len(relevant),
        "migration/fit_rows": every,
    }
    named = arms | {f"mapped_of_{count}": scores for count, scores in curve.items()}
    for arm, scores in named.items():
        numbers |= scores_of(arm, scores)
    note = (
        f"{len(relevant)} queries of the test split in an index of {len(old)} second "
        f"halves. {BRACKETS}"
    )
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    blocks = [
        recall_table(arms, config.cutoffs, note),
        recall_curves(arms, curve | {every: arms["mapped"]}, k),
    ]
    return Report(numbers, blocks, about_pair(config, numbers))


def map_of_rows(pair: Pair, select: Moments, count: int, seed: int) -> AffineMap:
    """The ridge map of some rows of a pair, chosen by a hash of their ids."""
    rows = hashed_order(pair.ids, salt=f"few-shot {seed}")[:count]
    moments = accumulate(pair.select(np.sort(rows)).rows())
    return select_penalty(fit_ridge(moments), select).fit.map


def scores_of(arm: str, scores: RetrievalScores) -> dict[str, float | Interval]:
    """The numbers of an arm under their names."""
    start = "migration/recall_at"
    recalls = {f"{start}_{k}_{arm}": recall for k, recall in scores.recall.items()}
    name = f"migration/mean_reciprocal_rank_{arm}"
    return {name: scores.mean_reciprocal_rank} | recalls


def recall_table(
    arms: Mapping[str, RetrievalScores], cutoffs: tuple[int, ...], note: str
) -> Table:
    """Recall of every arm at every cutoff."""
    rows = [
        [said, *(format_interval(arms[arm].recall, k) for k in cutoffs)]
        for arm, said in ARMS.items()
    ]
    header = ["arm", *(f"recall@{k}, %" for k in cutoffs)]
    return Table("Recall of the relevant text", header, rows, note=note)


def recall_curves(
    arms: Mapping[str, RetrievalScores], mapped: Mapping[int, RetrievalScores], k: int
) -> Curves:
    """Recall at one cutoff of maps of so many texts, and of arms without a map."""

    def points(scores: Mapping[int, RetrievalScores]) -> list[list[float]]:
        return [
            [count, *(100 * float(end) for end in one.recall[k])]
            for count, one in scores.items()
        ]

    level = {
        arm: dict.fromkeys(mapped, arms[arm])
        for arm in ("native", "reindexed", "unmapped")
    }
    return Curves(
        f"Recall at {k} against texts embedded again",
        "texts embedded by both models",
        f"recall at {k}, %",
        {"mapped": points(mapped)} | {arm: points(one) for arm, one in level.items()},
        log_x=True,
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
