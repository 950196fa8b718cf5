"""The device's part of an extraction: forward pass and pooling, over all devices."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from helix_jax.activations.pooling import pool
from helix_jax.models import ModelSpec, apply_model
from helix_jax.types import Array


class Readout(NamedTuple):
    """What is taken of a model: the static arguments of `pooled_states`.

    Attributes:
      spec: the architecture.
      layers: absolute numbers, 0 is the embedding.
      final_norm: whether the final norm is applied to every layer.
      pooling: as for `pool`.
      dtype: of the states.
    """

    spec: ModelSpec
    layers: tuple[int, ...]
    final_norm: bool
    pooling: str
    dtype: np.dtype

    @property
    def token_rows(self) -> bool:
        """Whether a row is a token, not a text."""
        return self.pooling == "token"


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


class PlacedModel(NamedTuple):
    """A model on the devices that share every batch, and what is taken of it.

    Attributes:
      params: parameter pytree, on every device.
      group: the devices.
      readout: what is taken.
    """

    params: Any
    group: DeviceGroup
    readout: Readout

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray) -> Array:
        """`pooled_states` of a batch [B, T], dispatched; the devices divide B."""
        placed = self.group.place_batch(tokens, lengths)
        return pooled_states(self.params, *placed, **self.readout._asdict())


def place_model(
    params: Any, readout: Readout, devices: Sequence[jax.Device] | None = None
) -> PlacedModel:
    """Copy a model to devices; None for all local ones."""
    group = DeviceGroup(devices)
    return PlacedModel(group.place_params(params), group, readout)
