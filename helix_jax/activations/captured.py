"""Hidden states captured by an inference server, as a store: docs/captured.md.

A server writes one file per request, as vLLM's ExampleHiddenStatesConnector does:

    REQUEST.safetensors   "hidden_states" [T, layers, D] float, "token_ids" [T] int

The files do not record the text of a request or the layers that they hold. A list does:

    captured.json   {"layers": [18, 36], "model": "Qwen/Qwen3-8B",
                     "texts": [{"id": "doc/0", "file": "REQUEST.safetensors"}, ...]}
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.activations.join import first_repeated
from helix_jax.activations.pooling import check_pooling, pool
from helix_jax.activations.store import Store
from helix_jax.array_files import read_safetensors, write_safetensors
from helix_jax.atomic import write_file
from helix_jax.errors import StoreError
from helix_jax.models.final_norm import read_final_norm
from helix_jax.paths import local_path
from helix_jax.text.ids import read_id
from helix_jax.textfile import read_json
from helix_jax.types import Array

STEP = 64  # tokens; files are padded to multiples of it, so that few shapes compile
STATES, TOKENS = "hidden_states", "token_ids"


class Captured(NamedTuple):
    """A list of captured states.

    Attributes:
      path: of the list.
      layers: number of each layer that the files hold, in their order.
      model: folder or hub id of the model; None if not given.
      ids, files: of each text.
      labels: [texts] int32, -1 for none.
    """

    path: Path
    layers: tuple[int, ...]
    model: str | None
    ids: list[str]
    files: list[Path]
    labels: np.ndarray


def is_captured(file: str | os.PathLike) -> bool:
    """Whether a file is a list of captured states, judged by its name."""
    return Path(file).suffix.lower() == ".json"


def read_captured(path: str | os.PathLike) -> Captured:
    """Read a list of captured states; none of its files is opened.

    Raises:
      StoreError: the list does not exist, or lacks a part described above.
    """
    path = local_path(path, "a list of captured states")
    record = read_json(path, raises=StoreError)
    said = f"{path}: expected {{'layers': [numbers], 'texts': [{{'id', 'file'}}, ...]}}"
    if not isinstance(record, dict) or set(record) - {"layers", "model", "texts"}:
        raise StoreError(f"{said} and perhaps 'model', got {str(record)[:80]}.")
    layers, texts = record.get("layers"), record.get("texts")
    if not _numbers(layers) or len(set(layers)) < len(layers):
        raise StoreError(f"{said}; different layers from 0, got {layers!r}.")
    known = {"id", "file", "label"}
    if not isinstance(texts, list) or not texts:
        raise StoreError(f"{said}, one text or more.")
    for row, text in enumerate(texts):
        right = isinstance(text, dict) and {"id", "file"} <= set(text) <= known
        if not right or not isinstance(text["file"], str):
            raise StoreError(f"{said}; text {row} (counting from 0) is {text!r}.")
        label = text.get("label")
        if label is not None and not (_numbers([label]) and label < 2**31):
            raise StoreError(f"{path}: the label of text {row} is no class number.")
    model = record.get("model")
    if model is not None and not isinstance(model, str):
        raise StoreError(f"{path}: 'model' must be a folder or hub id, got {model!r}.")
    ids = [
        read_id(text["id"], f"{path}, text {row} (counting from 0)", raises=StoreError)
        for row, text in enumerate(texts)
    ]
    if (repeated := first_repeated(ids)) is not None:
        raise StoreError(f"{path} holds the id {repeated!r} more than once.")
    files = [path.parent / text["file"] for text in texts]
    labels = [-1 if text.get("label") is None else text["label"] for text in texts]
    return Captured(path, tuple(layers), model, ids, files, np.array(labels, np.int32))


def check_captured(
    path: str | os.PathLike, *, layer: int, pooling: str, final_norm: bool
) -> Captured:
    """The list, checked for what is requested; arguments as for `load_captured`.

    Raises:
      StoreError: the list or a file does not exist, it does not hold the layer or does
        not allow the pooling, or it names no model whose final norm could be applied.
    """
    check_pooling(pooling)
    captured = read_captured(path)
    if pooling == "token" or layer not in (-1, *captured.layers):
        raise StoreError(
            f"{captured.path} gives one row a text of the layers "
            f"{', '.join(map(str, captured.layers))}, requested are layer {layer} and "
            f"pooling {pooling!r}."
        )
    if final_norm and captured.model is None:
        raise StoreError(
            f"{captured.path} names no model whose final norm could be applied; "
            "write its 'model', or take the states before it (--nofinal_norm)."
        )
    missing = [file for file in captured.files if not file.is_file()]
    if missing:
        raise StoreError(
            f"{captured.path} lists {len(missing)} files that are not there, first "
            f"{missing[0]}. Capture these requests again, or remove them from the list."
        )
    return captured


def load_captured(
    path: str | os.PathLike,
    *,
    layer: int = -1,
    pooling: str = "mean",
    final_norm: bool = True,
) -> Store:
    """Pool one layer of captured states to a store in memory.

    Args:
      path: the list, as described above.
      layer: 0 is the embedding, i the output of block i; -1 the last captured one.
      pooling: as for `pool`, one row per text.
      final_norm: apply the final norm of the list's model, as `extract` does; servers
        capture states before it.

    Returns:
      A store of that layer.

    Raises:
      StoreError: a file is missing, damaged, not finite, or holds other layers.
      CheckpointError: the model's final norm is not available.
    """
    captured = check_captured(path, layer=layer, pooling=pooling, final_norm=final_norm)
    layer = captured.layers[-1] if layer == -1 else layer
    width, norm = None, lambda h: jnp.asarray(h, jnp.float32)
    if final_norm and captured.model is not None:  # as `check_captured` requires
        spec, norm = read_final_norm(captured.model)
        width = spec.width
    hasher = hashlib.sha256(captured.path.read_bytes())
    found, lengths = [], []
    for file in captured.files:
        states: np.ndarray = _read_states(file, captured, layer, width, hasher)
        width = states.shape[1]
        found.append(_pooled(states, norm, pooling))
        lengths.append(len(states))
    rows = np.stack(found)
    return Store(
        name=str(captured.path),
        layers=(layer,),
        width=rows.shape[1],
        fingerprint={
            "captured": captured.path.name,
            "sha256": hasher.hexdigest(),
            "layers": [layer],
            "pooling": pooling,
            "final_norm": final_norm,
        },
        counts={"texts": len(rows), "rows": len(rows), "tokens": sum(lengths)},
        text_ids=captured.ids,
        text_labels=captured.labels,
        reader=lambda _, chosen: rows[chosen],
    )


def save_captured(
    path: str | os.PathLike,
    texts: Iterable[tuple[str, np.ndarray, np.ndarray]],
    *,
    layers: Sequence[int],
    model: str | None = None,
) -> Path:
    """Write states in this format, one file per text, next to the list.

    Args:
      path: the list, such as captured.json.
      texts: (id, token_ids [T] int, hidden_states [T, layers, D] float) of each.
      layers: number of each layer.
      model: folder or hub id of the model.

    Returns:
      The path.
    """
    path, listed = local_path(path, "a list of captured states"), []
    for number, (text_id, tokens, states) in enumerate(texts):
        file = f"{path.stem}-{number:06d}.safetensors"
        write_safetensors(path.parent / file, {STATES: states, TOKENS: tokens})
        listed.append({"id": text_id, "file": file})
    record = {"layers": list(layers), "model": model, "texts": listed}
    write_file(path, json.dumps(record, indent=1).encode(), raises=StoreError)
    return path


def _numbers(values: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(values, list)
        and bool(values)
        and all(type(value) is int and value >= 0 for value in values)
    )


def _read_states(
    file: Path, captured: Captured, layer: int, width: int | None, hasher: Any
) -> np.ndarray:
    """[T, D] of one layer, checked; the hasher is updated with the file's bytes."""
    remedy = "Capture that request again"
    arrays = read_safetensors(file, remedy=remedy, raises=StoreError)
    hasher.update(hashlib.sha256(file.read_bytes()).digest())
    if set(arrays) != {STATES, TOKENS}:
        raise StoreError(
            f"{file} holds the tensors {sorted(arrays)}; expected {STATES!r} [T, "
            f"layers, D] and {TOKENS!r} [T]."
        )
    states, tokens = arrays[STATES], arrays[TOKENS]
    shape = (len(tokens), len(captured.layers))
    fits = states.ndim == 3 and states.shape[:2] == shape and tokens.ndim == 1
    if not fits or not states.size or states.shape[2] != (width or states.shape[2]):
        raise StoreError(
            f"{file}: hidden_states are {list(states.shape)}; expected "
            f"{[*shape, width or 'D']}, for its {len(tokens)} token_ids and the layers "
            f"{list(captured.layers)} of {captured.path.name}."
        )
    states = states[:, captured.layers.index(layer)].astype(np.float32)
    if not np.isfinite(states).all():
        raise StoreError(f"{file}: layer {layer} is NaN or infinite. {remedy}.")
    return states


def _pooled(
    states: np.ndarray, norm: Callable[[Array], Array], pooling: str
) -> np.ndarray:
    length = -(-len(states) // STEP) * STEP
    padded = np.zeros((1, length, states.shape[1]), np.float32)
    padded[0, : len(states)] = states
    mask = np.arange(length)[None, :] < len(states)
    return np.asarray(_pool(norm(jnp.asarray(padded)), mask, method=pooling)[0])


_pool = partial(jax.jit, static_argnames="method")(pool)
