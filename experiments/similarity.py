r"""How alike the states of several models are, layer by layer, against chance.

    python -m experiments.similarity --workdir=runs/cka --models=A,B,C \
      --layers=0,-1 --measures=all --data=NAME_FILE_OR_FOLDER

Every model is run once for all its layers. Each pair of layers of different models is
scored on the test split: by CKA, RSA and nearest neighbours of the same rows; by CCA,
Procrustes, linear maps and cosines fitted on the fit split (penalties on the select
split); and, where texts have labels, by what a probe of the second model's states reads
from the first one's mapped states (agreement, divergence).

Beside each score stand its mean over shuffled pairs (`_shuffled`), its place between
chance and the best value (`_calibrated`), z, p, and q, which controls the false
discovery rate over all pairs. `similarity/MEASURE_mean` is over pairs. Intervals of it
and of each pair come from leaving out documents in 20 groups, or for means over rows
(cosine, agreement, divergence) from the document bootstrap.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

from experiments.shared.about import about, short_data, show, show_saved
from experiments.shared.names import MEASURE_NAMES
from experiments.shared.options import (
    ExtractionOptions,
    TextOptions,
    layers_option,
    models_option,
    require_distinct,
    seed_option,
    workdir_option,
)
from experiments.shared.sides import load_side, open_corpus, states_of, with_stores
from experiments.similarity_scores import (
    DISCOVERY,
    HEADS,
    MEASURES,
    SPLITS,
    View,
    score_all,
    summarise,
)
from helix_jax.activations import Store, join
from helix_jax.errors import RunError
from helix_jax.models import model_name, resolve_layers
from helix_jax.reports import Block, Matrix, Table
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs, naming
from helix_jax.runs.program import start_program
from helix_jax.stats import exact_fraction
from helix_jax.text.hashing import document_of, hashed_order

TINY_SHUFFLES = 59  # the least by which one of three pairs can be a discovery


@dataclasses.dataclass(frozen=True)
class SimilarityConfig(TextOptions, ExtractionOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    models: tuple[str, ...] = models_option()
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
        "all, or some",
        choices=("all", *MEASURES),
        required=True,
    )
    permutations: int = option(100, "shuffles of the nulls", least=1)
    rows: int = option(2000, "test texts to use, chosen by hash; 0: all", least=0)
    fit_rows: int = option(10_000, "fit texts to use, chosen by hash; 0: all", least=0)
    rank: int = option(
        0, "principal directions of svcca, pwcca, procrustes; 0: found", least=0
    )
    neighbours: int = option(10, "of mutual_knn and cknna", least=1)
    seed: int = seed_option("of the shuffles and the groups of documents")
    tiny: bool = option(
        False, f"400 texts, 64 tokens each at most, {TINY_SHUFFLES} shuffles"
    )


def run(config: SimilarityConfig) -> dict[str, float]:
    """Compare every pair; see the module docstring."""
    config = prepare_config(
        config,
        tiny={
            "limit": 400,
            "max_tokens": 64,
            "permutations": TINY_SHUFFLES,
            "neighbours": 5,
        },
    )
    measures = MEASURES if "all" in config.measures else config.measures
    require_distinct("models", list(map(model_name, config.models)))
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    views, store = read_views(config)
    pairs = [
        (i, j)
        for (i, a), (j, b) in itertools.combinations(enumerate(views), 2)
        if a.model != b.model
    ]
    if not all((store[split].labels >= 0).all() for split in SPLITS):
        if set(HEADS) & set(config.measures):
            raise RunError(
                f"similarity: --measures={','.join(HEADS)} need labels, and "
                f"{config.data} has none; --label_column names theirs."
            )
        measures = [name for name in measures if name not in HEADS]
    documents = [document_of(one) for one in store["test"].ids]
    scores = score_all(
        views,
        pairs,
        measures,
        store,
        documents,
        rank=config.rank,
        neighbours=config.neighbours,
        permutations=config.permutations,
        seed=config.seed,
    )
    names = [f"{views[a].name}/{views[b].name}" for a, b in pairs]
    summary = summarise(scores, names, documents)
    summary |= {f"data/{split}_texts": len(store[split].ids) for split in SPLITS}
    summary |= {
        "data/test_documents": len(set(documents)),
        "similarity/permutations": config.permutations,
    }
    blocks = result_blocks(summary, views, measures, names)
    show(directory, blocks, _about(config, views, summary))
    return finish_run(directory, summary)


def _about(
    config: SimilarityConfig, views: list[View], summary: dict[str, float]
) -> str:
    documents = summary["data/test_documents"]
    return about(
        ", ".join(view.name for view in views),
        short_data(config.data),
        f"{summary['data/fit_texts']:,} texts to fit on",
        f"{summary['data/test_texts']:,} to test on (of {documents:,} documents)",
        documents=documents,
    )


def read_views(config: SimilarityConfig) -> tuple[list[View], dict[str, Store]]:
    """The rows of every layer of every model; the stores of the first, for ids."""
    options = with_stores(config)
    corpus = open_corpus(config)
    limits = {"fit": config.fit_rows, "select": config.rows, "test": config.rows}
    rows = min(corpus.counts["test"], config.rows or corpus.counts["test"])
    if {"all", "mutual_knn", "cknna"} & set(config.measures) and (
        config.neighbours >= rows
    ):
        raise RunError(
            f"--neighbours={config.neighbours} must be below the {rows} texts of the "
            "test split that are used; lower it, or use more texts."
        )
    views, first = [], {}
    for name in config.models:
        with naming("models"):
            side = load_side(name, options)
        if side.model is not None:
            layers = resolve_layers(side.model.spec, config.layers)
            side = side._replace(layers=tuple(sorted(set(layers))))
        stores = {}
        for split in SPLITS:
            store = states_of(side, corpus, split, options)
            join(first.get(split, store), store)
            chosen = chosen_rows(store.ids, limits[split])
            first.setdefault(split, store)
            stores[split] = store.select(chosen)
        for layer in stores["fit"].layers:
            own = side.name if len(side.layers) == 1 else f"{side.name}@{layer}"
            rows = {split: stores[split].read(layer) for split in SPLITS}
            views.append(View(own, side.name, rows))
    limited = {
        split: store.select(chosen_rows(store.ids, limits[split]))
        for split, store in first.items()
    }
    return views, limited


def chosen_rows(ids: list[str], limit: int) -> np.ndarray:
    """Rows of the `limit` ids of smallest hash, in order; all for 0."""
    if not limit or limit >= len(ids):
        return np.arange(len(ids))
    return np.sort(hashed_order(ids, salt="similarity")[:limit])


MEAN_HEADER = (
    "measure",
    "mean over pairs",
    "95% interval",
    "shuffled pairs",
    "calibrated",
    f"pairs with q <= {DISCOVERY}",
)


def mean_rows(summary: dict[str, float], measures: Any) -> list[list[object]]:
    """A row for each measure, under MEAN_HEADER."""
    rows = []
    for measure in measures:
        start = f"similarity/{measure}"
        low, high = (summary[f"{start}_mean_{end}"] for end in ("low", "high"))
        found = f"{summary[f'{start}_discoveries']} of {summary['similarity/pairs']}"
        if least_discoveries(summary) is None:
            found = "none possible"
        others = [summary[f"{start}_{end}"] for end in ("shuffled", "calibrated")]
        known = low == low and high == high  # of NaN there is no interval
        interval = f"[{low:.3f}, {high:.3f}]" if known else None
        mean = summary[f"{start}_mean"]
        rows.append([MEASURE_NAMES[measure], mean, interval, *others, found])
    return rows


def least_discoveries(summary: dict[str, float]) -> int | None:
    """How many pairs at the least p-value, 1 / (1 + shuffles), are discoveries.

    m pairs, of which k have it: q = m / (k (1 + shuffles)). None where m are too few.
    """
    pairs, shuffles = (
        int(summary[f"similarity/{name}"]) for name in ("pairs", "permutations")
    )
    least = -(-pairs // (exact_fraction(DISCOVERY) * (1 + shuffles)))
    return int(least) if least <= pairs else None


def _discovery_note(summary: dict[str, float]) -> str:
    least, shuffles = least_discoveries(summary), summary["similarity/permutations"]
    if least is None:
        needed = -(-1 // exact_fraction(DISCOVERY)) - 1
        return (
            f"WARNING: {shuffles} shuffles cannot give q <= {DISCOVERY} whatever the "
            f"states; --permutations={needed} is the least."
        )
    if least == 1:
        return ""
    return (
        f"With {shuffles} shuffles q <= {DISCOVERY} takes {least} pairs or more above "
        "all of them; raise --permutations to find fewer."
    )


def result_blocks(
    summary: dict[str, float], views: list[View], measures: Any, names: list[str]
) -> list[Block]:
    """The means, every pair, and a matrix of views for each measure."""
    note = (
        "Shuffled: the mean over shuffled pairs. Calibrated: 0 is chance, 1 the best. "
        "q: false discovery rate over all pairs. Intervals: 95%, from leaving out "
        "documents in 20 groups; of means over rows (cosine, agreement, divergence) "
        f"from the document bootstrap. {_discovery_note(summary)}"
    )
    blocks: list[Block] = [
        Table("Similarity", MEAN_HEADER, mean_rows(summary, measures), note=note)
    ]
    endings = ("", "_low", "_high", "_shuffled", "_calibrated", "_z", "_p", "_q")
    rows = [
        [
            name.replace("/", " - "),
            MEASURE_NAMES[measure],
            *(summary[f"similarity/{name}/{measure}{e}"] for e in endings),
        ]
        for measure in measures
        for name in names
    ]
    header = [
        "pair",
        "measure",
        "score",
        "95% from",
        "95% to",
        "shuffled pairs",
        "calibrated",
        "z",
        "p",
        "q",
    ]
    blocks.append(Table("Similarity of every pair", header, rows, note=note))
    own = [view.name for view in views]
    for measure in measures:
        values = np.full((len(own), len(own)), np.nan)
        marks = np.full(values.shape, "", object)
        for (i, a), (j, b) in itertools.permutations(enumerate(own), 2):
            pair = f"{a}/{b}" if i < j else f"{b}/{a}"
            values[i, j] = summary.get(f"similarity/{pair}/{measure}", np.nan)
            q = summary.get(f"similarity/{pair}/{measure}_q", 1.0)
            marks[i, j] = "*" if q <= DISCOVERY else ""
        blocks.append(
            Matrix(
                f"Similarity: {MEASURE_NAMES[measure]}",
                MEASURE_NAMES[measure],
                own,
                own,
                values.tolist(),
                marks=marks.tolist(),
                limits=(0.0, 1.0),
                note=f"* false discovery rate of {DISCOVERY} over all pairs.",
            )
        )
    return blocks


if __name__ == "__main__":
    start_program(SimilarityConfig, run)
