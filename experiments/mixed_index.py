r"""How much does a search gain if a share of an old index is embedded again?

    python -m experiments.mixed_index --workdir=runs/mixed --source=NEW_MODEL \
      --target=OLD_MODEL --data=NAME_FILE_OR_FOLDER [--shares=0,1,5,20]

As in `experiments.embedding_migration`, first halves are queries for second halves, the
source is the new model and the target the old one. Rows that are embedded again are
searched natively in the new space, all others through the map:

| way      | rows that are not embedded again                       |
|----------|--------------------------------------------------------|
| mapped   | old, compared with the query mapped to the old space   |
| rotated  | the same, by orthogonal Procrustes in place of ridge   |
| backward | mapped to the new space, compared with the new query   |

The scores of each part are rescaled by a linear function, chosen on the select split
by --calibration, so that they can be compared (see `helix_jax.transfer.mixed`); the
other calibrations are reported at the largest share. Rows are embedded again in one of
three orders: at random (means over --seeds); by largest predicted residual, which needs
only their old embeddings; and by largest true residual, an oracle that shows the most
such an order can gain. Control: the map of shuffled pairs, which finds only what is
embedded again.

Cost: one core, mpnet and MiniLM, 484 queries in 1,096 rows, stored states: a minute.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from experiments.shared.about import BRACKETS, about_pair, count_texts
from experiments.shared.answers import recall_answer
from experiments.shared.halves_options import HalvesOptions, require_models
from experiments.shared.options import TINY_TEXTS, seeds_option
from helix_jax.choices import CALIBRATIONS
from helix_jax.progress import bar
from helix_jax.reports import (
    Block,
    Curves,
    Quantity,
    Table,
    cross_curves,
    cross_table,
    read_interval,
)
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.halves import read_halves
    from experiments.shared.sides import load_sides
    from helix_jax.similarity.retrieval import score_ranks
    from helix_jax.stats import paired_interval
    from helix_jax.transfer.mixed import mixed_ranks
    from helix_jax.transfer.pair_fit import fit_pairs
    from helix_jax.transfer.renewals import fit_renewal
    from helix_jax.transfer.search import DEPTH, Migration, open_migration
    from helix_jax.transfer.ways import WAYS

WAY_NAMES = {
    "mapped": "queries mapped",
    "rotated": "queries rotated",
    "backward": "index mapped",
}
ORDERS = {
    "random": "at random",
    "predicted": "largest predicted residual first",
    "true": "largest true residual first (not known)",
    "shuffled": "control: at random, map of shuffled pairs",
}
CALIBRATION_NAMES = {
    "raw": "raw cosines",
    "standardised": "in deviations from the mean of other rows",
    "log_odds": "log-odds of being the wanted row",
}
GAINS = {
    "random": "at random, beyond none",
    "predicted": "predicted residual, beyond random",
    "true": "true residual, beyond random",
}
ANSWER = (
    "The relevant text is among the first {k} of a mapped query in "
    "{{mixed/recall_at_{k}_mapped_random_{least}}} of the cases where {least}% of the "
    "index is embedded again, in {{mixed/recall_at_{k}_mapped_random_{most}}} where "
    "{most}% is, and in {{mixed/recall_at_{k}_reindexed}} where all is."
)
ARMS = {"native": "old queries, old index", "reindexed": "new queries, new index"}
Numbers = Mapping[str, float | Interval]


@dataclasses.dataclass(frozen=True)
class MixedConfig(HalvesOptions):
    """Flags of the experiment."""

    shares: tuple[int, ...] = option(
        (0, 1, 5, 20),
        "percent of the index embedded again",
        least=0,
        most=100,
        required=True,
    )
    calibration: str = option(
        "log_odds", "how scores of the two parts are compared", choices=CALIBRATIONS
    )
    seeds: int = seeds_option("random orders")
    tiny: bool = option(False, "600 texts, 64 tokens each at most")


@experiment(
    tiny=TINY_TEXTS | {"resamples": 200, "shares": (0, 20), "seeds": 2},
    check=require_models,
)
def compute(config: MixedConfig, _: Run) -> Report:
    """Index, map, embed a share again, ask; see the module docstring."""
    texts = read_halves(config, load_sides(config), ("select", "test"))
    fitted = fit_pairs(texts.index)
    centres = fitted.moments["fit"]
    test = open_migration(texts.index.values(), texts.queries["test"], centres)
    some = [texts.index["select"]]
    select = open_migration(some, texts.queries["select"], centres)
    numbers = count_texts(texts.index) | {
        "data/test_documents": len(set(test.documents)),  # of the queries
        "mixed/index_rows": len(test.old),
        "mixed/queries": len(test.documents),
    }
    plans = {}
    for name, way in bar(WAYS.items(), "ways fitted"):
        renewal = fit_renewal(way, fitted, test, seed=config.seed, draws=config.seeds)
        agreement = renewal.agreement(test, resamples=config.resamples)
        numbers[f"mixed/{name}_rank_agreement"] = agreement
        of_way = renewal.plans(test, select, config.shares, config.calibration)
        plans |= {f"{name}_{arm}": plan for arm, plan in of_way.items()}
    ranks = {"native": test.in_old(), "reindexed": test.in_new()}
    ranks = {arm: search.ranks(test.wanted)[None] for arm, search in ranks.items()}
    for arm, plan in bar(plans.items(), "mixed indexes asked"):
        ranks[arm] = mixed_ranks(*plan, test.wanted)
    for arm, found in ranks.items():
        numbers |= scores_of(arm, found, test, config)
    numbers |= gains_of(ranks, test, config)
    shares = {"least": min(config.shares), "most": max(config.shares)}
    answer = recall_answer(ANSWER, numbers, config, **shares)
    blocks = result_blocks(numbers, config)
    return Report(numbers, blocks, about_pair(config, numbers), answer=answer)


def scores_of(
    arm: str, ranks: np.ndarray, test: Migration, config: MixedConfig
) -> Numbers:
    """The numbers of an arm under their names."""
    scores = score_ranks(
        ranks,
        test.documents,
        cutoffs=config.cutoffs,
        depth=DEPTH,
        resamples=config.resamples,
    )
    recall = {f"mixed/recall_at_{k}_{arm}": one for k, one in scores.recall.items()}
    return recall | {f"mixed/ndcg_{arm}": scores.ndcg}


def gains_of(
    ranks: Mapping[str, np.ndarray], test: Migration, config: MixedConfig
) -> Numbers:
    """Recall gained over no row embedded again, and over the random order."""
    gains = {}
    for way, share, order, k in itertools.product(
        WAYS, config.shares, GAINS, config.cutoffs
    ):
        beside = f"{way}_random_0" if order == "random" else f"{way}_random_{share}"
        if beside in ranks:
            pair = (ranks[f"{way}_{order}_{share}"], ranks[beside])
            gains[f"mixed/gain_at_{k}_{way}_{order}_{share}"] = paired_interval(
                *((one <= k).mean(0) for one in pair),
                test.documents,
                resamples=config.resamples,
            )
    return gains


def result_blocks(numbers: Numbers, config: MixedConfig) -> list[Block]:
    """Every measure by share and order for each way, gains, calibrations, a figure."""
    note = (
        f"{numbers['mixed/queries']} queries of the test split in an index of "
        f"{numbers['mixed/index_rows']:,} second halves, a share of which is embedded "
        f"again. {BRACKETS}"
    )
    return [
        *(way_table(way, numbers, config, note) for way in WAY_NAMES),
        gains_table(numbers, config, note),
        calibrations_table(numbers, config, note),
        share_curves(numbers, config),
    ]


def way_table(way: str, numbers: Numbers, config: MixedConfig, note: str) -> Table:
    """Scores of every order at every share, and of the whole old and new indexes."""
    measures = {f"recall_at_{k}": f"recall@{k}, %" for k in config.cutoffs}
    rows = {
        (name, arm): f"{words}: {title}"
        for name, title in (measures | {"ndcg": "nDCG@10, %"}).items()
        for arm, words in (ARMS | ORDERS).items()
    }

    def number(row: tuple[str, str], share: int) -> float | Interval:
        name, arm = row
        place = arm if arm in ARMS else f"{way}_{arm}_{share}"
        return numbers[f"mixed/{name}_{place}"]

    columns = {share: Quantity(f"{share}%", 100, 1) for share in config.shares}
    title = f"A share embedded again, {WAY_NAMES[way]}"
    return cross_table(title, "order of the rows", rows, columns, number, note=note)


def gains_table(numbers: Numbers, config: MixedConfig, note: str) -> Table:
    """What a random share gains, and what an order gains beyond that."""
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    rows = {
        (way, order): f"{words}: {GAINS[order]}"
        for way, words in WAY_NAMES.items()
        for order in GAINS
        if f"mixed/gain_at_{k}_{way}_{order}_{max(config.shares)}" in numbers
    }
    agreements = "; ".join(
        f"{words} {read_interval(numbers, f'mixed/{way}_rank_agreement')[0]:.2f}"
        for way, words in WAY_NAMES.items()
    )
    return cross_table(
        f"Gains of recall@{k}, points",
        "order of the rows",
        rows,
        {share: Quantity(f"{share}%", 100, 1) for share in config.shares},
        lambda row, share: numbers[f"mixed/gain_at_{k}_{row[0]}_{row[1]}_{share}"],
        note=f"{note} Rank correlation of predicted with true residuals on the test "
        f"split: {agreements}.",
    )


def calibrations_table(numbers: Numbers, config: MixedConfig, note: str) -> Table:
    """Every calibration of the two parts, at the largest share."""
    columns = {
        (way, k): Quantity(f"{words}, recall@{k}, %", 100, 1)
        for way, words in WAY_NAMES.items()
        for k in config.cutoffs
    }
    return cross_table(
        f"Scores of two parts, {max(config.shares)}% embedded again at random",
        "scores",
        CALIBRATION_NAMES,
        columns,
        lambda name, column: numbers[f"mixed/recall_at_{column[1]}_{column[0]}_{name}"],
        note=note,
    )


def share_curves(numbers: Numbers, config: MixedConfig) -> Curves:
    """Recall at one cutoff against the share, by way and order."""
    k = config.cutoffs[min(1, len(config.cutoffs) - 1)]
    start = f"mixed/recall_at_{k}"
    series = {
        f"{words}, {order}": {
            share: numbers[f"{start}_{way}_{order}_{share}"] for share in config.shares
        }
        for way, words in WAY_NAMES.items()
        for order in ("random", "predicted")
    }
    for arm in ARMS:
        series[arm] = dict.fromkeys(config.shares, numbers[f"{start}_{arm}"])
    return cross_curves(
        f"Recall at {k} against the share embedded again",
        "percent of the index embedded again",
        Quantity(f"recall at {k}, %", 100),
        series,
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
