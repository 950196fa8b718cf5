"""Extraction: model x corpus x layers x pooling to a store that resumes.

    window k+1 is read and tokenised | window k is on the device | window k-1 is written

Batches are a function of the texts and of the recorded layout (`layout.py`), never of
where an earlier run stopped, nor of how many processes share the windows; so a killed
extraction that is run again, by as many as there are then, ends with the same bytes as
one that was not killed.
"""

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from helix_jax import kinds
from helix_jax.activations.budget import choose_token_budget
from helix_jax.activations.forward import PlacedModel, Readout, place_model
from helix_jax.activations.layout import choose_layout
from helix_jax.activations.recipe import recipe_of
from helix_jax.activations.states import require_finite_states, window_states
from helix_jax.activations.storage import Folder, open_folder
from helix_jax.activations.store import Store, open_store
from helix_jax.activations.store_lock import writing
from helix_jax.activations.window_texts import Counts, read_counts, windows_written
from helix_jax.activations.windows import TextWindow, read_windows
from helix_jax.activations.writer import (
    DTYPES,
    StoreWriter,
    Window,
    attach_store,
    begin_store,
    is_complete,
)
from helix_jax.arguments import takes
from helix_jax.locks import Lock
from helix_jax.models import Model, check_vocabulary, resolve_layers
from helix_jax.models.torch_engine import TorchModel
from helix_jax.processes import ALONE, Processes
from helix_jax.progress import Progress
from helix_jax.text.tokens import private_tokenizer, tokenizer_fingerprint
from helix_jax.types import Text

LOG = logging.getLogger(__name__)


def store_fingerprint(
    model: Model | TorchModel,
    tokenizer: Any,
    *,
    layers: Sequence[int] = (-1,),
    final_norm: bool = True,
    pooling: str = "mean",
    max_tokens: int | None = 512,
    prompt_name: str = "",
    dtype: str = "float32",
    text_fingerprint: Any,
) -> dict[str, Any]:
    """The record that identifies a store, without making it.

    Args: as for `extract`.

    Returns:
      model, revision, dtype, weights; layers (absolute), final_norm, pooling,
      stored_dtype, max_tokens (at most the context), text, tokenizer; engine where
      it is not jax; prompt, modules and modules_weights where there are any.
    """
    recipe = recipe_of(
        model,
        layers=layers,
        final_norm=final_norm,
        pooling=pooling,
        max_tokens=max_tokens,
        prompt_name=prompt_name,
    )
    return {
        **model.fingerprint,
        "layers": list(resolve_layers(model.spec, layers)),
        "final_norm": final_norm,
        "pooling": recipe.pooling,
        "stored_dtype": dtype,
        "max_tokens": min(recipe.max_tokens, model.spec.max_tokens),
        "text": text_fingerprint,
        "tokenizer": tokenizer_fingerprint(tokenizer),
        **recipe.record,
    }


