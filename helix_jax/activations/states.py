"""States of one window of a corpus, computed on the devices."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from helix_jax.activations.batching import plan_batches
from helix_jax.activations.forward import DeviceGroup, pooled_states
from helix_jax.activations.gather import gather_states
from helix_jax.activations.windows import TextWindow
from helix_jax.errors import StoreError


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
    layers, spec = forward["layers"], forward["spec"]
    if not len(window.ids):
        return np.empty((len(layers), 0, spec.width), forward["dtype"]), 0

    def run(tokens: np.ndarray, lengths: np.ndarray) -> jax.Array:
        return pooled_states(params, *group.place_batch(tokens, lengths), **forward)

    batches = plan_batches(
        window.lengths,
        ladder=layout["ladder"],
        token_budget=layout["token_budget"],
        multiple=layout["devices"],
    )
    token_rows = forward["pooling"] == "token"
    try:
        states = gather_states(run, window.encoded.ids, batches, token_rows=token_rows)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise StoreError(
            f"the {group.platform} has no memory for batches of "
            f"{layout['token_budget']} tokens, which this store was begun with. Free "
            "the device's memory and run again to resume, or delete the store and "
            "give a smaller token_budget."
        ) from error
    return states, sum(batch.capacity * batch.length for batch in batches)


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
