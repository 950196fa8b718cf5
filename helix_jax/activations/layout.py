"""Settings that the bits of a store depend on, chosen without a clock.

A store that was killed and one that was not must come out equal, also when they are
two stores made by two commands. So "auto" is a formula over the model and the device,
not a measurement; `budget.measure_token_budget` measures for whoever wants the last
tenth, and the number it finds is recorded.
"""

import math
from typing import Any

import jax

from helix_jax.activations.batching import length_ladder
from helix_jax.models import ModelSpec

CPU_BUDGET_TOKENS = 2048
ACCELERATOR_BUDGET_TOKENS = 32768
WINDOW_SECONDS = 60
FLOPS_PER_SECOND = {"cpu": 1e11}  # a rough floor; others count as ACCELERATOR_FLOPS
ACCELERATOR_FLOPS = 1e14
TYPICAL_TOKENS = 64
WINDOW_TEXTS = (256, 4096)
WINDOW_BYTES = 512 << 20
CHUNK_BYTES = 8 << 20


def choose_layout(
    spec: ModelSpec,
    *,
    layers: int,
    pooling: str,
    max_tokens: int,
    itemsize: int,
    token_budget: int,
    devices: int,
    platform: str,
    window: int | None = None,
) -> dict[str, Any]:
    """The layout of a new store.

    Args:
      spec: the model.
      layers: how many layers are stored.
      pooling: see `pooling`.
      max_tokens: longest text.
      itemsize: bytes of a stored number.
      token_budget: tokens a batch.
      devices: devices that share a batch.
      platform: "cpu", "gpu" or "tpu".
      window: texts a window; None chooses.

    Returns:
      JSON-able record: window_texts, chunk_rows, ladder, token_budget, devices,
      platform.
    """
    row_bytes = spec.width * itemsize
    if window is None:
        window = default_window(spec, platform)
        tokens = max_tokens if pooling == "token" else 1
        fits = WINDOW_BYTES // (4 * spec.width * layers * tokens)
        window = max(16, min(window, _power_of_two(fits)))
    if window < 1:
        raise ValueError(f"window must be at least 1 text, got {window}.")
    fits = _power_of_two(CHUNK_BYTES // row_bytes)
    if pooling == "token":
        chunk = fits
    else:
        # A divisor of the window, so that every window writes whole chunks.
        chunk = math.gcd(window, fits) if window > fits else window
    return {
        "window_texts": window,
        "chunk_rows": chunk,
        "ladder": list(length_ladder(max_tokens)),
        "token_budget": token_budget,
        "devices": devices,
        "platform": platform,
    }


def default_window(spec: ModelSpec, platform: str) -> int:
    """Texts a window: about a minute of work, the most that a kill can cost."""
    speed = FLOPS_PER_SECOND.get(platform, ACCELERATOR_FLOPS)
    tokens = WINDOW_SECONDS * speed / (2 * block_parameters(spec))
    low, high = WINDOW_TEXTS
    return max(low, min(high, _power_of_two(int(tokens / TYPICAL_TOKENS))))


def default_token_budget(spec: ModelSpec, platform: str, max_tokens: int) -> int:
    """Tokens a batch: enough to fill the device, and at least one longest text."""
    budget = CPU_BUDGET_TOKENS if platform == "cpu" else ACCELERATOR_BUDGET_TOKENS
    return max(budget, max_tokens)


def block_parameters(spec: ModelSpec) -> int:
    """Parameters of all blocks, which a token's work is twice of."""
    queries = spec.num_heads * spec.head_width
    keys = spec.num_kv_heads * spec.head_width
    projections = 2 * spec.width * (queries + keys)
    feed_forward = (3 if spec.gated else 2) * spec.width * spec.ffn_width
    return spec.num_layers * (projections + feed_forward)


def platform_of(device: jax.Device) -> str:
    """ "cpu", "gpu" or "tpu"."""
    return device.platform


def _power_of_two(number: int) -> int:
    return 1 << max(0, int(number).bit_length() - 1)
