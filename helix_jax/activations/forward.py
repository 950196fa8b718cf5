"""The device's part of an extraction: forward pass and pooling, over all devices."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from helix_jax.activations.pooling import pool
from helix_jax.models import ModelSpec, apply_model
from helix_jax.types import Array


@functools.partial(
    jax.jit, static_argnames=("spec", "layers", "final_norm", "pooling", "dtype")
)
def pooled_states(
    params: Mapping,
    tokens: Array,
    lengths: Array,
    *,
    spec: ModelSpec,
    layers: tuple[int, ...],
    final_norm: bool,
    pooling: str,
    dtype: jnp.dtype,
) -> Array:
    """Hidden states of a right-padded batch, pooled in float32.

    Args:
      params: parameter pytree.
      tokens: [B, T] int32.
      lengths: [B] int32, tokens of each row.
      spec, layers, final_norm: as for `apply_model`. Static.
      pooling: as for `pool`. Static.
      dtype: of the result. Static.

    Returns:
      [n, B, D], or [n, B, T, D] for "token", n the number of layers.
    """
    mask = jnp.arange(tokens.shape[1])[None, :] < lengths[:, None]
    output = apply_model(
        params, spec, tokens, mask, layers=layers, final_norm=final_norm
    )
    return pool(output.hidden, mask, method=pooling).astype(dtype)


class DeviceGroup:
    """The devices that share every batch, each holding all parameters.

    Attributes:
      size: how many.
      platform: "cpu", "gpu" or "tpu".
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        devices = list(jax.local_devices() if devices is None else devices)
        self.size = len(devices)
        self.platform = devices[0].platform
        mesh = Mesh(np.array(devices), ("batch",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._by_row = NamedSharding(mesh, PartitionSpec("batch"))
        self._single = devices[0] if self.size == 1 else None

    def place_params(self, params: Any) -> Any:
        """Copies of the parameters on every device; no copy where they already are."""
        return jax.device_put(params, self._single or self._everywhere)

    def place_batch(self, tokens: np.ndarray, lengths: np.ndarray) -> Any:
        """A batch split by rows; the number of rows is a multiple of `size`."""
        return jax.device_put((tokens, lengths), self._single or self._by_row)