@takes(texts=kinds.TEXTS)
def extract(
    model: Model | TorchModel,
    tokenizer: Any,
    texts: Iterable[Text],
    path: str | os.PathLike,
    *,
    layers: Sequence[int] = (-1,),
    final_norm: bool = True,
    pooling: str = "mean",
    max_tokens: int | None = 512,
    prompt_name: str = "",
    token_budget: int | str = "auto",
    text_fingerprint: Any,
    dtype: str = "float32",
    window: int | None = None,
    on_empty: str = "error",
    devices: Sequence[jax.Device] | None = None,
    total: int | None = None,
    progress: bool = True,
    processes: Processes = ALONE,
) -> Store:
    """Extract hidden states, or go on where a killed extraction stopped.

    Args:
      model: from `load_model`, `load_torch_model` or `load_model_by`.
      tokenizer: from `load_tokenizer`, of the same model.
      texts: the corpus from its beginning, also when resuming; ids are unique.
      path: local folder, gs://BUCKET/PATH or s3://BUCKET/PATH.
      layers: 0 is the embedding, i the output of block i, -1 the last.
      final_norm: apply the model's final norm to every layer.
      pooling: "mean", "last", "cls", "weighted_mean", "max", "mean_sqrt", or "token"
        for every token; "auto": the whole recipe of a sentence encoder's folder, or
        "mean" for another (`choose_recipe`).
      max_tokens: longer texts lose their end and are counted; never more than the
        model's context. None: with "auto" as the folder says, else 512.
      prompt_name: of the folder's prompts, to stand before every text.
      token_budget: tokens a batch, padding included; "auto" chooses by model, device
        and memory; "measure" times some on the device. Recorded in the store.
      text_fingerprint: JSON-able record of the corpus and split.
      dtype: of the stored rows, float32, bfloat16 or float16; pooling is in float32.
      window: texts between two safe points; None chooses.
      on_empty: what to do with a text without tokens, "error" or "skip".
      devices: that share every batch; None for all local ones.
      total: number of texts where it is known, for the progress bar and for the
        number of shapes that are worth compiling.
      progress: show it.
      processes: that divide the windows among them, all called with the same arguments;
        the path is one that all of them see.

    Returns:
      The complete store; `throughput` tells what this run did. A store that was
      complete already is returned as it is; one that another process writes is waited
      for.

    Raises:
      ValueError: an option that does not fit the model.
      CheckpointError: a tokenizer that does not belong to the model.
      CorpusError: an empty text, a repeated id, or a token without an embedding.
      StoreError: states that are not finite, a full disk, or a store that was begun
        with other settings.
      LockError: another process has taken this one for dead, and goes on.
      FingerprintError: another store lies at the path.
      ProcessError: the processes differ in what they extract, or one was lost.
    """
    spec, name = model.spec, model.fingerprint["model"]
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {list(DTYPES)}, got {dtype!r}.")
    if on_empty not in ("error", "skip"):
        raise ValueError(f"on_empty must be 'error' or 'skip', got {on_empty!r}.")
    wanted = {
        "layers": layers,
        "final_norm": final_norm,
        "pooling": pooling,
        "max_tokens": max_tokens,
        "prompt_name": prompt_name,
    }
    recipe = recipe_of(model, **wanted)
    for note in recipe.notes:
        LOG.warning("%s: %s", name, note)
    layers = resolve_layers(spec, layers)
    readout = Readout(
        spec, layers, final_norm, recipe.pooling, DTYPES[dtype], recipe.steps
    )
    max_tokens = min(recipe.max_tokens, spec.max_tokens)
    backend = private_tokenizer(tokenizer, max_tokens=max_tokens)
    check_vocabulary(tokenizer, spec.vocab_size, model=name)
    fingerprint = store_fingerprint(
        model, tokenizer, **wanted, dtype=dtype, text_fingerprint=text_fingerprint
    )
    placed = place_model(model, readout, devices, recipe.weights)

    def new_layout() -> dict[str, Any]:
        budget = choose_token_budget(token_budget, placed, max_tokens=max_tokens)
        return choose_layout(
            readout,
            placed.group,
            max_tokens=max_tokens,
            token_budget=budget,
            window=window,
            texts=total,
        )

    folder, throughput = open_folder(path), {}
    requested = _requested(placed, token_budget, window)
    asked = {**fingerprint, **requested, "on_empty": on_empty}
    processes.agree(f"what is extracted to {folder.name}", asked)

    def begin(lock: Lock | None) -> StoreWriter:
        arrays = {f"layers/{layer}": (dtype, readout.width) for layer in layers}
        return begin_store(
            folder,
            fingerprint=fingerprint,
            new_layout=new_layout,
            requested=requested,
            arrays=arrays | ({"ends": ("int32", None)} if readout.token_rows else {}),
            lock=lock,
        )

    # What is complete is only read, also where nothing can be written.
    complete = processes.first("whether the store is complete", is_complete(folder))
    alone = complete or processes.index > 0  # process 0 has the lock for all
    with contextlib.nullcontext() if alone else writing(folder) as lock:
        writer, done = _share_store(processes, folder, begin, lock)
        if not writer.complete:
            source = read_windows(
                _prompted(texts, recipe.prompt),
                backend,
                size=writer.layout["window_texts"],
                done=done,
                vocab_size=spec.vocab_size,
                share=(processes.index, processes.count),
                token_rows=readout.token_rows,
                on_empty=on_empty,
                store=folder.name,
            )
            with Progress(
                f"states of {name}", total=total, unit="texts", show=progress
            ) as shown:
                read, throughput = _run_windows(
                    source, writer, placed, shown, name, processes
                )
            processes.agree(f"the texts of {folder.name}", read)
            if processes.index == 0:
                counts = writer.finish(read["windows"])
                _tell_truncated(counts, name, max_tokens)
        processes.wait(f"the end of {folder.name}")
    store = open_store(path, expect=fingerprint)
    return dataclasses.replace(store, throughput=throughput)


