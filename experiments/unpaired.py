r"""A map between two models that have read no text in common.

    python -m experiments.unpaired --workdir=runs/unpaired --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--target_data=NAME_FILE_OR_FOLDER]

The documents of the fit split are dealt to the two sides by a hash, so that no text is
seen by both; with --target_data the target's side is the fit split of that corpus. The
map is that of `alignment.fit_unpaired`. It is scored on pairs of the test split, which
are used for nothing else: R2; recall, how often the target state nearest to a mapped
one by cosine is that of the same text; for labelled texts the accuracy of the target's
own probe. `found` says whether the fit itself judges its map to be right.

It is compared with the ridge map of pairs of the source's texts, the ceiling; and with
controls: the target's states replaced by a Gaussian of the same mean and covariance,
which has the same spread but no shape; a random rotation; and the mean. Each of --seeds
splits the documents anew. Scores are means over seeds, their intervals bootstraps over
documents; agreement and `found` are shown with their range over seeds.

Cost: two busy cores, --max_tokens=96 --seeds=2: 9 minutes.

With these flags, embedded pebble-llama -> pebble-qwen3 on docstrings: R2 .673
[.658, .687] where ridge on pairs has .743, recall 58.8 % of 2,825 texts (87.0),
accuracy 58.1 % (62.2); agreement .43, .01 against the Gaussian.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.shared.about import BRACKETS, about, short_data, sides_of
from experiments.shared.names import CONTROL_NAMES, PROBES
from experiments.shared.options import PairOptions, resamples_option, seeds_option
from helix_jax.activations.deal import deal_rows
from helix_jax.errors import RunError
from helix_jax.progress import bar
from helix_jax.reports import Block, Quantity, cross_bars, cross_table
from helix_jax.runs import Report, Run, experiment, option, read_arrays, write_arrays
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS, document_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import (
        load_sides,
        open_corpus,
        paired_states,
        states_of,
        with_stores,
    )
    from helix_jax.transfer.deals import score_deal, summarise_deals
    from helix_jax.transfer.task import make_task

ARMS = {
    "unpaired": "without pairs",
    "paired": "ridge on pairs",
    "gaussian": "control: target without shape",
    **{name: CONTROL_NAMES[name] for name in ("random", "mean")},
}
MEASURES = {  # name -> title of its figure, how it is shown
    "r2": ("test R2", Quantity("test R2", form=3)),
    "recall": ("recall@1", Quantity("recall@1, %", 100, 1)),
    "accuracy": ("accuracy", Quantity("accuracy, %", 100, 1)),
}
ANSWER = (
    "Test R2 of the map: {unpaired/unpaired_r2} fitted without pairs, "
    "{unpaired/paired_r2} by ridge on pairs, {unpaired/random_r2} by a random rotation."
)
TRUST = {
    "agreement": Quantity("agreement of starts [least, most]", form=2),
    "found": Quantity("judged right", form=3),
}


@dataclasses.dataclass(frozen=True)
class UnpairedConfig(PairOptions):
    """Flags of the experiment."""

    target_data: str = option(
        "", "corpus of the target's side; empty: half of --data", names="corpora"
    )
    starts: int = option(3, "starts of each half of the rows", least=1)
    seeds: int = seeds_option("random splits of the documents")
    resamples: int = resamples_option()
    tiny: bool = option(False, "800 texts, 64 tokens each at most, one seed and start")


@experiment(
    tiny={"limit": 800, "max_tokens": 64, "starts": 1, "seeds": 1, "resamples": 200}
)
def compute(config: UnpairedConfig, run: Run) -> Report:
    """Deal, fit, score; see the module docstring."""
    corpus, others = open_corpus(config), None
    if config.target_data:
        strange = open_corpus(config, config.target_data, least={"fit": 2})
        shared = require_others(corpus, strange)
    options, sides = with_stores(config), load_sides(config)
    pairs = {split: paired_states(*sides, corpus, split, options) for split in SPLITS}
    if config.target_data:
        others = states_of(
            sides[1], strange, "fit", options, keep=lambda text: text.text not in shared
        ).read()
    task = None if corpus.classes is None else make_task(pairs, corpus.classes)
    rows, deals = pairs["fit"].read(), []
    for seed in bar(range(config.seeds), "deals"):
        place = run.folder / f"deal-{seed}.npz"
        if not place.exists():
            dealt = deal_rows(pairs["fit"].ids, rows, seed=seed, others=others)
            scores = score_deal(dealt, pairs, task, seed=seed, starts=config.starts)
            write_arrays(place, **scores)
        deals.append(read_arrays(place))
    test = pairs["test"].ids
    documents = [document_of(name) for name in test]
    arms = {
        arm: summarise_deals(arm, deals, documents, resamples=config.resamples)
        for arm in bar(ARMS, "arms summarised")
    }
    probes = {} if task is None else task.probe_accuracies()
    sizes = {
        side: int(sum(scores[f"{side}_rows"] for scores in deals) / len(deals))
        for side in ("source", "target")
    }
    numbers: dict[str, float | Interval] = {
        "unpaired/test_rows": len(test),
        "unpaired/seeds": config.seeds,
        "data/test_documents": len(set(documents)),
    }
    numbers |= {f"unpaired/{side}_rows": size for side, size in sizes.items()}
    for arm, scores in arms.items():
        numbers |= {f"unpaired/{arm}_{name}": value for name, value in scores.items()}
    numbers |= {f"unpaired/{side}_accuracy": value for side, value in probes.items()}
    told = about(
        sides_of(config),
        short_data(",".join(filter(None, [config.data, config.target_data]))),
        f"{sizes['source']:,} texts of the source",
        f"{sizes['target']:,} others of the target to fit on",
        f"{len(test):,} texts to test on (of {len(set(documents)):,} documents)",
        documents=len(set(documents)),
    )
    blocks = result_blocks(arms, probes, config.seeds)
    answer = MEASURES["r2"][1].fill(ANSWER, numbers)
    return Report(numbers, blocks, told, answer=answer)


def require_others(corpus: Corpus, strange: Corpus) -> frozenset[str]:
    """The texts of the first corpus, which are left out of the second.

    Raises:
      RunError: fewer than two of the fit split of the second are left.
    """
    texts = frozenset(one.text for split in SPLITS for one in corpus.read(split))
    shared = [one.id for one in strange.read("fit") if one.text in texts]
    total = strange.counts["fit"]
    if total - len(shared) < 2:
        raise RunError(
            f"--target_data shares {len(shared)} of its {total} texts with "
            f"--data, first {shared[0]!r}; the two sides must have none in common."
        )
    if shared:
        print(
            f"{len(shared)} of {total} texts of --target_data are also in --data "
            f"(first {shared[0]!r}) and are left out.",
            flush=True,
        )
    return texts


def found_words(share: Interval | None, deals: int) -> str | None:
    """Whether the fit judges its own map to be right, in words."""
    if share is None:
        return None
    times = round(share.value * deals)
    if deals == 1:
        return "yes" if times else "no map found"
    return f"in {times} of {deals} deals" if times else f"no map found in {deals} deals"


def result_blocks(
    arms: Mapping[str, Mapping[str, Interval]],
    probes: Mapping[str, Interval],
    deals: int,
) -> list[Block]:
    """The arms as a table and as bars.

    Args:
      arms: of every name of ARMS, from `summarise`.
      probes: of every name of PROBES its accuracy; empty for texts without labels.
      deals: how many.
    """
    measures = {name: how for name, how in MEASURES.items() if name in arms["unpaired"]}

    def number(arm: str, name: str) -> Interval | str | None:
        if arm in probes:
            return probes[arm] if name == "accuracy" else None
        value = arms[arm].get(name)
        return found_words(value, deals) if name == "found" else value

    means = "One deal." if deals == 1 else f"Means over {deals} deals."
    note = (
        f"{means} {BRACKETS} For agreement: the range over deals; paired maps have "
        "none. Judged right: whether the fit without pairs judges its own map to be "
        "right."
    )
    rows = ARMS | {probe: PROBES[probe] for probe in probes}
    groups = {arm: title.replace(": ", ":\n") for arm, title in ARMS.items()}
    columns = {name: shown for name, (_, shown) in measures.items()} | TRUST
    table = cross_table("Maps without pairs", "map", rows, columns, number, note=note)
    bars = [
        cross_bars(
            f"With and without pairs: {title}",
            shown,
            groups,
            {name: shown.title},
            number,
        )
        for name, (title, shown) in measures.items()
    ]
    return [table, *bars]


run = compute.run

if __name__ == "__main__":
    compute.main()
