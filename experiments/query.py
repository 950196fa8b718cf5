r"""A client of a provider's service: fit a map to its rows, ask its classifier.

    python -m experiments.query --workdir=runs/query --url=https://127.0.0.1:8443 \
      --token=alice.token --authority=certificates/authority.pem \
      --source=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

The provider (experiments.serve) has rows of the same texts, states of another model,
and a classifier of that model's states. The client's states are encrypted here; what
comes back is the cross-covariance, of which the map is made, then one answer a text.
Neither side sees the other's states or weights. WORKDIR/map holds the map; a run that
was killed after the fit does not fit again. Seconds are medians, with the middle 95%.

Cost: two cores, 4,000 texts of width 768: the fit 30 seconds, a query 10 milliseconds.
"""

import dataclasses
import time
from typing import Any

import numpy as np

from experiments.shared.about import (
    BRACKETS,
    about,
    count_documents,
    short_data,
    short_model,
)
from experiments.shared.options import (
    ExtractionOptions,
    TextOptions,
    seed_option,
    workdir_option,
)
from experiments.shared.service_options import ServiceOptions, choose_served
from experiments.shared.sides import load_side, open_corpus, states_of, with_stores
from helix_jax.activations import Store
from helix_jax.alignment import AffineMap, apply_map, load_map, save_map
from helix_jax.artefacts import holds_artefact
from helix_jax.errors import RunError
from helix_jax.net import Connection
from helix_jax.progress import bar
from helix_jax.reports import Quantity, Samples, quantity_table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of
from helix_jax.transfer.pair_fit import gcv_map

QUANTITIES = {
    "accuracy": Quantity("accuracy of the provider's classifier, %", 100, 1),
    "largest_class": Quantity("largest class of the texts, %", 100, 1),
    "query_seconds": Quantity("one query, end to end, ms", 1e3, 1),
    "fit_seconds": Quantity("the fit, end to end, s", 1, ".3g"),
    "spent_bits": Quantity("bits of the classifier that this took", 1, ",.0f"),
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
    rank: int = option(
        0, "principal directions that the map is fitted in; 0: all", least=0
    )
    queries: int = option(0, "texts of the test split to ask about; 0: all", least=0)
    seed: int = seed_option("of the bootstrap")


@experiment()
def compute(config: QueryConfig, run: Run) -> Report:
    """Fit, ask, score; see the module docstring."""
    corpus = open_corpus(config)
    with config.connect() as provider:
        served = provider.about()
        head = choose_served("head", config.head, served["heads"], config.url)
        record = served["heads"][head]
        labels = label_order(record.get("classes"), corpus)
        side = load_side(config.source, config, layer=config.source_layer)
        options = with_stores(config)
        states = {
            split: states_of(side, corpus, split, options) for split in ("fit", "test")
        }
        numbers: dict[str, float | Interval] = {}
        place = run.folder / "map"
        if holds_artefact(place):
            affine, _ = load_map(place)
        else:
            name = choose_served("rows", config.rows, served["rows"], config.url)
            began = time.perf_counter()
            affine = fit(provider, name, states["fit"], rank=config.rank or None)
            numbers["fit_seconds"] = time.perf_counter() - began
            save_map(
                place,
                affine,
                source=states["fit"].fingerprint,
                target=served["rows"][name].get("fingerprint", {"rows": name}),
                penalty=None,
                split="fit",
            )
        count = config.queries or len(states["test"])
        x = np.asarray(apply_map(affine, states["test"].read()[:count]), np.float64)
        before = provider.account()["heads"][head]["bits"]
        found, seconds = ask_each(provider, head, x)
        spent = provider.account()["heads"][head]["bits"] - before
    chosen = found if found.ndim == 1 else found.argmax(axis=1)
    numbers["query_seconds"] = Interval(*np.quantile(seconds, [0.5, 0.025, 0.975]))
    numbers["spent_bits"] = spent
    ids = states["test"].ids[:count]
    documents = [document_of(one) for one in ids]
    truth = np.asarray(states["test"].text_labels)[:count]
    if labels is not None:
        right = labels[chosen] == truth
        numbers["accuracy"] = bootstrap_interval(right, documents)
        numbers["largest_class"] = np.bincount(truth).max() / len(truth)
    told = about(
        f"{short_model(config.source)} -> {head} of {served['name']}",
        short_data(config.data),
        f"{len(states['fit']):,} texts to fit on",
        f"{count:,} test texts",
        documents=count_documents(ids) if labels is not None else None,
    )
    note = f"Policy {record['policy']}, profile {record['profile']}. {BRACKETS}"
    names = record.get("classes") or [str(i) for i in range(record["results"])]
    texts = {text.id: text.text for text in corpus.read("test")}
    samples = [
        {"text": texts[one][:200], "answer": names[int(label)]}
        for one, label in list(zip(ids, chosen))[:SHOWN]
    ]
    return Report(
        {f"query/{name}": value for name, value in numbers.items()}
        | {"data/test_texts": count, "data/fit_texts": len(states["fit"])},
        [
            quantity_table("A provider's classifier", numbers, QUANTITIES, note=note),
            Samples("First answers", samples),
        ],
        told,
    )


def label_order(classes: Any, corpus: Corpus) -> np.ndarray | None:
    """[C] label of the corpus for each of the provider's classes; None without any.

    Raises:
      RunError: their names are not those of the corpus.
    """
    if not classes or not corpus.classes:
        return None
    missing = sorted(set(corpus.classes) - set(classes))
    if missing:
        raise RunError(
            f"the provider's classes are {', '.join(classes)}; the corpus has "
            f"{', '.join(missing)}, too: take a corpus of the same classes."
        )
    known = {name: label for label, name in enumerate(corpus.classes)}
    return np.array([known.get(name, -1) for name in classes])


def fit(
    provider: Connection, rows: str, states: Store, *, rank: int | None
) -> AffineMap:
    """The map to the provider's rows, fitted under encryption."""
    found = provider.fit(rows, states.read(), ids=states.ids, rank=rank)
    return found.expand(gcv_map(found.moments))


def ask_each(
    provider: Connection, head: str, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Answers to rows, one query each, and seconds of each but the first."""
    found, seconds = [], []
    for row in bar(x, "queries"):
        began = time.perf_counter()
        found.append(provider.classify(head, row))
        seconds.append(time.perf_counter() - began)
    return np.stack(found), np.array(seconds[1:] or seconds)


run = compute.run

if __name__ == "__main__":
    compute.main()
