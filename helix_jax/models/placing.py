"""Parameters of a checkpoint on their devices; each process reads only its part."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding

from helix_jax.models.fill import Part, whole
from helix_jax.models.weights import digest_of, sha256
from helix_jax.types import Array

Index = tuple[slice, ...]


def cuts_of(shape: tuple[int, ...], sharding: NamedSharding | None) -> list[Index]:
    """The distinct indices of a parameter that this process's devices hold.

    A sharding of None stands for one device, which holds all.
    """
    if sharding is None:
        return [whole(shape)]
    held = sharding.addressable_devices_indices_map(shape).values()
    ranges = dict.fromkeys(_ranges(index, shape) for index in held)
    return [tuple(slice(*one) for one in index) for index in ranges]


def place_parts(
    parts: Sequence[Part], shape: tuple[int, ...], sharding: NamedSharding | None
) -> Array:
    """A parameter on its devices, or the default one, from its local parts.

    A CPU uses them without a copy, so they must not be written to afterwards.

    Args:
      parts: of `cuts_of`, filled.
      shape: of the parameter.
      sharding: where it goes, or None.
    """
    if sharding is None:
        return jax.device_put(parts[0].array)
    held = {_ranges(part.index, shape): part.array for part in parts}
    return jax.make_array_from_callback(
        shape, sharding, lambda index: held[_ranges(index, shape)]
    )


def shared_digest(files: Sequence[Path]) -> str:
    """`weights.digest`, each process hashing its share of the files."""
    own = np.zeros((len(files), 32), np.uint8)
    for number in range(jax.process_index(), len(files), jax.process_count()):
        own[number] = np.frombuffer(sha256(files[number]), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(own))
    return digest_of(every.reshape(-1, *own.shape).sum(0, dtype=np.uint8))


def _ranges(index: Index, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(one.indices(size)[:2] for one, size in zip(index, shape))
