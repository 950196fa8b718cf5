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
from collections.abc import Mapping

import jax
import numpy as np

from experiments.shared.about import BRACKETS, about, short_data, sides_of
from experiments.shared.maps import choose_map, pair_moments
from experiments.shared.options import PairOptions, resamples_option, seeds_option
from experiments.shared.sides import (
    load_sides,
    open_corpus,
    paired_states,
    states_of,
    with_stores,
)
from experiments.shared.task import PROBES, Task, make_task
from helix_jax.activations import Pair
from helix_jax.activations.deal import Dealt, deal_rows
from helix_jax.alignment import (
    AffineMap,
    apply_map,
    deviations,
    fit_unpaired,
    from_batch,
    gaussian_like,
    mean_map,
    r2_of_rows,
    random_orthogonal_map,
    squared_errors,
)
from helix_jax.errors import RunError
from helix_jax.probes import predict_logits
from helix_jax.progress import bar, stage
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval
from helix_jax.runs import Run, option, read_arrays, write_arrays
from helix_jax.runs.experiment import Report, experiment
from helix_jax.similarity.retrieval import centred_ranks
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS, document_of

ARMS = {
    "unpaired": "without pairs",
    "paired": "ridge on pairs",
    "gaussian": "control: target without shape",
    "random": "control: random rotation",
    "mean": "control: the mean",
}
MEASURES = {  # name -> label, scale, digits
    "r2": ("test R2", 1, 3),
    "recall": ("recall@1, %", 100, 1),
    "accuracy": ("accuracy, %", 100, 1),
}
TRUST = ("agreement", "found")  # what a fit without pairs says of itself


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
            sides[1], strange, "fit", options, keep=lambda one: one.text not in shared
        ).read()
    task = None if corpus.classes is None else make_task(pairs, corpus.classes)
    rows, deals = pairs["fit"].read(), []
    for seed in bar(range(config.seeds), "deals"):
        place = run.folder / f"deal-{seed}.npz"
        if not place.exists():
            dealt = deal_rows(pairs["fit"].ids, rows, seed=seed, others=others)
            write_arrays(place, **score_deal(config, pairs, dealt, task, seed))
        deals.append(read_arrays(place))
    every = {name: np.stack([scores[name] for scores in deals]) for name in deals[0]}
    test = pairs["test"].ids
    documents = [document_of(name) for name in test]
    arms = {
        arm: summarise(arm, every, documents, resamples=config.resamples)
        for arm in bar(ARMS, "arms summarised")
    }
    probes = {} if task is None else task.probe_accuracies()
    sizes = {side: int(every[f"{side}_rows"].mean()) for side in ("source", "target")}
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
    return Report(numbers, result_blocks(arms, probes, config.seeds), told)


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
            f"--target_data has {len(shared)} of its {total} texts from "
            f"--data, first {shared[0]!r}; the two sides are to have none in common."
        )
    if shared:
        print(
            f"{len(shared)} of {total} texts of --target_data are also in --data "
            f"(first {shared[0]!r}) and are left out.",
            flush=True,
        )
    return texts


def score_deal(
    config: UnpairedConfig,
    pairs: Mapping[str, Pair],
    dealt: Dealt,
    task: Task | None,
    seed: int,
) -> dict[str, np.ndarray]:
    """Every arm's scores of the test rows under ARM/score, and the rest as scalars."""
    maps, trust = fit_arms(config, pairs["select"], dealt, seed)
    scores = {name: np.asarray(value) for name, value in trust.items()}
    scores["source_rows"] = np.asarray(len(dealt.x))
    scores["target_rows"] = np.asarray(len(dealt.y))
    centre = dealt.y.mean(axis=0)
    for arm, affine in bar(maps.items(), "arms scored"):
        rows = score_rows(affine, pairs["test"], centre, task)
        scores |= {f"{arm}/{name}": values for name, values in rows.items()}
    return scores


