r"""How alike the states of several models are, layer by layer, against chance.

    python -m experiments.similarity --workdir=runs/cka --models=A,B,C \
      --layers=0,-1 --measures=all --data=NAME_FILE_OR_FOLDER

Every model is run once for all its layers. Each pair of layers of different models is
scored on the test split: by CKA, RSA and nearest neighbours of the same rows; by CCA,
Procrustes, linear maps and cosines fitted on the fit split (penalties on the select
split); and, where texts have labels, by what a probe of the second model's states reads
from the first one's mapped states (agreement, divergence).

Each score comes with its mean over shuffled pairs (`_shuffled`), its position between
chance and the best value (`_calibrated`), z, p, and q, which controls the false
discovery rate over all pairs. `similarity/MEASURE_mean` is over pairs. Its intervals
and those of each pair come from leaving out documents in 20 groups, or for means over
rows (cosine, agreement, divergence) from the document bootstrap.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.shared.about import about_models
from experiments.shared.names import MEASURE_NAMES
from experiments.shared.options import (
    ModelsOptions,
    layers_option,
    require_distinct,
    seed_option,
)
from helix_jax.errors import RunError
from helix_jax.models import model_name
from helix_jax.progress import bar
from helix_jax.reports import Block, Matrix, Table, cross_matrix, format_interval
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval, exact_fraction
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import SPLITS, document_of, hashed_subset

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.sides import open_corpus, stores_of_models
    from helix_jax.activations import Store
    from helix_jax.similarity.matrix import NEIGHBOUR_MEASURES
    from helix_jax.similarity.pairs import score_pairs
    from helix_jax.similarity.scores import HEAD_MEASURES, MEASURES, Shuffles, SplitRows
    from helix_jax.similarity.summary import MeasureScores, summarise, summary_numbers
    from helix_jax.stats import least_discoveries

DISCOVERY = 0.05
TINY_SHUFFLES = 59  # fewest with which one of three pairs can be a discovery

Results = Mapping[str, "MeasureScores"]  # measure -> its scores


class View(NamedTuple):
    """One layer of one model: its states of each split."""

    name: str
    model: str
    rows: SplitRows


@dataclasses.dataclass(frozen=True)
class SimilarityConfig(ModelsOptions):
    """Flags of the experiment."""

    layers: tuple[int, ...] = layers_option()
    measures: tuple[str, ...] = option(
        (
            "linear_cka",
            "unbiased_cka",
            "mutual_knn",
            "svcca",
            "r2_forward",
            "r2_backward",
        ),
        "measures to compute",
        choices=("all", *MEASURE_NAMES),
        required=True,
    )
    permutations: int = option(100, "shuffles of the null distributions", least=1)
    rows: int = option(2000, "test texts to use, chosen by hash; 0: all", least=0)
    fit_rows: int = option(10_000, "fit texts to use, chosen by hash; 0: all", least=0)
    rank: int = option(
        0, "principal directions of svcca, pwcca, procrustes; 0: chosen", least=0
    )
    neighbours: int = option(10, "neighbours of mutual_knn and cknna", least=1)
    seed: int = seed_option("of the shuffles and the groups of documents")
    tiny: bool = option(
        False, f"400 texts, 64 tokens each at most, {TINY_SHUFFLES} shuffles"
    )


def require_names(config: SimilarityConfig, _: object) -> None:
    """Refuse models whose results would have the same name."""
    require_distinct("models", list(map(model_name, config.models)))


@experiment(
    tiny={
        "limit": 400,
        "max_tokens": 64,
        "permutations": TINY_SHUFFLES,
        "neighbours": 5,
    },
    check=require_names,
)
def compute(config: SimilarityConfig, _: Run) -> Report:
    """Compare every pair; see the module docstring."""
    corpus = open_corpus(config)
    measures = usable_measures(config, corpus)
    views, texts = read_views(config, corpus)
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(len(views)), 2)
        if views[a].model != views[b].model
    ]
    documents = [document_of(text_id) for text_id in texts["test"].ids]
    labels = SplitRows(*(texts[split].labels for split in SPLITS))
    scores = score_pairs(
        [view.rows for view in views],
        pairs,
        measures,
        documents,
        labels=labels,
        rank=config.rank or None,
        neighbours=config.neighbours,
        shuffles=Shuffles(
            config.permutations, jax.random.key(config.seed), product_dtype="float32"
        ),
    )
    results = {
        measure: summarise(scores, measure, documents)
        for measure in bar(scores.value, "measures summarised")
    }
    numbers: dict[str, float | Interval] = {
        "similarity/pairs": len(pairs),
        "similarity/permutations": config.permutations,
        "data/test_documents": len(set(documents)),
    }
    numbers |= {f"data/{split}_texts": len(texts[split].ids) for split in SPLITS}
    names = [view.name for view in views]
    titles = [f"{names[a]}/{names[b]}" for a, b in pairs]
    found = summary_numbers(results, titles, rate=DISCOVERY)
    numbers |= {f"similarity/{name}": value for name, value in found.items()}
    return Report(
        numbers,
        result_blocks(results, names, pairs, config.permutations),
        about_models(", ".join(names), config.data, numbers),
        answer=similarity_answer(results),
    )


def read_views(
    config: SimilarityConfig, corpus: Corpus
) -> tuple[list[View], dict[str, Store]]:
    """The rows of every layer of every model; the stores of the first, for texts."""
    limits = {"fit": config.fit_rows, "select": config.rows, "test": config.rows}
    test_rows = min(corpus.counts["test"], config.rows or corpus.counts["test"])
    if {"all", *NEIGHBOUR_MEASURES} & set(config.measures) and (
        config.neighbours >= test_rows
    ):
        raise RunError(
            f"--neighbours={config.neighbours} must be below the {test_rows} texts of "
            "the test split that are used; lower it, or use more texts."
        )
    views, texts = [], {}
    for side, whole in stores_of_models(config, corpus):
        stores = {
            split: store.select(
                hashed_subset(store.ids, limits[split], salt="similarity")
            )
            for split, store in whole.items()
        }
        texts = texts or stores
        for layer in stores["fit"].layers:
            rows = SplitRows(*(stores[split].read(layer) for split in SPLITS))
            layer_name = f"{side.name}@{layer}" if len(side.layers) > 1 else side.name
            views.append(View(layer_name, side.name, rows))
    return views, texts


def usable_measures(config: SimilarityConfig, corpus: Corpus) -> Sequence[str]:
    """The measures of the flags; for "all", those that the texts allow."""
    measures = MEASURES if "all" in config.measures else config.measures
    if corpus.classes is not None:
        return measures
    if set(HEAD_MEASURES) & set(config.measures):
        raise RunError(
            f"--measures={','.join(HEAD_MEASURES)} need labels, and {config.data} "
            "has none; name their column by --label_column."
        )
    return [name for name in measures if name not in HEAD_MEASURES]


def result_blocks(
    results: Results,
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    shuffles: int,
) -> list[Block]:
    """The means, every pair, and a matrix of views for each measure."""
    note = (
        "Shuffled: the mean over shuffled pairs. Calibrated: 0 is chance, 1 the best. "
        "q: false discovery rate over all pairs. Intervals: 95%, from leaving out "
        "documents in 20 groups; of means over rows (cosine, agreement, divergence) "
        f"from the document bootstrap. {_discovery_note(len(pairs), shuffles)}"
    )
    pair_rows = [
        [f"{names[a]} - {names[b]}", MEASURE_NAMES[measure], *pair.score, *pair[1:]]
        for measure, scores in results.items()
        for (a, b), pair in zip(pairs, scores.pairs)
    ]
    pair_header = ["pair", "measure", "score", "95% from", "95% to", "shuffled pairs"]
    pair_header += ["calibrated", "z", "p", "q"]
    return [
        mean_table(results, shuffles, note),
        Table("Similarity of every pair", pair_header, pair_rows, note=note),
        *(
            score_matrix(MEASURE_NAMES[measure], scores, names, pairs)
            for measure, scores in results.items()
        ),
    ]


def similarity_answer(results: Results) -> str:
    """What the first measure says about all pairs, in a sentence."""
    measure, scores = next(iter(results.items()))
    mean = format_interval({measure: scores.mean}, measure, scale=1, digits=3)
    said = (
        f"{MEASURE_NAMES[measure]} is {mean} on average over {len(scores.pairs)} pairs"
    )
    if math.isnan(scores.shuffled):
        return f"{said}."
    return f"{said}, and {scores.shuffled:.3f} between shuffled texts."


def mean_table(results: Results, shuffles: int, note: str = "") -> Table:
    """The means over pairs, a row for each measure."""
    header = ["measure", "mean over pairs", "95% interval", "shuffled pairs"]
    header += ["calibrated", f"pairs with q <= {DISCOVERY}"]
    rows = []
    for measure, scores in results.items():
        mean, low, high = scores.mean
        known = not np.isnan([low, high]).any()
        interval = f"[{low:.3f}, {high:.3f}]" if known else None
        found = f"{scores.discoveries(DISCOVERY)} of {len(scores.pairs)}"
        if least_discoveries(len(scores.pairs), shuffles, rate=DISCOVERY) is None:
            found = "none possible"
        chance = scores.shuffled, scores.calibrated
        rows.append([MEASURE_NAMES[measure], mean, interval, *chance, found])
    return Table("Similarity", header, rows, note=note)


def score_matrix(
    title: str,
    scores: MeasureScores,
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
) -> Matrix:
    """One measure of every pair of views; discoveries have a star."""
    of_pair = dict(zip(pairs, scores.pairs))
    of_pair |= {(b, a): score for (a, b), score in of_pair.items()}
    places = dict(enumerate(names))
    found = {pair for pair, score in of_pair.items() if score.q <= DISCOVERY}
    return cross_matrix(
        f"Similarity: {title}",
        title,
        places,
        places,
        lambda *pair: of_pair[pair].score.value if pair in of_pair else math.nan,
        marks=[["*" if (a, b) in found else "" for b in places] for a in places],
        note=f"* false discovery rate of {DISCOVERY} over all pairs.",
    )


def _discovery_note(pairs: int, shuffles: int) -> str:
    least = least_discoveries(pairs, shuffles, rate=DISCOVERY)
    if least is None:
        needed = -(-1 // exact_fraction(DISCOVERY)) - 1
        return (
            f"WARNING: {shuffles} shuffles cannot give q <= {DISCOVERY} whatever the "
            f"states; --permutations={needed} is the least."
        )
    if least == 1:
        return ""
    return (
        f"With {shuffles} shuffles q <= {DISCOVERY} needs at least {least} pairs above "
        "all of their shuffles; raise --permutations if fewer should be enough."
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
