"""What the experiments share: flags of two sides, and their stores of states.

A side is a model (folder or hub id), whose states are extracted to a store, or
`embeddings:FILE`, embeddings made elsewhere.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.inputs import LEAST_TEXTS, naming, require_texts
from helix_jax.activations import Pair, Store, extract, join, load_embeddings
from helix_jax.activations.pooling import POOLINGS
from helix_jax.errors import CorpusError, RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.models import Model, load_model, load_tokenizer, model_name
from helix_jax.models.checkpoint import DTYPES
from helix_jax.progress import stage
from helix_jax.runs import option
from helix_jax.runs.prepare import IMPORTED
from helix_jax.text.corpora import load_corpus
from helix_jax.text.corpus import Corpus, require_labels
from helix_jax.types import Text

TEXT_POOLINGS = tuple(one for one in POOLINGS if one != "token")
SIDE = "embedded model by name, model folder, hub id, or embeddings:FILE"


def workdir_option(help_text: str = "work directory") -> Any:
    """The field of the folder that a run writes to."""
    return option("", help_text, names="workdir", required=True)


def models_option() -> Any:
    """The field of models that are compared with each other."""
    return option(
        (),
        "two or more: embedded by name, folders, hub ids, embeddings:FILE",
        names="side",
        required=True,
        tiny=("pebble-llama", "pebble-neox"),
    )


def seed_option(help_text: str) -> Any:
    """The field of a seed, which is a 32-bit number."""
    return option(0, help_text, least=0, most=2**32 - 1)


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Flags that name a corpus and its columns."""

    data: str = option(
        "docstrings", "corpus by name, file or folder", names="corpora", required=True
    )
    text_column: str = option("", "column of the text; empty: a customary name")
    pair_column: str = option("", "column of the second text of a pair")
    label_column: str = option("", "column of the label")
    id_column: str = option("", "column of unique ids")
    limit: int = option(
        0, "texts of the corpus to use, chosen by hash; 0: all", least=0
    )


@dataclasses.dataclass(frozen=True)
class ExtractionOptions:
    """Flags that say which states of a text are taken."""

    pooling: str = option("mean", "over the tokens", choices=TEXT_POOLINGS)
    final_norm: bool = option(True, "take states after the model's final norm")
    max_tokens: int = option(
        512, "longer texts lose their end, and are counted", least=1
    )
    dtype: str = option("float32", "of the weights", choices=DTYPES)
    token_budget: int = option(0, "tokens a batch, padding included; 0: found", least=0)
    stores: str = option(
        "", "folder or URL of activation stores; empty: in --workdir", names="place"
    )


@dataclasses.dataclass(frozen=True)
class PairOptions(TextOptions, ExtractionOptions):
    """Flags of two sides."""

    workdir: str = workdir_option()
    source: str = option("", SIDE, names="side", required=True, tiny="pebble-llama")
    target: str = option("", SIDE, names="side", required=True, tiny="pebble-neox")
    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    target_layer: int = option(-1, "0 is the embedding, -1 the last")


@dataclasses.dataclass(frozen=True)
class PlantedOptions(PairOptions):
    """Flags of two sides for which made-up rows stand where neither is named."""

    source: str = option("", f"{SIDE}; empty: made-up rows", names="side")
    target: str = option("", f"{SIDE}; empty: made-up rows", names="side")


def require_both_sides(config: PairOptions) -> None:
    """Raise where one side is named and the other is not, or a corpus without them."""
    named = [one for one in ("source", "target") if getattr(config, one)]
    if len(named) == 1:
        (missing,) = {"source", "target"} - set(named)
        raise RunError(
            f"--{named[0]} is given and --{missing} is not; give both, or neither for "
            "what stands in for them."
        )
    if not named and config.data != type(config).data:
        raise RunError(
            f"--data={config.data} is given without --source and --target, and what "
            "stands in for them is no states of texts; give both, or no --data."
        )


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
        with stage(f"reading {name}"):
            store = load_embeddings(name.removeprefix(IMPORTED))
        return Side(name, (0,), None, None, store)
    with stage(f"loading {model_name(name)}"):
        model, tokenizer = load_model(name, dtype=options.dtype), load_tokenizer(name)
    return Side(model_name(name), (layer,), model, tokenizer, None)


def require_distinct(who: str, flag: str, names: list[str]) -> None:
    """Raise unless there are two names, which results stand under, and all differ."""
    if len(names) < 2:
        raise RunError(f"{who}: --{flag} needs two or more names, got {names}.")
    if len(set(names)) < len(names):
        raise RunError(f"{who}: --{flag} must have different names, got {names}.")


def open_corpus(
    options: TextOptions,
    name: str | None = None,
    *,
    least: Mapping[str, int] = LEAST_TEXTS,
    labelled: bool = False,
) -> Corpus:
    """The corpus of the flags; columns are for --data only, not for another name.

    Args:
      options: flags.
      name: another corpus than --data.
      least: split -> texts without which what comes later would fail.
      labelled: whether --data needs classes.

    Raises:
      CorpusError: no such corpus.
      RunError: too few texts; says how many would do.
    """
    limit = options.limit or None
    with stage(f"reading {name or options.data}"):
        if name is not None:
            corpus = load_corpus(name, limit=limit)
            require_texts(corpus, name, least)
            return corpus
        corpus = load_corpus(
            options.data,
            text_column=options.text_column or None,
            pair_column=options.pair_column or None,
            label_column=options.label_column or None,
            id_column=options.id_column or None,
            limit=limit,
        )
        if labelled:
            require_labels(corpus)
        require_texts(corpus, f"--data={options.data}", least)
        return corpus


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
    place = folder_name(f"{side.name.replace('/', '--')}-{corpus.name}-{split}")
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


def folder_name(name: str) -> str:
    """A name as the beginning of a folder's, here or in a URL; ordinary ones stay.

    What tells two of one name apart, a fingerprint, is written behind it.
    """
    # These have a meaning in a URL; a folder's name has 255 bytes at most.
    safe = re.sub(r"[%#?|]", "_", name)
    return safe.encode()[:200].decode(errors="ignore")


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
    sides = []
    for flag in ("source", "target"):
        with naming(flag):
            layer = getattr(config, f"{flag}_layer")
            sides.append(load_side(getattr(config, flag), config, layer=layer))
    return tuple(sides)


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
