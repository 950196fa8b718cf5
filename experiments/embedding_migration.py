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
from collections.abc import Mapping, Sequence

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.options import (
    TINY_TEXTS,
    PairOptions,
    resamples_option,
    seed_option,
)
from experiments.shared.sides import load_sides, open_corpus, paired_states, with_stores
from helix_jax.errors import CorpusError
from helix_jax.progress import bar
from helix_jax.reports import Curves, Quantity, Table, cross_curves, cross_table
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.similarity.retrieval import RetrievalScores
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS
from helix_jax.text.views import halves
from helix_jax.transfer.pair_fit import fit_few, fit_pairs
from helix_jax.transfer.search import open_migration, search_arms

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
    tiny=TINY_TEXTS | {"resamples": 200, "rows": (100, 200)}, check=require_models
)
def compute(config: MigrationConfig, _: Run) -> Report:
    """Index, map, ask; see the module docstring."""
    asking, held = halves(open_corpus(config), words=config.words)
    options, sides = with_stores(config), load_sides(config)
    pairs = {split: paired_states(*sides, held, split, options) for split in SPLITS}
    queries = paired_states(*sides, asking, "test", options)
    fitted = fit_pairs(pairs)
    migration = open_migration(fitted, queries)
    settings = {"cutoffs": config.cutoffs, "resamples": config.resamples}
    arms = search_arms(migration, fitted, fitted.controls(config.seed), **settings)
    select, every = fitted.moments["select"], len(pairs["fit"].x)
    curve = {}
    for count in bar([n for n in config.rows if n < every], "maps of fewer texts"):
        few = fit_few(pairs["fit"], select, count, seed=config.seed)
        curve[count] = migration.ask_mapped(few, **settings)
    numbers = count_texts(pairs) | {
        "data/test_documents": len(set(migration.documents)),  # of the queries
        "migration/index_rows": len(migration.old),
        "migration/queries": len(queries.ids),
        "migration/fit_rows": every,
    }
    named = arms | {f"mapped_of_{count}": scores for count, scores in curve.items()}
    for arm, scores in named.items():
        numbers |= scores_of(arm, scores)
    note = (
        f"{len(queries.ids)} queries of the test split in an index of "
        f"{len(migration.old)} second halves. {BRACKETS}"
    )
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    blocks = [
        recall_table(arms, config.cutoffs, note),
        recall_curves(arms, curve | {every: arms["mapped"]}, k),
    ]
    return Report(numbers, blocks, about_pair(config, numbers))


def scores_of(arm: str, scores: RetrievalScores) -> dict[str, float | Interval]:
    """The numbers of an arm under their names."""
    start = "migration/recall_at"
    recalls = {f"{start}_{k}_{arm}": recall for k, recall in scores.recall.items()}
    name = f"migration/mean_reciprocal_rank_{arm}"
    return {name: scores.mean_reciprocal_rank} | recalls


def recall_table(
    arms: Mapping[str, RetrievalScores], cutoffs: Sequence[int], note: str
) -> Table:
    """Recall of every arm at every cutoff."""
    return cross_table(
        "Recall of the relevant text",
        "arm",
        ARMS,
        {k: Quantity(f"recall@{k}, %", 100, 1) for k in cutoffs},
        lambda arm, k: arms[arm].recall[k],
        note=note,
    )


def recall_curves(
    arms: Mapping[str, RetrievalScores], mapped: Mapping[int, RetrievalScores], k: int
) -> Curves:
    """Recall at one cutoff of maps of so many texts, and of arms without a map."""

    series = {"mapped": {count: mapped[count].recall[k] for count in mapped}}
    for arm in ("native", "reindexed", "unmapped"):
        series[arm] = dict.fromkeys(mapped, arms[arm].recall[k])
    return cross_curves(
        f"Recall at {k} against texts embedded again",
        "texts embedded by both models",
        Quantity(f"recall at {k}, %", 100),
        series,
        log_x=True,
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
