"""The two sides that flags name, and their stores of states.

A side is a model (folder or hub id), whose states are extracted to a store, or
`embeddings:FILE`: embeddings made elsewhere, or states captured there (a .json).
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shared.options import (
    ExtractionOptions,
    ModelsOptions,
    PairOptions,
    TextOptions,
)
from helix_jax.activations import (
    Pair,
    PairStream,
    Store,
    extract,
    join,
    load_captured,
    load_embeddings,
)
from helix_jax.activations.captured import is_captured
from helix_jax.activations.embeddings import select_texts
from helix_jax.activations.extractor import make_extractor
from helix_jax.activations.recipe import recipe_of, width_after
from helix_jax.errors import RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.models import (
    Model,
    chosen_layers,
    load_tokenizer,
    model_name,
    resolve_layers,
)
from helix_jax.models.engines import load_model_by
from helix_jax.models.torch_engine import TorchModel
from helix_jax.processes import current
from helix_jax.progress import stage
from helix_jax.runs.inputs import (
    captured_flags,
    check_inputs,
    extraction_of,
    naming,
    side_recipe,
)
from helix_jax.runs.prepare import IMPORTED
from helix_jax.text.corpora import load_corpus
from helix_jax.text.corpus import LEAST_TEXTS, Corpus, require_labels, require_texts
from helix_jax.text.hashing import SPLITS, content_key
from helix_jax.types import Text


class Side(NamedTuple):
    """A loaded model, or embeddings made elsewhere."""

    name: str
    layers: tuple[int, ...]
    model: Model | TorchModel | None
    tokenizer: Any | None
    imported: Store | None


def load_side(name: str, options: ExtractionOptions, *, layer: int = -1) -> Side:
    """Load a model and its tokenizer, or open a file of embeddings."""
    if name.startswith(IMPORTED):
        file = name.removeprefix(IMPORTED)
        with stage(f"reading {name}"):
            if is_captured(file):
                store = load_captured(file, **captured_flags(options, layer))
            else:
                store = load_embeddings(file)
        return Side(name, store.layers, None, None, store)
    with stage(f"loading {model_name(name)}"):
        model = load_model_by(
            options.engine, name, dtype=options.dtype, mesh=options.mesh
        )
        tokenizer = load_tokenizer(name)
    return Side(model_name(name), (layer,), model, tokenizer, None)


def row_width(config: PairOptions, flag: str) -> int | None:
    """The width of a side's rows, before its weights are read.

    Args:
      config: flags of two sides.
      flag: "source" or "target".

    Returns:
      The width; None for embeddings made elsewhere, which must be read first.
    """
    name, layer = getattr(config, flag), getattr(config, f"{flag}_layer")
    spec = check_inputs(config)[name]
    if spec is None:
        return None
    return width_after(spec.width, side_recipe(config, name, spec, layer).steps)


def open_corpus(
    options: TextOptions,
    name: str | None = None,
    *,
    least: Mapping[str, int] = LEAST_TEXTS,
    labelled: bool = False,
) -> Corpus:
    """The corpus of the flags; flags of columns apply to --data only.

    Args:
      options: flags.
      name: corpus instead of --data.
      least: split -> number of texts that later steps need.
      labelled: whether --data needs classes.

    Raises:
      CorpusError: there is no such corpus.
      RunError: there are too few texts; says how many are enough.
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
    """The store of one side on one split of a corpus, extracted if it is missing.

    Args:
      side: from `load_side`.
      corpus: the texts.
      split: "fit", "select" or "test".
      options: extraction flags; `stores` must be set.
      keep: which texts to take; None: all. All are extracted, so that one store serves
        every selection.

    Returns:
      The store. Embeddings made elsewhere are found by text id and get the labels of
      the corpus.

    Raises:
      CorpusError: embeddings made elsewhere lack ids of the corpus.
    """
    if side.imported is not None:
        texts = [text for text in corpus.read(split) if keep is None or keep(text)]
        return select_texts(side.imported, texts, of=f"{corpus.name} ({split})")
    record = {**corpus.fingerprint, "split": split}
    layers = chosen_layers(side.model.spec, side.layers)  # one store for -1 and L
    wanted = extraction_of(options, layers)
    recipe = recipe_of(side.model, wanted)
    settings = {
        "layers": layers,
        "pooling": recipe.pooling,
        "final_norm": options.final_norm,
        "max_tokens": recipe.max_tokens,
        "dtype": options.dtype,
        "text": record,
        "weights": side.model.fingerprint["weights"],
        **recipe.record,
    }
    if "engine" in side.model.fingerprint:
        settings["engine"] = side.model.fingerprint["engine"]
    place = folder_name(f"{side.name.replace('/', '--')}-{corpus.name}-{split}")
    store = extract(
        side.model,
        side.tokenizer,
        corpus.read(split),
        f"{options.stores}/{place}-{fingerprint(settings)}",
        wanted,
        text_fingerprint=record,
        total=corpus.counts[split],
        processes=current(),
    )
    if keep is None:
        return store
    kept = {text.id for text in corpus.read(split) if keep(text)}
    return store.select(np.array([text_id in kept for text_id in store.ids], bool))


