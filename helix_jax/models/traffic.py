"""What a forward pass sends between devices, from the architecture alone.

With N tokens on each device, s bytes per number, and K bytes of a layer's kernels on a
device once they are whole along `fsdp`, a device receives

| axis | in each layer | once, of the embedding |
|---|---|---|
| data | | |
| fsdp, n devices | all-gather: K | all-gather: 5 n N (ids); all-to-all: s N D |
| expert, n devices | all-gather: s n N D; reduce-scatter: 4 N D | |
| tensor | all-reduce: 2 s N D | all-reduce: s N D, where it cuts the vocabulary |

Instead of one of the two all-reduces over `tensor`, a mixture of experts has one of
s R D for each block of R tokens that an expert of the device takes
(`experts.block_sizes`), and one of s N D for a shared expert. The program contains the
most blocks that there can be; each of n devices of `expert` runs an n-th of them if
experts are chosen evenly. Norms over all heads at once have an all-reduce of 4 N each,
for queries and for keys.

`collectives.collective_bytes` counts the same in a compiled program.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.models.dtypes import LOADED_DTYPES
from helix_jax.models.experts import MOST_ROWS, block_sizes
from helix_jax.models.params import parameter_shapes
from helix_jax.models.quantised import parameter_bytes
from helix_jax.models.sharding import partition
from helix_jax.models.spec import ModelSpec

# For a result of S bytes, each of n devices of a ring sends PASSES S (n - 1) / n. The
# result of a reduce-scatter is an n-th of what is reduced, so its PASSES are n.
PASSES = {"all-reduce": 2, "all-gather": 1, "all-to-all": 1}


class Sent(NamedTuple):
    """One kind of collective in a forward pass.

    Attributes:
      axis: of the mesh.
      kind: as in `collectives.KINDS`.
      size: bytes of its result on a device.
      times: how often the program contains it.
      ahead: whether it is independent of the layer before, and can overlap with it.
      share: the share of `times` that runs; the rest is for other devices' tokens.
    """

    axis: str
    kind: str
    size: float
    times: int
    ahead: bool = False
    share: float = 1.0


def forward_traffic(
    spec: ModelSpec, sizes: Mapping[str, int], *, tokens: int, dtype: str
) -> list[Sent]:
    """The collectives that compute the states of a batch, without a head.

    Args:
      spec: the architecture.
      sizes: of the mesh's axes; those left out are 1.
      tokens: number of tokens in a device's rows.
      dtype: of the weights, float32, bfloat16, float16 or int8.
    """
    itemsize = np.dtype(LOADED_DTYPES[dtype]).itemsize
    states, layers = itemsize * tokens * spec.width, spec.num_layers
    fsdp, expert, tensor = (sizes.get(axis, 1) for axis in ("fsdp", "expert", "tensor"))
    found = []
    if fsdp > 1:
        kernels = layer_bytes(spec, sizes, dtype)
        found.append(Sent("fsdp", "all-gather", kernels, layers, ahead=True))
        found.append(Sent("fsdp", "all-gather", 5 * fsdp * tokens, 1))
        found.append(Sent("fsdp", "all-to-all", states, 1))
    if expert > 1:
        found.append(Sent("expert", "all-gather", expert * states, layers))
        found.append(Sent("expert", "reduce-scatter", 4 * tokens * spec.width, layers))
    if tensor > 1:
        whole = 2
        if spec.experts is not None:
            whole = 2 if spec.experts.shared_width else 1
            pairs = expert * tokens * spec.experts.per_token
            rows, blocks = block_sizes(pairs, spec.experts.count // expert)
            size, times = itemsize * rows * spec.width, blocks * layers
            found.append(Sent("tensor", "all-reduce", size, times, share=1 / expert))
        found.append(Sent("tensor", "all-reduce", whole * states, layers))
        if spec.qk_norm == "full":  # squares of the features of all heads
            found.append(Sent("tensor", "all-reduce", 2 * 4 * tokens, layers))
        if spec.vocab_size % tensor == 0:
            found.append(Sent("tensor", "all-reduce", states, 1))
    return found


def layer_bytes(
    spec: ModelSpec, sizes: Mapping[str, int], dtype: str, *, below: str = ""
) -> float:
    """Bytes on a device of a layer's kernels below a path, whole along `fsdp`."""
    sizes = {**sizes, "fsdp": 1}
    own = {}
    for path, shape in parameter_shapes(spec).items():
        if path.startswith(f"layers/{below}") and path.endswith("kernel"):
            cuts = partition(path, shape, spec, sizes)
            own[path] = tuple(
                length // sizes.get(axis, 1) for length, axis in zip(shape, cuts)
            )
    itemsize = np.dtype(LOADED_DTYPES[dtype]).itemsize
    return parameter_bytes(own, dtype, itemsize) / spec.num_layers


def block_bytes(spec: ModelSpec, sizes: Mapping[str, int], dtype: str) -> float:
    """Bytes of experts that a layer reads per token of a large batch; 0 without any.

    Each of a token's experts is read once for a block of MOST_ROWS tokens.
    """
    if spec.experts is None:
        return 0.0
    held = spec.experts.count / sizes.get("expert", 1)
    one = layer_bytes(spec, sizes, dtype, below="experts/") / held
    return one * spec.experts.per_token / MOST_ROWS


def sent_bytes(traffic: list[Sent]) -> dict[str, float]:
    """Kind -> bytes of all results, as `collective_bytes` counts them."""
    total: dict[str, float] = {}
    for one in traffic:
        total[one.kind] = total.get(one.kind, 0) + one.size * one.times
    return total


def ring_bytes(one: Sent, devices: int) -> float:
    """Bytes that each of a number of devices sends for one run of a collective."""
    passes = devices if one.kind == "reduce-scatter" else PASSES[one.kind]
    return passes * one.size * (devices - 1) / devices
