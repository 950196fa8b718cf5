r"""Does a map still find the texts of an index that grew under distribution shift?

    python -m experiments.index_drift --workdir=runs/drift --source=NEW_MODEL \
      --target=OLD_MODEL --data=EARLIER --later=LATER [--sizes=30,100,300,1000]

A map from the new model to the old one is fitted on --data, whose second halves are the
index; then the index grows with the second halves of --later. Queries are first halves
of the test split of either, asked in the grown index:

| arm         | map                                                                |
|-------------|--------------------------------------------------------------------|
| kept        | that of --data                                                     |
| refreshed_n | of the moments of --data and of n later texts, merged              |
| weighted_n  | the same; later texts get the weight that is best on later texts   |
| refit_n     | of n later texts alone                                             |
| rotation    | a rotation in place of ridge, of --data                            |
| rotated_n   | the same, of the moments of --data and of n later texts, merged    |
| shuffled    | control: that of --data with its pairs shuffled                    |
| native      | none: old queries, old index                                       |
| reindexed   | none: new queries, all embedded again                              |

Penalties and weights of maps that see later texts are chosen on n / 4 more of them, at
least 20. Later texts that are also in --data are left out. Cosines are centred on the
mean of the fit rows of --data. R2 is the map's, on the test split's second halves.

Cost: one core, mpnet and MiniLM, 1,687 rows, stored states: two and a half minutes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.shared.about import BRACKETS, about, count_texts, short_data, sides_of
from experiments.shared.answers import recall_answer
from experiments.shared.halves_options import HalvesOptions, require_models
from experiments.shared.options import TINY_TEXTS
from helix_jax.progress import bar
from helix_jax.reports import Block, Quantity, Table, cross_curves, cross_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.halves import Halves, read_halves
    from experiments.shared.sides import load_sides, open_corpus
    from helix_jax.alignment import AffineMap, evaluate_map, fit_procrustes
    from helix_jax.similarity.retrieval import Search
    from helix_jax.transfer.pair_fit import fit_pairs, pair_moments
    from helix_jax.transfer.refresh import KINDS, LEAST_SELECT, refreshed_maps
    from helix_jax.transfer.search import Migration, open_migration

ARMS = {
    "native": "old queries, old index",
    "reindexed": "new queries, new index",
    "kept": "map of the earlier texts, kept",
    "rotation": "rotation of the earlier texts, kept",
    "shuffled": "control: map of shuffled pairs",
}
KIND_NAMES = {
    "refreshed": "refreshed with {} later texts",
    "weighted": "refreshed with {}, weighted",
    "refit": "fitted on only {} later texts",
    "rotated": "rotation refreshed with {}",
}
TIMES = {"later": "later texts", "earlier": "earlier texts"}
ANSWER = (
    "The relevant text is among the first {k} of a later query in "
    "{{drift/recall_at_{k}_later_kept}} of the cases by the map of the earlier texts, "
    "in {{drift/recall_at_{k}_later_refreshed_{size}}} once it has seen {size} later "
    "texts, and in {{drift/recall_at_{k}_later_reindexed}} in a new index."
)
Numbers = Mapping[str, float | Interval]


@dataclasses.dataclass(frozen=True)
class DriftConfig(HalvesOptions):
    """Flags of the experiment."""

    later: str = option(
        "",
        "corpus that the index grows with; labels are not used",
        names="corpora",
        required=True,
        tiny="topics",
    )
    later_limit: int = option(
        0, "texts of --later to use, chosen by hash; 0: all", least=0
    )
    sizes: tuple[int, ...] = option(
        (30, 100, 300, 1000), "later texts that a map is refreshed with", least=2
    )
    tiny: bool = option(False, "600 texts a corpus, 64 tokens each at most")


@experiment(
    tiny=TINY_TEXTS | {"later_limit": 600, "resamples": 200, "sizes": (30, 100)},
    check=require_models,
)
def compute(config: DriftConfig, _: Run) -> Report:
    """Fit, grow, ask; see the module docstring."""
    sides, corpus = load_sides(config), open_corpus(config)
    limited = dataclasses.replace(config, limit=config.later_limit)
    other = open_corpus(limited, config.later, least={"fit": 2, "select": 2, "test": 2})
    texts = {
        "earlier": read_halves(config, sides, corpus=corpus),
        "later": read_halves(config, sides, corpus=other, but=corpus),
    }
    fitted = fit_pairs(texts["earlier"].index)
    maps = {
        "kept": fitted.map,
        "rotation": fit_procrustes(fitted.moments["fit"]).map,
        "shuffled": fitted.controls(config.seed)["shuffled"],
    }
    later = texts["later"].index
    sizes = sorted({n for n in config.sizes if n < len(later["fit"].x)})
    sizes = [*sizes, len(later["fit"].x)]
    grown = refreshed_maps(
        fitted.moments["fit"], later["fit"], later["select"], sizes, seed=config.seed
    )
    for size, kinds in bar(grown, "maps refreshed", total=len(sizes)):
        maps |= {f"{kind}_{size}": one for kind, one in kinds.items()}
    numbers = count_texts(texts["earlier"].index) | {
        f"drift/later_{split}_texts": len(later[split].ids) for split in SPLITS
    }
    for time in bar(TIMES, "kinds of queries"):
        migration = grown_index(texts, time, fitted.moments["fit"])
        numbers[f"drift/{time}_queries"] = len(migration.documents)
        numbers["drift/index_rows"] = len(migration.old)
        numbers |= scores_of(time, migration, maps, config)
        test = pair_moments(texts[time].index["test"])
        for arm, one in maps.items():
            numbers[f"drift/r2_{time}_{arm}"] = float(evaluate_map(one, test).r2)
    words = about(
        sides_of(config),
        f"{short_data(config.data)}, then {short_data(config.later)}",
        f"{numbers['data/fit_texts']:,} texts to fit on",
        f"{numbers['drift/later_fit_texts']:,} later texts to refresh with",
        documents=len(set(migration.documents)),
    )
    answer = recall_answer(ANSWER, numbers, config, size=sizes[-1])
    blocks = result_blocks(numbers, sizes, config)
    return Report(numbers, blocks, words, answer=answer)


def grown_index(texts: Mapping[str, Halves], time: str, moments: object) -> Migration:
    """The index of all texts, and the queries of one time; no classes are compared."""
    others = [texts[one].index.values() for one in TIMES if one != time]
    pairs = [pair for some in (*others, texts[time].index.values()) for pair in some]
    migration = open_migration(pairs, texts[time].queries["test"], moments)
    return migration._replace(classes=0 * migration.classes - 1)


def scores_of(
    time: str, migration: Migration, maps: Mapping[str, AffineMap], config: DriftConfig
) -> Numbers:
    """The numbers of every arm, for the queries of one time."""
    searches: dict[str, Search] = {
        "native": migration.in_old(),
        "reindexed": migration.in_new(),
    }
    searches |= {arm: migration.mapped(one) for arm, one in maps.items()}
    numbers = {}
    for arm, search in searches.items():
        found = migration.score(
            search, cutoffs=config.cutoffs, resamples=config.resamples
        ).found
        for k, recall in found.recall.items():
            numbers[f"drift/recall_at_{k}_{time}_{arm}"] = recall
        numbers[f"drift/ndcg_{time}_{arm}"] = found.ndcg
    return numbers


def result_blocks(
    numbers: Numbers, sizes: list[int], config: DriftConfig
) -> list[Block]:
    """Tables of every map on later and on earlier queries; recall against n."""
    rows = ARMS | {
        f"{kind}_{size}": KIND_NAMES[kind].format(f"{size:,}")
        for kind in KINDS
        for size in sizes
    }
    blocks: list[Block] = [
        arms_table(numbers, rows, time, words, config) for time, words in TIMES.items()
    ]
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    start = f"drift/recall_at_{k}_later"
    series = {
        kind: {size: numbers[f"{start}_{kind}_{size}"] for size in sizes}
        for kind in KINDS
    }
    for arm in ("native", "reindexed", "kept"):
        series[arm] = dict.fromkeys(sizes, numbers[f"{start}_{arm}"])
    curves = cross_curves(
        f"Recall at {k} of later texts against those embedded again",
        "later texts embedded by both models",
        Quantity(f"recall at {k}, %", 100),
        series,
        log_x=True,
    )
    return [*blocks, curves]


def arms_table(
    numbers: Numbers,
    rows: Mapping[str, str],
    time: str,
    words: str,
    config: DriftConfig,
) -> Table:
    """Scores of every map, for the queries of one time."""
    columns = {
        f"recall_at_{k}": Quantity(f"recall@{k}, %", 100, 1) for k in config.cutoffs
    }
    columns |= {
        "ndcg": Quantity("nDCG@10, %", 100, 1),
        "r2": Quantity("R2", form=".3f"),
    }
    note = (
        f"{numbers[f'drift/{time}_queries']} queries of the test split in an index of "
        f"{numbers['drift/index_rows']:,} second halves. Penalties of maps that see n "
        f"later texts are chosen on n / 4 others, at least {LEAST_SELECT}. {BRACKETS}"
    )
    return cross_table(
        f"Queries of {words} in the grown index",
        "map",
        rows,
        columns,
        lambda arm, name: numbers.get(f"drift/{name}_{time}_{arm}"),
        note=note,
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
