"""What a forward pass sends between devices, from the architecture alone.

With N tokens on each device, s bytes a number, and of the kernels of a layer the bytes
K that a device has once they are whole along `fsdp`, it is given

| axis | in each layer | once, of the embedding |
|---|---|---|
| data | | |
| fsdp, n devices | all-gather: K | all-gather: 5 n N (ids); all-to-all: s N D |
| tensor | all-reduce: 2 s N D | all-reduce: s N D, where it cuts the vocabulary |

`collectives.collective_bytes` counts the same in a compiled program.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.models.checkpoint import LOADED_DTYPES
from helix_jax.models.params import parameter_shapes
from helix_jax.models.quantised import parameter_bytes
from helix_jax.models.sharding import partition
from helix_jax.models.spec import ModelSpec

# Of S bytes of result each of n devices of a ring sends PASSES S (n - 1) / n.
PASSES = {"all-reduce": 2, "all-gather": 1, "all-to-all": 1}


class Sent(NamedTuple):
    """One kind of collective in a forward pass.

    Attributes:
      axis: of the mesh.
      kind: key of PASSES.
      size: bytes of its result on a device.
      times: how often it runs.
      ahead: whether it needs nothing of the layer before, so that it can run meanwhile.
    """

    axis: str
    kind: str
    size: float
    times: int
    ahead: bool = False


def forward_traffic(
    spec: ModelSpec, sizes: Mapping[str, int], *, tokens: float, dtype: str
) -> list[Sent]:
    """The collectives of the states of a batch, without a head.

    Args:
      spec: the architecture.
      sizes: of the mesh's axes; those left out are 1.
      tokens: of a device's rows.
      dtype: of the weights, float32, bfloat16, float16 or int8.

    Raises:
      ValueError: a mixture of experts; what it sends depends on its routing's blocks.
    """
    if spec.experts is not None:
        raise ValueError(
            f"{spec.family}: what a mixture of experts sends is not worked out; count "
            "it in the compiled program (models.collectives)."
        )
    itemsize = np.dtype(LOADED_DTYPES[dtype]).itemsize
    states, layers = itemsize * tokens * spec.width, spec.num_layers
    fsdp, tensor = (sizes.get(axis, 1) for axis in ("fsdp", "tensor"))
    found = []
    if fsdp > 1:
        kernels = layer_bytes(spec, sizes, dtype)
        found.append(Sent("fsdp", "all-gather", kernels, layers, ahead=True))
        found.append(Sent("fsdp", "all-gather", 5 * fsdp * tokens, 1))
        found.append(Sent("fsdp", "all-to-all", states, 1))
    if tensor > 1:
        found.append(Sent("tensor", "all-reduce", 2 * states, layers))
        if spec.vocab_size % tensor == 0:
            found.append(Sent("tensor", "all-reduce", states, 1))
    return found


def layer_bytes(spec: ModelSpec, sizes: Mapping[str, int], dtype: str) -> float:
    """Bytes of one layer's kernels on a device, whole along `fsdp`."""
    sizes = {**sizes, "fsdp": 1}
    own = {}
    for path, shape in parameter_shapes(spec).items():
        if path.startswith("layers/") and path.endswith("kernel"):
            cuts = partition(path, shape, spec, sizes)
            own[path] = tuple(
                length // sizes.get(axis, 1) for length, axis in zip(shape, cuts)
            )
    itemsize = np.dtype(LOADED_DTYPES[dtype]).itemsize
    return parameter_bytes(own, dtype, itemsize) / spec.num_layers


def sent_bytes(traffic: list[Sent]) -> dict[str, float]:
    """Kind -> bytes of all results, as `collective_bytes` counts them."""
    total: dict[str, float] = {}
    for one in traffic:
        total[one.kind] = total.get(one.kind, 0) + one.size * one.times
    return total


def ring_bytes(one: Sent, devices: int) -> float:
    """What each of so many devices sends for one run of a collective."""
    return PASSES[one.kind] * one.size * (devices - 1) / devices