def _share_store(
    processes: Processes,
    folder: Folder,
    begin: Callable[[Lock | None], StoreWriter],
    lock: Lock | None,
) -> tuple[StoreWriter, dict[int, Counts]]:
    """The writer of each process, and the windows that process 0 has found."""
    writer, found = None, {}
    if processes.index == 0:
        writer = begin(lock)
        if not writer.complete:
            found = read_counts(folder, windows_written(folder))
    found = processes.first(f"what {folder.name} holds", list(found.items()))
    writer = writer or attach_store(folder)
    return writer, {number: Counts(*counts) for number, counts in found}


def _prompted(texts: Iterable[Text], prompt: str) -> Iterable[Text]:
    """The texts behind a prompt."""
    if not prompt:
        return texts
    return (text._replace(text=prompt + text.text) for text in texts)


def _requested(
    model: PlacedModel, token_budget: int | str, window: int | None
) -> dict[str, Any]:
    """The part of a store's layout that the caller insists on."""
    group = model.group
    requested = {"devices": group.size, "platform": group.platform, "cut": group.cut}
    if isinstance(token_budget, int):
        requested["token_budget"] = token_budget
    if window is not None:
        requested["window_texts"] = window
    return requested


def _tell_truncated(done: Counts, model: str, max_tokens: int) -> None:
    if done.truncated:
        LOG.warning(
            "%s: %d of %d texts were longer than %d tokens and lost their end.",
            model,
            done.truncated,
            done.texts,
            max_tokens,
        )


def _run_windows(
    source: Iterator[TextWindow],
    writer: StoreWriter,
    model: PlacedModel,
    shown: Progress,
    name: str,
    processes: Processes,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Read ahead, compute, write behind.

    Returns:
      What was read, own windows and others: windows, digest. And what was computed:
      seconds, tokens and padding.
    """
    layers, read = model.readout.layers, {"windows": 0, "digest": ""}
    start, tokens, padded = time.perf_counter(), 0, 0
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as writing:
        written: Future | None = None
        for window in _ahead(source, reading):
            processes.check()
            counts = window.counts
            read = {"windows": window.number + 1, "digest": counts.digest}
            if window.encoded is not None:
                states, cost = window_states(model, window, writer.layout)
                require_finite_states(states, window, layers=layers, model=name)
                tokens, padded = tokens + counts.tokens, padded + cost
                if written is not None:
                    written.result()
                finished = _finished_window(window, dict(zip(layers, states)))
                written = writing.submit(writer.append, finished)
            speed = tokens / (time.perf_counter() - start)
            shown.update(counts.texts_read, note=f"{speed:,.0f} tokens/s")
        if written is not None:
            written.result()
    seconds = time.perf_counter() - start
    return read, {
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "padding_fraction": 1 - tokens / padded if padded else 0.0,
    }


def _ahead(
    source: Iterator[TextWindow], pool: ThreadPoolExecutor
) -> Iterator[TextWindow]:
    """The same windows, the next one prepared in a thread meanwhile."""
    job = pool.submit(next, source, None)
    while (window := job.result()) is not None:
        job = pool.submit(next, source, None)
        yield window


def _finished_window(window: TextWindow, states: dict[int, np.ndarray]) -> Window:
    ends = window.encoded.ends
    return Window(
        number=window.number,
        first_row=window.first_row,
        ids=window.ids,
        labels=window.labels,
        lengths=window.lengths,
        states=states,
        ends=None if ends is None else np.concatenate([*ends, np.zeros(0, np.int32)]),
        counts=window.counts,
    )