def fit_arms(
    config: UnpairedConfig, select: Pair, dealt: Dealt, seed: int
) -> tuple[dict[str, AffineMap], dict[str, float]]:
    """Every arm's map, and whether those without pairs take themselves for right."""
    key, rotation = jax.random.split(jax.random.key(seed))
    maps, trust = {}, {}
    targets = {"unpaired": dealt.y, "gaussian": gaussian_like(dealt.y, seed=seed)}
    for name, y in targets.items():
        with stage(f"fitting without pairs ({ARMS[name]})"):
            fit = fit_unpaired(dealt.x, y, key=key, starts=config.starts)
            fit = jax.block_until_ready(fit)
        maps[name] = fit.map
        trust |= {f"{name}_{kind}": float(getattr(fit, kind)) for kind in TRUST}
    moments = {"fit": from_batch(dealt.x, dealt.paired), "select": pair_moments(select)}
    maps["paired"] = choose_map(moments).fit.map
    maps["random"] = random_orthogonal_map(moments["fit"], key=rotation)
    maps["mean"] = mean_map(moments["fit"])
    return maps, trust


def score_rows(
    affine: AffineMap, pair: Pair, centre: np.ndarray, task: Task | None
) -> dict[str, np.ndarray]:
    """[N] squared error, deviation, whether found and whether read right, of a pair."""
    x, y = pair.read()
    mapped = np.asarray(apply_map(affine, x))
    ranks = centred_ranks(mapped, y, np.arange(len(y)), centre=centre)
    rows = {
        "error": squared_errors(affine, x, y),
        "deviation": deviations(y),
        "recall": (ranks == 1).astype(float),
    }
    if task is not None:
        logits = np.asarray(predict_logits(task.target_probe, mapped))
        rows["accuracy"] = (logits.argmax(-1) == task.labels["test"]).astype(float)
    return rows


def summarise(
    arm: str, every: Mapping[str, np.ndarray], documents: list[str], *, resamples: int
) -> dict[str, Interval]:
    """Measures and trust of an arm, from the scores of every deal.

    Args:
      arm: of ARMS.
      every: what `score_deal` gives, deals stacked: [S, N] and [S].
      documents: [N] of the test texts.
      resamples: of the bootstrap.

    Returns:
      Name of MEASURES -> mean over deals, with its interval over documents; name of
      TRUST, of fits without pairs -> mean, least and most of all deals.
    """

    def of_rows(name: str) -> np.ndarray:
        return every[f"{arm}/{name}"].mean(axis=0)

    settings = {"documents": documents, "resamples": resamples}
    scores = {"r2": r2_of_rows(of_rows("error"), of_rows("deviation"), **settings)}
    for name in ("recall", "accuracy"):
        if f"{arm}/{name}" in every:
            scores[name] = bootstrap_interval(of_rows(name), **settings)
    for name in TRUST:
        if f"{arm}_{name}" in every:
            values = every[f"{arm}_{name}"]
            scores[name] = Interval(values.mean(), values.min(), values.max())
    return scores


def found_cell(share: Interval | None, deals: int) -> str | None:
    """Whether the fit takes its own map for right, in words."""
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
    measures = {k: how for k, how in MEASURES.items() if k in arms["unpaired"]}
    rows = [
        [
            said,
            *(
                format_interval(arms[arm], name, scale=scale, digits=digits)
                for name, (_, scale, digits) in measures.items()
            ),
            format_interval(arms[arm], "agreement", scale=1, digits=2),
            found_cell(arms[arm].get("found"), deals),
        ]
        for arm, said in ARMS.items()
    ]
    rows += [
        [PROBES[probe], None, None, format_interval(probes, probe), None, None]
        for probe in probes
    ]
    titles = [title for title, _, _ in measures.values()]
    header = ["map", *titles, "agreement of starts [least, most]", "taken for right"]
    means = "One deal." if deals == 1 else f"Means over {deals} deals."
    note = (
        f"{means} {BRACKETS} Of agreement: the range over deals; of paired maps there "
        "is none. Taken for right: whether the fit without pairs takes its own map for "
        "right."
    )
    groups = [said.replace(": ", ":\n") for said in ARMS.values()]
    bars = [
        Bars(
            f"With and without pairs: {label.partition(',')[0]}",
            label,
            groups,
            {label: [read_interval(arms[arm], name, scale=scale) for arm in ARMS]},
        )
        for name, (label, scale, _) in measures.items()
    ]
    return [Table("Maps without pairs", header, rows, note=note), *bars]


run = compute.run

if __name__ == "__main__":
    compute.main()
