"""Settings that the bits of a store depend on, chosen without a clock.

An interrupted and an uninterrupted extraction must give the same store, even from two
commands. So "auto" is a formula of the model and the device, not a measurement;
`budget.measure_token_budget` measures, for the last tenth of speed, and its result is
recorded.
"""

import math
from typing import Any

from helix_jax.activations.batching import (
    ACCELERATOR_BUDGET_TOKENS,
    CPU_BUDGET_TOKENS,
    length_ladder,
)
from helix_jax.activations.forward import DeviceGroup, Host, Readout
from helix_jax.models import ModelSpec
from helix_jax.models.torch_engine import TorchSpec

CPU_GROWTH = 1.125
WINDOW_SECONDS = 60
# Rough lower bounds: operations per second, and tokens per second of any model.
SPEEDS = {"cpu": (2e11, 1e5)}
ACCELERATOR_SPEED = (1e14, 1e6)
COARSE_SECONDS = 30
TYPICAL_TOKENS = 64
WINDOW_TEXTS = (256, 4096)
WINDOW_BYTES = 512 << 20
CHUNK_BYTES = 8 << 20


def choose_layout(
    readout: Readout,
    group: DeviceGroup | Host,
    *,
    max_tokens: int,
    token_budget: int,
    window: int | None = None,
    texts: int | None = None,
) -> dict[str, Any]:
    """The layout of a new store.

    Args:
      readout: what is read from the model.
      group: the devices that share a batch.
      max_tokens: of the longest text.
      token_budget: tokens per batch.
      window: texts per window; None: chosen.
      texts: number of texts, or None.

    Returns:
      JSON-able record: window_texts, chunk_rows, ladder, token_budget, devices,
      platform, cut.
    """
    spec, token_rows = readout.spec, readout.token_rows
    if window is None:
        row_bytes = 4 * readout.width * len(readout.layers)
        fits = WINDOW_BYTES // (row_bytes * (max_tokens if token_rows else 1))
        window = min(default_window(spec, group.platform), _power_of_two(fits))
        window = max(16, window)
    if window < 1:
        raise ValueError(f"window must be at least 1 text, got {window}.")
    chunk = _power_of_two(CHUNK_BYTES // (readout.width * readout.dtype.itemsize))
    if not token_rows:
        # A divisor of the window, so that every window writes whole chunks.
        chunk = math.gcd(window, chunk) if window > chunk else window
    return {
        "window_texts": window,
        "chunk_rows": chunk,
        "ladder": list(choose_ladder(spec, group.platform, max_tokens, texts)),
        "token_budget": token_budget,
        "devices": group.size,
        "platform": group.platform,
        "cut": group.cut,
    }


def choose_ladder(
    spec: ModelSpec | TorchSpec, platform: str, max_tokens: int, texts: int | None
) -> tuple[int, ...]:
    """A fine ladder, or a coarse one if compiling would cost more than padding.

    A coarse ladder computes about a tenth more and compiles half as many shapes. Rungs
    are closest on a CPU, where a shape compiles in about a second.
    """
    if texts is not None:
        seconds = texts * TYPICAL_TOKENS / _tokens_per_second(spec, platform)
        if seconds < COARSE_SECONDS:
            return length_ladder(max_tokens, shortest=16, growth=1.5, multiple=8)
    if platform == "cpu":
        return length_ladder(max_tokens, growth=CPU_GROWTH)
    return length_ladder(max_tokens)


def default_window(spec: ModelSpec | TorchSpec, platform: str) -> int:
    """Texts per window: about a minute of work, the most that a kill can cost."""
    tokens = WINDOW_SECONDS * _tokens_per_second(spec, platform)
    low, high = WINDOW_TEXTS
    return max(low, min(high, _power_of_two(int(tokens / TYPICAL_TOKENS))))


def default_token_budget(
    spec: ModelSpec | TorchSpec, platform: str, max_tokens: int
) -> int:
    """Tokens per batch: enough to fill the device, and at least the longest text."""
    budget = CPU_BUDGET_TOKENS if platform == "cpu" else ACCELERATOR_BUDGET_TOKENS
    return max(budget, max_tokens)


def block_parameters(spec: ModelSpec | TorchSpec) -> int:
    """Parameters of all blocks that a token passes; operations are twice as many."""
    if isinstance(spec, TorchSpec):
        return spec.block_parameters
    queries = spec.num_heads * spec.head_width
    keys = spec.num_kv_heads * spec.head_width
    projections = 2 * spec.width * (queries + keys)
    ffn_width = spec.ffn_width
    if spec.experts is not None:
        ffn_width = ffn_width * spec.experts.per_token + spec.experts.shared_width
    feed_forward = (3 if spec.gated else 2) * spec.width * ffn_width
    return spec.num_layers * (projections + feed_forward)


def _tokens_per_second(spec: ModelSpec | TorchSpec, platform: str) -> float:
    flops, most = SPEEDS.get(platform, ACCELERATOR_SPEED)
    return min(flops / (2 * block_parameters(spec)), most)


def _power_of_two(number: int) -> int:
    return 1 << max(0, int(number).bit_length() - 1)
