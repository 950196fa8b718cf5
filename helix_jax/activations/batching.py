"""Length buckets: how a window of texts becomes batches of a few fixed shapes.

Texts are grouped by a fixed ladder of lengths. A batch of length T holds about
`token_budget / T` texts; texts that do not fill a batch move up to the next length, and
only the last batch of a window may be partly empty (quarter-size batches are used when
three suffice). So at most two shapes per rung are ever compiled, and the batches depend
only on the lengths, the ladder and the budget: a repetition gives the same bits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# 512 tokens already keep two cores busy (SmolLM2-135M, all-mpnet-base-v2: 0.85 of the
# speed of the largest product); larger batches are harder to fill with texts of one
# length and hold more padding.
CPU_BUDGET_TOKENS = 1024
ACCELERATOR_BUDGET_TOKENS = 32768


class Batch(NamedTuple):
    """One batch of a window.

    Attributes:
      rows: [n] int, positions in the window, n <= capacity.
      capacity: B, rows of the compiled shape.
      length: T, tokens of the compiled shape.
    """

    rows: np.ndarray
    capacity: int
    length: int


def length_ladder(
    max_tokens: int, *, shortest: int = 8, growth: float = 1.25, multiple: int = 4
) -> tuple[int, ...]:
    """Increasing lengths up to max_tokens: each rung about `growth` times the last.

    Args:
      max_tokens: the last rung.
      shortest: the first rung, unless max_tokens is smaller.
      growth: factor, above 1; it bounds the share of padding, up to rounding.
      multiple: rungs are multiples of it, from 32 on of twice it, except the last.

    Returns:
      Strictly increasing lengths; 19 of them for 512 tokens, 31 for 8,192.
    """
    if max_tokens < 1 or growth <= 1 or shortest < 1 or multiple < 1:
        raise ValueError(
            "length_ladder: need max_tokens, shortest, multiple >= 1 and growth > 1, "
            f"got {max_tokens}, {shortest}, {multiple}, {growth}."
        )
    rungs = [min(shortest, max_tokens)]
    while rungs[-1] < max_tokens:
        step = multiple if rungs[-1] < 32 else 2 * multiple
        grown = max(rungs[-1] + step, round(rungs[-1] * growth / step) * step)
        rungs.append(min(grown, max_tokens))
    return tuple(rungs)


def batch_capacity(length: int, token_budget: int, *, multiple: int = 1) -> int:
    """Rows of a batch: what the budget allows, a positive multiple of `multiple`.

    Args:
      length: T, tokens per row.
      token_budget: tokens per batch, padding included.
      multiple: the number of devices that share a batch.
    """
    return max(multiple, token_budget // length // multiple * multiple)


def plan_batches(
    lengths: np.ndarray, *, ladder: Sequence[int], token_budget: int, multiple: int = 1
) -> list[Batch]:
    """Batches that cover every text of a window once.

    Args:
      lengths: [n] int, tokens of each text, 1 <= length <= ladder[-1].
      ladder: increasing lengths.
      token_budget: tokens per batch.
      multiple: capacities are multiples of it.

    Returns:
      Batches from short to long; the shapes are among `batch_shapes`.

    Raises:
      ValueError: a length outside 1..ladder[-1].
    """
    lengths = np.asarray(lengths)
    if len(lengths) and (lengths.min() < 1 or lengths.max() > ladder[-1]):
        raise ValueError(
            f"plan_batches: lengths must be 1..{ladder[-1]}, got "
            f"{lengths.min()}..{lengths.max()}."
        )
    order = np.argsort(lengths, kind="stable")
    ends = np.searchsorted(lengths[order], ladder, side="right")
    batches, start = [], 0
    for length, end in zip(ladder, ends):
        full, small = _capacities(length, token_budget, multiple)
        while end - start >= full:
            batches.append(Batch(order[start : start + full], full, length))
            start += full
        last = end == len(order)
        while last and start < end:
            capacity = full if end - start > 3 * small else small
            batches.append(Batch(order[start : start + capacity], capacity, length))
            start = min(start + capacity, end)
    return batches


def batch_shapes(
    ladder: Sequence[int], token_budget: int, *, multiple: int = 1
) -> set[tuple[int, int]]:
    """Every (B, T) that `plan_batches` can ask for; at most 2 len(ladder)."""
    return {
        (capacity, length)
        for length in ladder
        for capacity in _capacities(length, token_budget, multiple)
    }


def pad_batch(
    tokens: Sequence[Sequence[int]], batch: Batch
) -> tuple[np.ndarray, np.ndarray]:
    """Right-padded tokens of a batch.

    Padding repeats a row's own last token, so that no token of another text takes part,
    and no damaged row of the embedding that the text does not use.

    Args:
      tokens: token ids of every text of the window.
      batch: the texts to take.

    Returns:
      tokens [B, T] int32, lengths [B] int32. Rows beyond the batch's texts repeat one
      token of its first and have length 1, so that every row attends to something.
    """
    padded = np.full(
        (batch.capacity, batch.length), tokens[batch.rows[0]][-1], np.int32
    )
    lengths = np.ones(batch.capacity, np.int32)
    for place, row in enumerate(batch.rows):
        ids = tokens[row]
        padded[place, : len(ids)] = ids
        padded[place, len(ids) :] = ids[-1]
        lengths[place] = len(ids)
    return padded, lengths


def _capacities(length: int, token_budget: int, multiple: int) -> tuple[int, int]:
    full = batch_capacity(length, token_budget, multiple=multiple)
    quarter = batch_capacity(length, token_budget // 4, multiple=multiple)
    return full, min(full, quarter)
