"""The number of tokens per batch: by formula, by memory, or measured."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from helix_jax.activations.batching import batch_capacity
from helix_jax.activations.forward import PlacedModel, PlacedTorchModel, is_exhausted
from helix_jax.activations.layout import default_token_budget

CANDIDATES = tuple(2**power for power in range(9, 20))
TYPICAL_LENGTH = 64


def choose_token_budget(
    request: int | str, model: PlacedModel | PlacedTorchModel, *, max_tokens: int
) -> int:
    """The token budget of a new store.

    Args:
      request: a number, "auto" or "measure".
      model: on the devices, with its readout.
      max_tokens: the longest row.

    Returns:
      The number itself; for "auto" a formula's, halved until the longest batch fits
      in the device's memory; for "measure" what `measure_token_budget` finds.

    Raises:
      ValueError: the request is none of these, it is below max_tokens, or nothing fits
        in memory.
    """
    if request == "measure":
        return measure_token_budget(model, max_tokens=max_tokens)[0]
    if request != "auto":
        if isinstance(request, bool) or not isinstance(request, int):
            raise ValueError(
                f"token_budget must be a number, 'auto' or 'measure', got {request!r}."
            )
        if request < max_tokens:
            raise ValueError(
                f"token_budget must be at least max_tokens ({max_tokens}), so that "
                f"the longest text fits in a batch, got {request}."
            )
        return request
    group = model.group
    budget = default_token_budget(model.readout.spec, group.platform, max_tokens)
    while group.platform != "cpu":
        rows = batch_capacity(max_tokens, budget, multiple=group.size)
        if _fits(partial(_run, model, rows, max_tokens)):
            break
        if rows == group.size:
            raise ValueError(_TOO_LARGE.format(max_tokens))
        budget = max(max_tokens, budget // 2)
    return budget


def measure_token_budget(
    model: PlacedModel | PlacedTorchModel,
    *,
    max_tokens: int,
    length: int = TYPICAL_LENGTH,
    candidates: Sequence[int] = CANDIDATES,
    repeats: int = 3,
) -> tuple[int, dict[int, float]]:
    """The smallest budget within 5 % of the best throughput that fits in memory.

    Batches of `length` tokens per row are timed from small to large, until two in
    succession bring no gain or the device runs out of memory. The result depends on the
    clock, so two searches may differ; a store records what it used.

    Args:
      model, max_tokens: as for `choose_token_budget`.
      length: tokens per row, typical of the texts.
      candidates: increasing budgets to try; those below max_tokens are left out.
      repeats: timed runs of each; the fastest counts.

    Returns:
      The budget, and tokens per second of each candidate tried.

    Raises:
      ValueError: not even the smallest candidate fits.
    """
    length, group = min(length, max_tokens), model.group
    speeds: dict[int, float] = {}
    for budget in sorted({max(own, max_tokens) for own in candidates}):
        longest = batch_capacity(max_tokens, budget, multiple=group.size)
        if group.platform != "cpu" and not _fits(
            partial(_run, model, longest, max_tokens)
        ):
            break
        rows = batch_capacity(length, budget, multiple=group.size)
        seconds = _fastest(partial(_run, model, rows, length), repeats)
        speeds[budget] = rows * length / seconds
        tried = list(speeds.values())
        if len(tried) > 3 and max(tried[-2:]) < 1.03 * max(tried[:-2]):
            break
    if not speeds:
        raise ValueError(_TOO_LARGE.format(max_tokens))
    best = max(speeds.values())
    return min(b for b, speed in speeds.items() if speed >= 0.95 * best), speeds


_TOO_LARGE = (
    "not even one text of {} tokens fits in the device's memory beside the model; use "
    "fewer max_tokens, a smaller dtype, or a device with more memory."
)


def _fits(work: Callable[[], object]) -> bool:
    try:
        work()
    except RuntimeError as error:
        if not is_exhausted(error):
            raise
        return False
    return True


def _run(model: PlacedModel | PlacedTorchModel, rows: int, length: int) -> object:
    tokens = np.zeros((rows, length), np.int32)
    lengths = np.full(rows, length, np.int32)
    return jax.block_until_ready(model(tokens, lengths))


def _fastest(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
