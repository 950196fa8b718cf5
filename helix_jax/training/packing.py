"""Documents as one stream of tokens, cut into batches that depend on the step alone."""

from collections.abc import Iterable

import numpy as np


def pack_documents(documents: Iterable[list[int]], *, context: int) -> np.ndarray:
    """Cut the concatenated documents into windows of context + 1 tokens.

    Neighbouring windows share one token, so that every token but the first is predicted
    once. Each document is expected to begin with the tokenizer's beginning-of-text
    token. An incomplete last window is dropped.

    Args:
      documents: token ids of each document.
      context: T, tokens a model sees.

    Returns:
      [N, T + 1] int32.
    """
    parts = [np.asarray(document, np.int32) for document in documents]
    stream = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    count = max(0, (len(stream) - 1) // context)
    starts = np.arange(count)[:, None] * context
    return stream[starts + np.arange(context + 1)[None, :]]


def unpack_windows(windows: np.ndarray) -> np.ndarray:
    """The stream that `pack_documents` cut: [N, T + 1] -> [N T + 1]."""
    return np.append(windows[:, :-1].reshape(-1), windows[-1:, -1])


def window_batch(
    windows: np.ndarray, *, step: int, batch: int, seed: int
) -> np.ndarray:
    """The windows of one step, from a new permutation each epoch; keeps no state.

    Args:
      windows: [N, T + 1] int32.
      step: counted from 0.
      batch: B, windows a step.
      seed: of the permutations.

    Returns:
      [B, T + 1] int32.

    Raises:
      ValueError: fewer windows than one batch needs.
    """
    per_epoch = len(windows) // batch
    if per_epoch == 0:
        raise ValueError(
            f"window_batch: expected at least {batch} windows for one batch, got "
            f"{len(windows)}; use more text, a smaller batch or a shorter context."
        )
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(len(windows))
    return windows[order[place * batch : (place + 1) * batch]]
