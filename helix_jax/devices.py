"""Devices that share the rows of every batch, each with a copy of everything else.

They belong to one process, or to several that `jax.distributed` has joined; all of
these pass the same arrays, and each places its own devices' part.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ROWS = "data"


class RowDevices:
    """Some devices in a row, along the axis "data".

    Attributes:
      mesh: of that one axis.
      by_row, everywhere: shardings of batches and of everything else.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        """None for all devices of all processes."""
        devices = jax.devices() if devices is None else list(devices)
        self.mesh = Mesh(np.array(devices), (ROWS,))
        self.by_row = NamedSharding(self.mesh, PartitionSpec(ROWS))
        self.everywhere = NamedSharding(self.mesh, PartitionSpec())

    def __len__(self) -> int:
        return self.mesh.size

    def place_rows(self, tree: Any) -> Any:
        """Arrays [B, ...] with their rows distributed, consecutive ones to one device.

        Raises:
          ValueError: the number of rows is not a multiple of the number of devices.
        """

        def place(array: Any) -> jax.Array:
            if array.shape[0] % len(self):
                raise ValueError(
                    f"{array.shape[0]} rows cannot be shared by {len(self)} devices; "
                    f"give a multiple of {len(self)} rows, or fewer devices."
                )
            return self._placed(array, self.by_row)

        return jax.tree.map(place, tree)

    def gather(self, tree: Any) -> Any:
        """Distributed or copied arrays as whole arrays on the default device."""

        def whole(array: jax.Array) -> jax.Array:
            if not array.is_fully_addressable and not array.is_fully_replicated:
                array = jax.device_put(array, self.everywhere)
            return jnp.asarray(np.asarray(array))

        return jax.tree.map(whole, tree)

    def place_copies(self, tree: Any) -> Any:
        """Arrays whole on every device."""
        return jax.tree.map(lambda array: self._placed(array, self.everywhere), tree)

    def _placed(self, array: Any, sharding: NamedSharding) -> jax.Array:
        if not self.mesh.is_multi_process:
            return jax.device_put(array, sharding)
        array = np.asarray(array)
        return jax.make_array_from_callback(
            array.shape, sharding, lambda index: array[index]
        )


def devices_for(rows: int) -> list[jax.Device] | None:
    """All devices, if several can share that many rows evenly.

    Returns:
      The devices, or None: the default device has the whole batch.
    """
    devices = jax.devices()
    return devices if len(devices) > 1 and rows % len(devices) == 0 else None