def stream_splits(config: PairOptions, corpus: Corpus) -> dict[str, PairStream]:
    """Both sides' states of every split, computed as they are read: --stores=none.

    Raises:
      RunError: a side is not a model.
    """
    sides = load_sides(config)
    for flag, side in zip(("source", "target"), sides):
        if side.imported is not None:
            raise RunError(
                f"--{flag}={getattr(config, flag)} has its rows already, and "
                "--stores=none is for states that are computed; leave out --stores."
            )
    streams = {}
    for split in SPLITS:
        x, y = (
            make_extractor(
                side.model,
                side.tokenizer,
                extraction_of(config, resolve_layers(side.model.spec, side.layers)),
                text_fingerprint={**corpus.fingerprint, "split": split},
            )
            for side in sides
        )
        folder, total = Path(config.workdir) / "streamed", corpus.counts[split]
        read = functools.partial(corpus.read, split)
        streams[split] = PairStream(x, y, read, folder, total, current())
    return streams


def folder_name(name: str) -> str:
    """A name that can begin a folder's name, here or in a URL; ordinary names stay.

    A fingerprint is appended to it, which tells equal names apart.
    """
    # These have a meaning in a URL; the name of a folder has at most 255 bytes.
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


def stores_of_models(
    config: ModelsOptions, corpus: Corpus
) -> Iterator[tuple[Side, dict[str, Store]]]:
    """Each model of --models with its stores of every split, for all of --layers.

    A model is loaded when its turn comes, and run once for all its layers.

    Raises:
      StoreError: two models have different texts.
    """
    options, first = with_stores(config), {}
    for name in config.models:
        with naming("models"):
            side = load_side(name, options)
        if side.model is not None:
            layers = chosen_layers(side.model.spec, config.layers)
            side = side._replace(layers=tuple(sorted(set(layers))))
        stores = {}
        for split in SPLITS:
            stores[split] = states_of(side, corpus, split, options)
            join(first.setdefault(split, stores[split]), stores[split])
        yield side, stores


def pair_splits(
    config: PairOptions, corpus: Corpus, splits: tuple[str, ...] = SPLITS
) -> dict[str, Pair]:
    """Both sides' stores of some splits, joined by text id."""
    sides, options = load_sides(config), with_stores(config)
    return {split: paired_states(*sides, corpus, split, options) for split in splits}


def with_stores(options: Any) -> Any:
    """The options with --stores filled in."""
    if options.stores:
        return options
    return dataclasses.replace(options, stores=str(Path(options.workdir) / "stores"))


def without_texts_of(corpus: Corpus, *splits: str) -> Callable[[Text], bool]:
    """A filter that passes texts that are not in some splits of a corpus."""
    with stage("texts that two corpora share"):
        held = {
            content_key(text.text) for split in splits for text in corpus.read(split)
        }
    return lambda text: content_key(text.text) not in held
