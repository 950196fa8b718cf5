"""Extraction: model x corpus x layers x pooling to a resumable store.

    window k+1 is read and tokenised | window k is on the device | window k-1 is written

Batches depend on the texts and the recorded layout (`layout.py`), not on where an
earlier run stopped or on how many processes share the windows; so a killed extraction
that is run again, by any number of processes, ends with the same bytes as an
uninterrupted one.
"""

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from helix_jax import kinds
from helix_jax.activations.extraction import DEFAULT, EXTRACTION, Extraction
from helix_jax.activations.extractor import (
    Extractor,
    keep_step,
    make_extractor,
    own_windows,
)
from helix_jax.activations.store import Store, open_store
from helix_jax.activations.store_lock import writing
from helix_jax.activations.window_texts import Counts, read_counts, windows_written
from helix_jax.activations.windows import TextWindow, ahead
from helix_jax.activations.writer import (
    StoreWriter,
    Window,
    attach_store,
    begin_store,
    is_complete,
)
from helix_jax.arguments import takes
from helix_jax.locks import Lock
from helix_jax.models import Model
from helix_jax.models.torch_engine import TorchModel
from helix_jax.processes import ALONE, Processes
from helix_jax.progress import Progress
from helix_jax.storage import Folder, open_folder
from helix_jax.types import Text

LOG = logging.getLogger(__name__)


@takes(texts=kinds.TEXTS, wanted=EXTRACTION)
def extract(
    model: Model | TorchModel,
    tokenizer: Any,
    texts: Iterable[Text],
    path: str | os.PathLike,
    wanted: Extraction = DEFAULT,
    *,
    text_fingerprint: Any,
    devices: Sequence[jax.Device] | None = None,
    total: int | None = None,
    progress: bool = True,
    processes: Processes = ALONE,
) -> Store:
    """Extract hidden states, or resume where a killed extraction stopped.

    Args:
      model: from `load_model`, `load_torch_model` or `load_model_by`.
      tokenizer: from `load_tokenizer`, of the same model.
      texts: the corpus from its beginning, even when resuming; ids are unique.
      path: local folder, gs://BUCKET/PATH or s3://BUCKET/PATH.
      wanted: which states to store, and how; by default the mean of the last layer.
      text_fingerprint: JSON-able record of the corpus and split.
      devices: that share every batch; None: all local ones.
      total: number of texts if known, for the progress bar and for the number of shapes
        worth compiling.
      progress: show it.
      processes: that divide the windows, each called with the same arguments; all must
        see the path.

    Returns:
      The complete store; `throughput` describes this run. A complete store is returned
      unchanged; if another process is writing it, this one waits.

    Raises:
      ValueError: an option does not suit the model.
      CheckpointError: the tokenizer does not belong to the model.
      CorpusError: a text is empty, an id is repeated, or a token has no embedding.
      StoreError: a state is not finite, the disk is full, or the store was begun with
        other settings.
      LockError: another process took this one for dead and took over.
      FingerprintError: another store is at the path.
      ProcessError: the processes differ in what they extract, or one was lost.
    """
    extractor = make_extractor(
        model, tokenizer, wanted, text_fingerprint=text_fingerprint, devices=devices
    )
    folder, throughput = open_folder(path), dict[str, float]()
    fingerprint, requested = extractor.fingerprint, extractor.requested()
    asked = {**fingerprint, **requested, "on_empty": wanted.on_empty}
    processes.agree(f"what is extracted to {folder.name}", asked)
    # A complete store is only read, so that it may be read-only.
    complete = processes.first("whether the store is complete", is_complete(folder))
    new_layout = partial(extractor.new_layout, total)
    if extractor.shared and not complete:  # trying a batch takes all processes
        new_layout = partial(dict, new_layout())
    alone = complete or processes.index > 0  # process 0 holds the lock for all
    with contextlib.nullcontext() if alone else writing(folder) as lock:
        writer = (
            None if processes.index else _begin(extractor, folder, new_layout, lock)
        )
        done = processes.first(
            f"what {folder.name} holds",
            None if writer is None else list(_written(writer).items()),
        )
        done = {number: Counts(*counts) for number, counts in done}
        writer = writer or attach_store(folder)
        if not writer.complete:
            source = extractor.windows(
                texts,
                writer.layout["window_texts"],
                done=done,
                own=own_windows([extractor], processes, done),
                place=folder.name,
            )
            with Progress(
                f"states of {extractor.name}", total=total, unit="texts", show=progress
            ) as shown:
                read, throughput = _run_windows(
                    source, writer, extractor, shown, processes
                )
            processes.agree(f"the texts of {folder.name}", read)
            if processes.index == 0:
                counts = writer.finish(read["windows"])
                _tell_truncated(counts, extractor)
        processes.wait(f"the end of {folder.name}")
    store = open_store(path, expect=fingerprint)
    return dataclasses.replace(store, throughput=throughput)


def _begin(
    extractor: Extractor,
    folder: Folder,
    new_layout: Callable[[], dict[str, Any]],
    lock: Lock | None,
) -> StoreWriter:
    readout, dtype = extractor.placed.readout, extractor.fingerprint["stored_dtype"]
    arrays = {f"layers/{layer}": (dtype, readout.width) for layer in readout.layers}
    return begin_store(
        folder,
        fingerprint=extractor.fingerprint,
        new_layout=new_layout,
        requested=extractor.requested(),
        arrays=arrays | ({"ends": ("int32", None)} if readout.token_rows else {}),
        lock=lock,
    )


def _written(writer: StoreWriter) -> dict[int, Counts]:
    """The windows that an unfinished store holds."""
    if writer.complete:
        return {}
    return read_counts(writer.folder, windows_written(writer.folder))


def _tell_truncated(done: Counts, extractor: Extractor) -> None:
    if done.truncated:
        LOG.warning(
            "%s: %d of %d texts were longer than %d tokens and were truncated.",
            extractor.name,
            done.truncated,
            done.texts,
            extractor.max_tokens,
        )


def _run_windows(
    source: Iterator[TextWindow],
    writer: StoreWriter,
    extractor: Extractor,
    shown: Progress,
    processes: Processes,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Read, compute and write windows at the same time.

    Returns:
      What was read, including others' windows: windows, digest; and what was computed:
      seconds, tokens and padding.
    """
    layers, read = extractor.placed.readout.layers, {"windows": 0, "digest": ""}
    writes = processes.index == 0 or not extractor.shared
    start, tokens, padded = time.perf_counter(), 0, 0
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as writing:
        written: Future | None = None
        for window in ahead(source, reading):
            keep_step([extractor], processes, window.number)
            counts = window.counts
            read = {"windows": window.number + 1, "digest": counts.digest}
            if window.encoded is not None:
                states, cost = extractor.states(window, writer.layout)
                tokens, padded = tokens + counts.tokens, padded + cost
                if written is not None:
                    written.result()
                by_layer = dict(zip(layers, states))
                finished = _finished_window(window, window.encoded.ends, by_layer)
                written = writing.submit(writer.append, finished) if writes else None
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


def _finished_window(
    window: TextWindow, ends: list[np.ndarray] | None, states: dict[int, np.ndarray]
) -> Window:
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
