"""What the experiments share: flags of two sides, and their stores of states.

A side is a model (folder or hub id), whose states are extracted to a store, or
`embeddings:FILE`, embeddings made elsewhere.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.activations import Pair, Store, extract, join, load_embeddings
from helix_jax.errors import CorpusError, RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.models import Model, load_model, load_tokenizer, model_name
from helix_jax.runs import option
from helix_jax.text.corpora import load_corpus
from helix_jax.text.corpus import Corpus
from helix_jax.types import Text

IMPORTED = "embeddings:"


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Flags that name a corpus and its columns."""

    data: str = option("docstrings", "corpus by name, file or folder")
    text_column: str = option("", "column of the text; empty: a customary name")
    pair_column: str = option("", "column of the second text of a pair")
    label_column: str = option("", "column of the label")
    id_column: str = option("", "column of unique ids")
    limit: int = option(0, "texts of the corpus to use, chosen by hash; 0: all")


@dataclasses.dataclass(frozen=True)
class ExtractionOptions:
    """Flags that say which states of a text are taken."""

    pooling: str = option("mean", "mean, last, cls or weighted_mean over the tokens")
    final_norm: bool = option(True, "take states after the model's final norm")
    max_tokens: int = option(512, "longer texts lose their end, and are counted")
    dtype: str = option("float32", "of the weights: float32, bfloat16 or float16")
    token_budget: int = option(0, "tokens a batch, padding included; 0: found")
    stores: str = option("", "folder or URL of activation stores; empty: in --workdir")


@dataclasses.dataclass(frozen=True)
class PairOptions(TextOptions, ExtractionOptions):
    """Flags of two sides."""

    workdir: str = option("", "work directory")
    source: str = option("", "model folder, hub id, or embeddings:FILE")
    target: str = option("", "model folder, hub id, or embeddings:FILE")
    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    target_layer: int = option(-1, "0 is the embedding, -1 the last")


class Side(NamedTuple):
    """A model that is ready to be run, or embeddings made elsewhere."""

    name: str
    layers: tuple[int, ...]
    model: Model | None
    tokenizer: Any | None
    imported: Store | None


def load_side(name: str, options: ExtractionOptions, *, layer: int = -1) -> Side:
    """Load a model and its tokenizer, or open a file of embeddings."""
    if name.startswith(IMPORTED):
        store = load_embeddings(name.removeprefix(IMPORTED))
        return Side(name, (0,), None, None, store)
    return Side(
        model_name(name),
        (layer,),
        load_model(name, dtype=options.dtype),
        load_tokenizer(name),
        None,
    )


def require_distinct(who: str, flag: str, names: list[str]) -> None:
    """Raise unless all names, which results stand under, differ."""
    if len(set(names)) < len(names):
        raise RunError(f"{who}: --{flag} must have different names, got {names}.")


def open_corpus(options: TextOptions, name: str | None = None) -> Corpus:
    """The corpus of the flags; columns are for --data only, not for another name."""
    limit = options.limit or None
    if name is not None:
        return load_corpus(name, limit=limit)
    return load_corpus(
        options.data,
        text_column=options.text_column or None,
        pair_column=options.pair_column or None,
        label_column=options.label_column or None,
        id_column=options.id_column or None,
        limit=limit,
    )


def states_of(
    side: Side,
    corpus: Corpus,
    split: str,
    options: ExtractionOptions,
    *,
    keep: Callable[[Text], bool] | None = None,
) -> Store:
    """The store of one side on one split of a corpus, extracted where it is missing.

    Args:
      side: from `load_side`.
      corpus: the texts.
      split: "fit", "select" or "test".
      options: extraction flags; `stores` must be set.
      keep: which texts to take; None for all. All are extracted, so that one store
        serves whatever is left out of it.

    Returns:
      Store. Embeddings made elsewhere are looked up by text id, and the labels of the
      corpus are given to them.

    Raises:
      CorpusError: an import lacks ids of the corpus.
    """
    if side.imported is not None:
        texts = [one for one in corpus.read(split) if keep is None or keep(one)]
        return _rows_of_import(side.imported, texts, corpus.name, split)
    record = {**corpus.fingerprint, "split": split}
    settings = {
        "layers": side.layers,
        "pooling": options.pooling,
        "final_norm": options.final_norm,
        "max_tokens": options.max_tokens,
        "dtype": options.dtype,
        "text": record,
        "weights": side.model.fingerprint["weights"],
    }
    place = f"{side.name.replace('/', '--')}-{corpus.name}-{split}"
    store = extract(
        side.model,
        side.tokenizer,
        corpus.read(split),
        f"{options.stores}/{place}-{fingerprint(settings)}",
        layers=side.layers,
        final_norm=options.final_norm,
        pooling=options.pooling,
        max_tokens=options.max_tokens,
        token_budget=options.token_budget or "auto",
        text_fingerprint=record,
        total=corpus.counts[split],
    )
    if keep is None:
        return store
    kept = {one.id for one in corpus.read(split) if keep(one)}
    return store.select(np.array([index in kept for index in store.ids], bool))


def paired_states(
    source: Side, target: Side, corpus: Corpus, split: str, options: Any, **kwargs: Any
) -> Pair:
    """Both sides' stores of one split, joined by text id."""
    return join(
        states_of(source, corpus, split, options, **kwargs),
        states_of(target, corpus, split, options, **kwargs),
    )


def load_sides(config: PairOptions) -> tuple[Side, Side]:
    """Source and target of the flags."""
    return (
        load_side(config.source, config, layer=config.source_layer),
        load_side(config.target, config, layer=config.target_layer),
    )


def pair_splits(
    config: PairOptions, corpus: Corpus, splits: tuple[str, ...]
) -> dict[str, Pair]:
    """Both sides' stores of some splits, joined by text id."""
    sides, options = load_sides(config), with_stores(config)
    return {split: paired_states(*sides, corpus, split, options) for split in splits}


def with_stores(options: Any) -> Any:
    """The options with --stores filled in."""
    if options.stores:
        return options
    return dataclasses.replace(options, stores=str(Path(options.workdir) / "stores"))


def _rows_of_import(store: Store, texts: list[Text], corpus: str, split: str) -> Store:
    places = {own: row for row, own in enumerate(store.ids)}
    missing = [text.id for text in texts if text.id not in places]
    if missing:
        raise CorpusError(
            f"{store.name} lacks {len(missing)} of {len(texts)} texts of {corpus} "
            f"({split}), first {missing[0]!r}; it begins with {store.ids[0]!r}. Embed "
            "every text of the corpus under its id (--id_column names the ids)."
        )
    view = store.select(np.array([places[text.id] for text in texts], np.int64))
    labels = store.text_labels.copy()
    for text in texts:
        labels[places[text.id]] = -1 if text.label is None else text.label
    return dataclasses.replace(view, text_labels=labels)
