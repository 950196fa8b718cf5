r"""A client of a provider's service: fit a map to its rows, ask its classifier.

    python -m experiments.query --workdir=runs/query --url=https://127.0.0.1:8443 \
      --token=alice.token --authority=certificates/authority.pem \
      --source=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

The provider (experiments.serve) has another model's states of the same texts, and a
classifier of these states. The client's states are encrypted here; the provider returns
the cross-covariance, from which the map is made, then one answer per text; with --index
also the nearest text in an index of that model (experiments.index). Neither side sees
the other's states or weights. WORKDIR/map holds the map; a run that was killed after
the fit does not fit again. Seconds are medians, with the central 95%.

Cost: two cores, 4,000 texts of width 768: the fit 30 seconds, a query 10 milliseconds.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shared.about import (
    BRACKETS,
    about,
    count_documents,
    short_data,
    short_model,
)
from experiments.shared.options import ExtractionOptions, TextOptions, workdir_option
from experiments.shared.service_options import ServiceOptions, choose_served
from helix_jax.artefacts import holds_artefact
from helix_jax.errors import RunError
from helix_jax.progress import bar
from helix_jax.reports import Block, Quantity, Samples, quantity_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import load_side, open_corpus, states_of, with_stores
    from helix_jax.activations import Store
    from helix_jax.alignment import AffineMap, apply_map, load_map, save_map
    from helix_jax.net import Connection
    from helix_jax.stats import bootstrap_interval
    from helix_jax.transfer.pair_fit import gcv_map

QUANTITIES = {
    "accuracy": Quantity("accuracy of the provider's classifier, %", 100, 1),
    "largest_class": Quantity("largest class of the texts, %", 100, 1),
    "query_seconds": Quantity("one query, end to end, ms", 1e3, 1),
    "fit_seconds": Quantity("the fit, end to end, s", 1, ".3g"),
    "spent_bits": Quantity("bits of the classifier that this took", 1, ",.0f"),
    "search_seconds": Quantity("one search, end to end, ms", 1e3, 1),
    "search_bits": Quantity("bits of the index that the scores took", 1, ",.0f"),
    "text_bits": Quantity("bits of its texts that were read", 1, ",.0f"),
}
SHOWN = 5


@dataclasses.dataclass(frozen=True)
class QueryConfig(ServiceOptions, TextOptions, ExtractionOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    source: str = option(
        "", "this client's model, or embeddings:FILE", names="side", required=True
    )
    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    rows: str = option("", "name of the provider's rows; empty: its only ones")
    head: str = option("", "name of the provider's classifier; empty: its only one")
    rank: int = option(0, "principal directions to fit the map in; 0: all", least=0)
    queries: int = option(0, "texts of the test split to ask about; 0: all", least=0)
    index: str = option("", "name of a provider's index to search; empty: none")
    searches: int = option(5, "texts to search for in it", least=1)


@experiment()
def compute(config: QueryConfig, run: Run) -> Report:
    """Fit, ask, score, search; see the module docstring."""
    corpus = open_corpus(config)
    with config.connect() as provider:
        served = provider.about()
        head, index = _asked(config, served)
        labels = (
            label_order(served["heads"][head].get("classes"), corpus) if head else None
        )
        side = load_side(config.source, config, layer=config.source_layer)
        states = {
            split: states_of(side, corpus, split, with_stores(config))
            for split in ("fit", "test")
        }
        affine, numbers = map_to(provider, config, run.folder / "map", states["fit"])
        count = config.queries or len(states["test"])
        x = np.asarray(apply_map(affine, states["test"].read()[:count]), np.float64)
        asked = Asked(corpus, states["test"].ids[:count], x)
        blocks: list[Block] = []
        if head:
            found, samples = classify(provider, head, asked, labels)
            numbers |= found
            blocks.append(samples)
        if index:
            found, samples = search(provider, index, asked, config.searches)
            numbers |= found
            blocks.append(samples)
    told = about(
        f"{short_model(config.source)} -> {served['name']}",
        short_data(config.data),
        f"{len(states['fit']):,} texts to fit on",
        f"{count:,} test texts",
        documents=count_documents(asked.ids) if labels is not None else None,
    )
    shown = served["heads"][head] if head else served["indexes"][index]
    note = f"Policy {shown['policy']}, profile {shown['profile']}. {BRACKETS}"
    table = quantity_table("A provider's service", numbers, QUANTITIES, note=note)
    facts = {"data/test_texts": count, "data/fit_texts": len(states["fit"])}
    answer = query_answer(numbers)
    numbers = {f"query/{name}": value for name, value in numbers.items()}
    return Report(numbers | facts, [table, *blocks], told, answer=answer)


def query_answer(numbers: Mapping[str, Any]) -> str:
    """What the service answered and how long it took, a sentence for each kind."""
    said = {name: shown.told(numbers, name) for name, shown in QUANTITIES.items()}
    sentences = []
    if "query_seconds" in numbers:
        right = f"is right on {said['accuracy']} of the texts and "
        sentences.append(
            f"The provider's classifier {right if 'accuracy' in numbers else ''}takes "
            f"{said['query_seconds']} a query."
        )
    if "search_seconds" in numbers:
        sentences.append(f"A search takes {said['search_seconds']}.")
    return " ".join(sentences)


class Asked(NamedTuple):
    """The texts to ask about.

    Attributes:
      corpus: of the texts.
      ids: [n] of the texts.
      x: [n, d] float64, their states in the provider's space.
    """

    corpus: Corpus
    ids: list[str]
    x: np.ndarray

    def labels(self) -> np.ndarray:
        """[n] int label of each text; the corpus needs labels."""
        known = {text.id: text.label for text in self.corpus.read("test")}
        return np.array([known[one] for one in self.ids])

    def texts(self, count: int) -> list[str]:
        """The first texts."""
        known = {text.id: text.text for text in self.corpus.read("test")}
        return [known[one] for one in self.ids[:count]]


def _asked(config: QueryConfig, served: dict[str, Any]) -> tuple[str, str]:
    """The classifier and the index that are asked; empty for none."""
    head = index = ""
    if config.head or not config.index or len(served["heads"]) == 1:
        head = choose_served("head", config.head, served["heads"], config.url)
    if config.index:
        index = choose_served("index", config.index, served["indexes"], config.url)
    return head, index


def map_to(
    provider: Connection, config: QueryConfig, place: Path, states: Store
) -> tuple[AffineMap, dict[str, Any]]:
    """The map in the work directory, or fitted under encryption; its seconds."""
    if holds_artefact(place):
        return load_map(place)[0], {}
    served = provider.about()["rows"]
    rows = choose_served("rows", config.rows, served, config.url)
    began = time.perf_counter()
    found = provider.fit(rows, states.read(), ids=states.ids, rank=config.rank or None)
    affine = found.expand(gcv_map(found.moments))
    seconds = time.perf_counter() - began
    save_map(
        place,
        affine,
        source=states.fingerprint,
        target=served[rows].get("fingerprint", {"rows": rows}),
        penalty=None,
        split="fit",
        confidence="it was fitted under encryption, on rows that only the provider has",
    )
    return affine, {"fit_seconds": seconds}


def classify(
    provider: Connection, head: str, asked: Asked, labels: np.ndarray | None
) -> tuple[dict[str, Any], Samples]:
    """Accuracy, seconds and bits of a classifier; its first answers.

    Args:
      provider: the service.
      head: the classifier's name.
      asked: the texts.
      labels: [C] label of each of the provider's classes; None without labels.
    """
    record = provider.about()["heads"][head]
    before = provider.account()["heads"][head]["bits"]
    found, seconds = timed(partial(provider.classify, head), asked.x, "queries")
    found = np.stack(found)
    chosen = found if found.ndim == 1 else found.argmax(axis=1)
    numbers = {
        "query_seconds": seconds,
        "spent_bits": provider.account()["heads"][head]["bits"] - before,
    }
    if labels is not None:
        truth = asked.labels()
        documents = [document_of(one) for one in asked.ids]
        numbers["accuracy"] = bootstrap_interval(labels[chosen] == truth, documents)
        numbers["largest_class"] = np.bincount(truth).max() / len(truth)
    names = record.get("classes") or [str(i) for i in range(record["results"])]
    shown = zip(asked.texts(SHOWN), chosen)
    samples = [{"text": text[:200], "answer": names[int(one)]} for text, one in shown]
    return numbers, Samples("First answers", samples)


def search(
    provider: Connection, index: str, asked: Asked, count: int
) -> tuple[dict[str, Any], Samples]:
    """Seconds of searches, and the text of each one's best hit."""
    before = provider.account()["indexes"][index]
    hits, seconds = timed(partial(provider.search, index), asked.x[:count], "searches")
    samples = []
    for text, best in zip(asked.texts(count), hits):
        found = provider.read(index, best[0])
        samples.append({"text": text[:200], "found": f"{found.id}: {found.text[:200]}"})
    after = provider.account()["indexes"][index]
    numbers = {
        "search_seconds": seconds,
        "search_bits": after["bits"] - before["bits"],
        "text_bits": after["text_bits"] - before["text_bits"],
    }
    return numbers, Samples("Best hits", samples)


def timed(
    ask: Callable[[np.ndarray], Any], x: np.ndarray, what: str
) -> tuple[list[Any], Interval]:
    """Answers to rows, asked one by one, and seconds of each but the first."""
    found, seconds = [], []
    for row in bar(x, what):
        began = time.perf_counter()
        found.append(ask(row))
        seconds.append(time.perf_counter() - began)
    return found, Interval(*np.quantile(seconds[1:] or seconds, [0.5, 0.025, 0.975]))


def label_order(classes: Any, corpus: Corpus) -> np.ndarray | None:
    """[C] label of the corpus for each of the provider's classes; None without any.

    Raises:
      RunError: the corpus has classes that the provider lacks.
    """
    if not classes or not corpus.classes:
        return None
    missing = sorted(set(corpus.classes) - set(classes))
    if missing:
        raise RunError(
            f"the provider's classes are {', '.join(classes)}; the corpus also has "
            f"{', '.join(missing)}: use a corpus of the same classes."
        )
    known = {name: label for label, name in enumerate(corpus.classes)}
    return np.array([known.get(name, -1) for name in classes])


run = compute.run

if __name__ == "__main__":
    compute.main()
