"""States of one window of a corpus, computed on the devices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from helix_jax.activations.batching import plan_batches
from helix_jax.activations.forward import PlacedModel, PlacedTorchModel, is_exhausted
from helix_jax.activations.gather import gather_states
from helix_jax.activations.windows import TextWindow
from helix_jax.errors import StoreError


def window_states(
    model: PlacedModel | PlacedTorchModel, window: TextWindow, layout: Mapping[str, Any]
) -> tuple[np.ndarray, int]:
    """States of a window in the order of its texts.

    Args:
      model: on the devices, with its readout.
      window: its tokens.
      layout: ladder, token_budget, devices.

    Returns:
      [n, rows, D] in the stored dtype, n layers; and the tokens computed, padding
      included.

    Raises:
      StoreError: the device's memory does not suffice for a batch.
    """
    readout = model.readout
    if window.encoded is None or not len(window.ids):
        shape = len(readout.layers), 0, readout.width
        return np.empty(shape, readout.dtype), 0
    batches = plan_batches(
        window.lengths,
        ladder=layout["ladder"],
        token_budget=layout["token_budget"],
        multiple=layout["devices"],
    )
    try:
        states = gather_states(
            model, window.encoded.ids, batches, token_rows=readout.token_rows
        )
    except RuntimeError as error:
        if not is_exhausted(error):
            raise
        raise StoreError(
            f"the {model.group.platform} has no memory for batches of "
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
      window: of their texts.
      layers: number of each of the n layers.
      model: its name.

    Raises:
      StoreError: names the text, the layer and the model.
    """
    bad = np.argwhere(~np.isfinite(states).all(axis=-1))
    if not len(bad):
        return
    layer, row = bad[0]
    if window.encoded is not None and window.encoded.ends is not None:
        row = np.searchsorted(np.cumsum(window.lengths), row, side="right")
    raise StoreError(
        f"{model}: layer {layers[layer]} of the text {window.ids[row]!r} has NaN or "
        "infinite states, so nothing of its window was stored. float16 overflows at "
        "65,504: load the model in float32 or bfloat16 and store either; if it is "
        "float32 already, the model's weights are damaged."
    )
