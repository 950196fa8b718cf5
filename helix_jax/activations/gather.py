"""Batches are dispatched ahead of the host; states come in the order of the texts."""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from helix_jax.activations.batching import Batch, pad_batch
from helix_jax.types import Array

IN_FLIGHT = 3  # batches by which the device may be ahead of the host


class Forward(Protocol):
    """A forward pass that is dispatched, not waited for."""

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray, /) -> Array:
        """States [n, B, D] or [n, B, T, D] of tokens [B, T] int32, lengths [B] int32.

        The tokens are padded on the right.
        """


def gather_states(
    forward: Forward,
    ids: Sequence[Sequence[int]],
    batches: Iterable[Batch],
    *,
    token_rows: bool = False,
) -> np.ndarray:
    """States of some texts, computed batch by batch.

    Args:
      forward: gives [n, B, D], or [n, B, T, D] with `token_rows`.
      ids: tokens of each text.
      batches: that hold every text once, from `plan_batches`; at least one.
      token_rows: whether a row of the result is a token, not a text.

    Returns:
      [n, texts, D], or [n, tokens, D], in the dtype of the states.
    """
    starts = text_starts(ids) if token_rows else np.arange(len(ids) + 1)
    states: Any = None  # until the first batch gives its shape
    for batch, result in _results(forward, ids, batches):
        if states is None:
            shape = (result.shape[0], int(starts[-1]), result.shape[-1])
            states = np.empty(shape, result.dtype)
        if not token_rows:
            states[:, batch.rows] = result[:, : len(batch.rows)]
            continue
        for place, row in enumerate(batch.rows):
            length = starts[row + 1] - starts[row]
            states[:, starts[row] : starts[row + 1]] = result[:, place, :length]
    return states


def text_starts(ids: Sequence[Sequence[int]]) -> np.ndarray:
    """[texts + 1] int64, the index of each text's first token among all tokens."""
    return np.cumsum([0, *map(len, ids)], dtype=np.int64)


def _results(
    forward: Forward, ids: Sequence[Sequence[int]], batches: Iterable[Batch]
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Every batch with its states; the device runs some batches ahead."""
    pending: collections.deque = collections.deque()
    for batch in batches:
        pending.append((batch, forward(*pad_batch(ids, batch))))
        if len(pending) > IN_FLIGHT:
            batch, result = pending.popleft()
            yield batch, np.asarray(result)
    for batch, result in pending:
        yield batch, np.asarray(result)
