r"""How well does a new model search the index of an old one through a map?

    python -m experiments.embedding_migration --workdir=runs/migration \
      --source=NEW_MODEL --target=OLD_MODEL --data=NAME_FILE_OR_FOLDER

An index holds embeddings of the target (the old model); embedding everything again with
the source (the new model) is expensive. How good are the new model's queries, mapped
into the old space by a map that was fitted on a few re-embedded texts? Each text is cut
in two: the first half is the query for the second, among the second halves of every
split. The map is fitted on second halves of the fit split, its penalty chosen on the
select split, the queries come from the test split.

| arm        | queries                  | index                                     |
|------------|--------------------------|-------------------------------------------|
| native     | old model                | old model                                 |
| reindexed  | new model                | new model: everything embedded again      |
| mapped     | new model, mapped        | old model                                 |
| backward   | new model                | old model, mapped to the new one's space  |
| unmapped   | new model, cut or padded | old model: control                        |
| shuffled   | new model, mapped        | old model; map of shuffled pairs: control |
| random     | new model, rotated       | old model: control                        |

Beside ridge, adapters of other kinds are fitted on the same pairs, those of
Drift-Adapter (arXiv 2509.23471) among them: see `helix_jax.transfer.adapters`.

Recall and nDCG count only the second half; graded nDCG also counts texts of its class
(2 for the second half, 1 for its class). "As reindexed" is the share of the 10 rows
that the new model finds in its own index. Cosines are centred on the mean of the
index's fit rows; every number has a bootstrap interval over documents.

Cost: one core, mpnet and MiniLM, 484 queries in 1,096 rows, stored states: 40 seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.answers import recall_answer
from experiments.shared.halves_options import HalvesOptions, require_models
from experiments.shared.options import TINY_TEXTS
from helix_jax.progress import bar
from helix_jax.reports import Curves, Quantity, Table, cross_curves, cross_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.halves import read_halves
    from experiments.shared.sides import load_sides
    from helix_jax.transfer.adapters import ADAPTERS, fit_adapters
    from helix_jax.transfer.pair_fit import fit_few, fit_pairs
    from helix_jax.transfer.search import (
        ArmScores,
        open_migration,
        score_arms,
        search_arms,
    )

ARMS = {
    "native": "old queries, old index",
    "reindexed": "new queries, new index",
    "mapped": "new queries mapped, old index",
    "backward": "new queries, old index mapped",
    "unmapped": "control: unmapped new queries",
    "shuffled": "control: map of shuffled pairs",
    "random": "control: random rotation",
}
ANSWER = (
    "New queries mapped to the old index find the relevant text among the first {k} in "
    "{{migration/recall_at_{k}_mapped}} of the cases; "
    "the old model does in {{migration/recall_at_{k}_native}}, "
    "the new one with all texts embedded again in "
    "{{migration/recall_at_{k}_reindexed}}, and a map of shuffled pairs in "
    "{{migration/recall_at_{k}_shuffled}}."
)


@dataclasses.dataclass(frozen=True)
class MigrationConfig(HalvesOptions):
    """Flags of the experiment."""

    rows: tuple[int, ...] = option(
        (100, 300, 1000, 3000, 10_000), "texts embedded again, for the curve", least=2
    )
    epochs: int = option(
        300, "epochs of the adapters' gradient descents, at most", least=1
    )
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


@experiment(
    tiny=TINY_TEXTS | {"resamples": 200, "rows": (100, 200), "epochs": 5},
    check=require_models,
)
def compute(config: MigrationConfig, _: Run) -> Report:
    """Index, map, ask; see the module docstring."""
    texts = read_halves(config, load_sides(config))
    queries = texts.queries["test"]
    fitted = fit_pairs(texts.index)
    fit, every = fitted.moments["fit"], len(texts.index["fit"].x)
    migration = open_migration(texts.index.values(), queries, fit)
    searches = search_arms(migration, fitted, fitted.controls(config.seed))
    for count in bar([n for n in config.rows if n < every], "maps of fewer texts"):
        pairs, select = texts.index["fit"], fitted.moments["select"]
        few = fit_few(pairs, select, count, seed=config.seed)
        searches[f"mapped_of_{count}"] = migration.mapped(few)
    adapters = fit_adapters(
        {split: texts.index[split].read() for split in ("fit", "select")},
        fit,
        fitted.chosen,
        key=jax.random.key(config.seed),
        epochs=config.epochs,
    )
    for name, adapter in adapters.items():
        searches[f"adapter_{name}"] = migration.mapped(adapter)
    arms = score_arms(
        migration, searches, cutoffs=config.cutoffs, resamples=config.resamples
    )
    numbers = count_texts(texts.index) | {
        "data/test_documents": len(set(migration.documents)),  # of the queries
        "migration/index_rows": len(migration.old),
        "migration/queries": len(queries.ids),
        "migration/fit_rows": every,
    }
    for arm, scores in arms.items():
        numbers |= scores_of(arm, scores)
    note = (
        f"{len(queries.ids)} queries of the test split in an index of "
        f"{len(migration.old)} second halves. {BRACKETS}"
    )
    blocks = [
        arms_table("Recall of the relevant text", ARMS, arms, config.cutoffs, note),
        arms_table(
            "Adapters on the same pairs, new queries in the old index",
            {f"adapter_{name}": words for name, words in ADAPTERS.items()},
            arms,
            config.cutoffs,
            note,
        ),
        recall_curves(arms, every, config.cutoffs),
    ]
    answer = recall_answer(ANSWER, numbers, config)
    return Report(numbers, blocks, about_pair(config, numbers), answer=answer)


def scores_of(arm: str, scores: ArmScores) -> dict[str, float | Interval]:
    """The numbers of an arm under their names."""
    found = scores.found
    numbers = {f"recall_at_{k}": recall for k, recall in found.recall.items()} | {
        "mean_reciprocal_rank": found.mean_reciprocal_rank,
        "ndcg": found.ndcg,
        "graded_ndcg": scores.graded,
        "as_reindexed": scores.alike,
    }
    return {
        f"migration/{name}_{arm}": number
        for name, number in numbers.items()
        if number is not None
    }


def arms_table(
    title: str,
    rows: Mapping[str, str],
    arms: Mapping[str, ArmScores],
    cutoffs: Sequence[int],
    note: str,
) -> Table:
    """Scores of some arms: recall at every cutoff, nDCG, overlap with the new index."""
    columns = {f"recall_at_{k}": Quantity(f"recall@{k}, %", 100, 1) for k in cutoffs}
    columns["ndcg"] = Quantity("nDCG@10, %", 100, 1)
    numbers = {arm: scores_of(arm, arms[arm]) for arm in rows}
    more = {"graded_ndcg": "graded nDCG@10, %", "as_reindexed": "as reindexed, %"}
    for name, words in more.items():
        if all(f"migration/{name}_{arm}" in numbers[arm] for arm in rows):
            columns[name] = Quantity(words, 100, 1)
    return cross_table(
        title,
        "arm",
        rows,
        columns,
        lambda arm, name: numbers[arm][f"migration/{name}_{arm}"],
        note=note,
    )


def recall_curves(
    arms: Mapping[str, ArmScores], every: int, cutoffs: Sequence[int]
) -> Curves:
    """Recall at one cutoff against texts embedded again; other arms as levels."""
    k = cutoffs[min(1, len(cutoffs) - 1)]
    start = "mapped_of_"
    mapped = {int(a.removeprefix(start)): a for a in arms if a.startswith(start)}
    mapped[every] = "mapped"
    series = {"mapped": {n: arms[arm].found.recall[k] for n, arm in mapped.items()}}
    for arm in ("native", "reindexed", "unmapped"):
        series[arm] = dict.fromkeys(mapped, arms[arm].found.recall[k])
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
