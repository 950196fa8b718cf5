"""The device's part of an extraction: forward pass and pooling, over all devices."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from helix_jax.activations.pooling import pool
from helix_jax.activations.recipe import Step, finish, width_after
from helix_jax.models import Model, ModelSpec, apply_model
from helix_jax.models.mesh import BATCH_AXES, batch_parts, make_mesh, mesh_flag
from helix_jax.models.sharding import mesh_of, on_mesh
from helix_jax.models.torch_engine import (
    TorchModel,
    TorchSpec,
    is_out_of_memory,
    require_vectors,
    torch_states,
)
from helix_jax.types import Array


class Readout(NamedTuple):
    """What is read from a model: the static arguments of `pooled_states`.

    Attributes:
      spec: the architecture.
      layers: absolute numbers, 0 is the embedding.
      final_norm: whether the final norm is applied to every layer.
      pooling: as for `pool`.
      dtype: of the states.
      steps: what follows the pooling, as for `finish`.
    """

    spec: ModelSpec | TorchSpec
    layers: tuple[int, ...]
    final_norm: bool
    pooling: str
    dtype: np.dtype
    steps: tuple[Step, ...] = ()

    @property
    def width(self) -> int:
        """Features of a row."""
        return width_after(self.spec.width, self.steps)

    @property
    def token_rows(self) -> bool:
        """Whether a row is a token, not a text."""
        return self.pooling == "token"


@partial(
    jax.jit,
    static_argnames=("spec", "layers", "final_norm", "pooling", "dtype", "steps"),
)
def pooled_states(
    params: Mapping,
    tokens: Array,
    lengths: Array,
    weights: Sequence[Mapping[str, Array]] = (),
    *,
    spec: ModelSpec,
    layers: tuple[int, ...],
    final_norm: bool,
    pooling: str,
    dtype: jnp.dtype,
    steps: tuple[Step, ...] = (),
) -> Array:
    """Hidden states of a right-padded batch, pooled in float32.

    Args:
      params: parameter pytree.
      tokens: [B, T] int32.
      lengths: [B] int32, tokens of each row.
      weights: of the steps, as for `finish`.
      spec, layers, final_norm: as for `apply_model`. Static.
      pooling: as for `pool`. Static.
      dtype: of the result. Static.
      steps: what follows the pooling, as for `finish`. Static.

    Returns:
      [n, B, D], or [n, B, T, D] for "token", n the number of layers.
    """
    mask = jnp.arange(tokens.shape[1])[None, :] < lengths[:, None]
    output = apply_model(
        params, spec, tokens, mask, layers=layers, final_norm=final_norm
    )
    pooled = pool(output.hidden, mask, method=pooling)
    return finish(pooled, steps, weights).astype(dtype)


class DeviceGroup:
    """The devices that share every batch.

    Attributes:
      mesh: of the devices.
      size: number of parts of a batch.
      cut: the mesh's axes that divide parameters, as "fsdp:2,tensor:4", and the number
        of processes whose results are summed; None: no such axis.
      platform: "cpu", "gpu" or "tpu".
    """

    def __init__(
        self, devices: Sequence[jax.Device] | None = None, mesh: Mesh | None = None
    ):
        """A mesh, or devices that each hold all parameters; None: all local devices."""
        if mesh is None:
            devices = list(jax.local_devices() if devices is None else devices)
            mesh = make_mesh({"data": len(devices)}, devices)
        self.mesh = mesh
        self.size = batch_parts(mesh)
        cuts = {name: n for name, n in mesh.shape.items() if name != "data" and n > 1}
        self.cut = mesh_flag(cuts) or None
        if self.cut and mesh.is_multi_process:
            count = len({device.process_index for device in mesh.devices.flat})
            self.cut += f" over {count} processes"
        first = mesh.devices.flat[0]
        self.platform = first.platform
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._by_row = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
        self._single = first if mesh.size == 1 else None

    def place_params(self, params: Any) -> Any:
        """Copies of parameters on every device; none where they already are."""
        return jax.device_put(params, self._single or self._everywhere)

    def place_batch(self, tokens: np.ndarray, lengths: np.ndarray) -> Any:
        """A batch split by rows; the number of rows is a multiple of `size`.

        All processes that share a mesh pass the same batch.
        """
        if self.mesh.is_multi_process:
            return tuple(
                jax.make_array_from_callback(
                    array.shape, self._by_row, lambda index, array=array: array[index]
                )
                for array in (tokens, lengths)
            )
        return jax.device_put((tokens, lengths), self._single or self._by_row)

    def readable(self, states: Array) -> Array:
        """The states, whole in every process."""
        if self.mesh.is_multi_process:
            return jax.device_put(states, self._everywhere)
        return states


class PlacedModel(NamedTuple):
    """A model on the devices that share every batch, and its readout.

    Attributes:
      params: parameter pytree, on the devices.
      group: the devices.
      readout: what is taken.
      weights: of its steps, on every device.
    """

    params: Any
    group: DeviceGroup
    readout: Readout
    weights: Sequence[Mapping[str, Array]] = ()

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray) -> Array:
        """Dispatch `pooled_states` of a batch [B, T]; the devices divide B."""
        placed = self.group.place_batch(tokens, lengths)
        readout = self.readout._asdict()
        with on_mesh(self.group.mesh):
            states = pooled_states(self.params, *placed, self.weights, **readout)
            return self.group.readable(states)


class Host(NamedTuple):
    """The device on which torch runs a model, with the interface of `DeviceGroup`."""

    platform: str
    size: int = 1
    cut: str | None = None


class PlacedTorchModel(NamedTuple):
    """A model that torch runs, and its readout; called like a `PlacedModel`.

    Attributes:
      model: on its device.
      group: that device.
      readout: what is taken.
      weights: of its steps.
    """

    model: TorchModel
    group: Host
    readout: Readout
    weights: Sequence[Mapping[str, Array]] = ()

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray) -> Array:
        """States of a batch [B, T] pooled as `pooled_states` does."""
        readout = self.readout
        hidden = torch_states(
            self.model,
            tokens,
            lengths,
            layers=readout.layers,
            final_norm=readout.final_norm,
        )
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            return _pooled(
                hidden,
                lengths,
                self.weights,
                pooling=readout.pooling,
                dtype=readout.dtype,
                steps=readout.steps,
            )


@partial(jax.jit, static_argnames=("pooling", "dtype", "steps"))
def _pooled(
    hidden: Array,
    lengths: Array,
    weights: Sequence[Mapping[str, Array]],
    *,
    pooling: str,
    dtype: jnp.dtype,
    steps: tuple[Step, ...],
) -> Array:
    mask = jnp.arange(hidden.shape[2])[None, :] < lengths[:, None]
    pooled = pool(hidden, mask, method=pooling)
    return finish(pooled, steps, weights).astype(dtype)


def place_model(
    model: Model | TorchModel,
    readout: Readout,
    devices: Sequence[jax.Device] | None = None,
    weights: Sequence[Mapping[str, Array]] = (),
) -> PlacedModel | PlacedTorchModel:
    """Place a model on devices; None: all local ones, or where it already is.

    `weights` are those of the readout's steps.

    Raises:
      ValueError: devices are given for a model that is on a mesh or run by torch, or
        torch gives no vectors of a layer.
    """
    if isinstance(model, TorchModel):
        if devices is not None:
            raise ValueError("devices are of jax; torch has put its model on one.")
        require_vectors(model, readout.layers)
        return PlacedTorchModel(model, Host(model.platform), readout, weights)
    mesh = mesh_of(model.params)
    if mesh is not None and devices is not None:
        raise ValueError("devices are given for a model that lies on a mesh.")
    group = DeviceGroup(devices, mesh)
    params = model.params if mesh is not None else group.place_params(model.params)
    return PlacedModel(params, group, readout, group.place_params(tuple(weights)))


def is_exhausted(error: Exception) -> bool:
    """Whether an engine reports that its device is out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error) or is_out_of_memory(error)
