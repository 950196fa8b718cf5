"""One window on the device: batches dispatched ahead, states gathered in text order."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from helix_jax.activations.batching import pad_batch, plan_batches
from helix_jax.activations.forward import DeviceGroup, pooled_states
from helix_jax.activations.windows import TextWindow
from helix_jax.errors import StoreError

IN_FLIGHT = 3  # batches that the device may be ahead of the host


def window_states(
    params: Any,
    window: TextWindow,
    layout: Mapping[str, Any],
    group: DeviceGroup,
    forward: Mapping[str, Any],
) -> tuple[np.ndarray, int]:
    """States of a window in the order of its texts.

    Args:
      params: on the devices.
      window: its tokens.
      layout: ladder, token_budget, devices.
      group: the devices.
      forward: static arguments of `pooled_states`.

    Returns:
      [n, rows, D] in the stored dtype, n layers; and the tokens computed, padding
      included.

    Raises:
      StoreError: the device has no memory for a batch.
    """
    token_rows = forward["pooling"] == "token"
    starts = np.concatenate([[0], np.cumsum(window.lengths)])
    rows = int(starts[-1]) if token_rows else len(window.ids)
    shape = (len(forward["layers"]), rows, forward["spec"].width)
    states = np.empty(shape, forward["dtype"])
    pending: collections.deque = collections.deque()
    padded = 0

    def collect() -> None:
        batch, result = pending.popleft()
        result = np.asarray(result)
        if not token_rows:
            states[:, batch.rows] = result[:, : len(batch.rows)]
            return
        for place, row in enumerate(batch.rows):
            length = window.lengths[row]
            states[:, starts[row] : starts[row + 1]] = result[:, place, :length]

    batches = plan_batches(
        window.lengths,
        ladder=layout["ladder"],
        token_budget=layout["token_budget"],
        multiple=layout["devices"],
    )
    try:
        for batch in batches:
            placed = group.place_batch(*pad_batch(window.encoded.ids, batch))
            pending.append((batch, pooled_states(params, *placed, **forward)))
            padded += batch.capacity * batch.length
            if len(pending) > IN_FLIGHT:
                collect()
        while pending:
            collect()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise StoreError(
            f"the {group.platform} has no memory for batches of "
            f"{layout['token_budget']} tokens, which this store was begun with. Free "
            "the device's memory and run again to resume, or delete the store and "
            "give a smaller token_budget."
        ) from error
    return states, padded


def require_finite_states(
    states: np.ndarray, window: TextWindow, *, layers: Sequence[int], model: str
) -> None:
    """Raise if a state of a window is NaN or infinite.

    Args:
      states: [n, rows, D], as from `window_states`.
      window: where they come from.
      layers: number of each of the n layers.
      model: its name.

    Raises:
      StoreError: names the text, the layer and the model.
    """
    bad = np.argwhere(~np.isfinite(states).all(axis=-1))
    if not len(bad):
        return
    layer, row = bad[0]
    if window.encoded.ends is not None:
        row = np.searchsorted(np.cumsum(window.lengths), row, side="right")
    raise StoreError(
        f"{model}: layer {layers[layer]} of the text {window.ids[row]!r} has NaN or "
        "infinite states, so nothing of its window was stored. float16 overflows at "
        "65,504: load the model in float32 or bfloat16 and store either; if it is "
        "float32 already, the model's weights are damaged."
    )
