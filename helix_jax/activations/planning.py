"""What an extraction needs of a device, from the architecture alone.

Parameters are counted; XLA reports what a batch needs in addition, for the program
compiled for the CPU with shapes instead of arrays. Nothing is loaded. That program is
in float32, because a CPU would copy other weights to float32, which an accelerator does
not; for narrower states the result is an upper bound.
"""

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from helix_jax.activations.batching import batch_capacity
from helix_jax.activations.forward import pooled_states
from helix_jax.activations.layout import block_parameters
from helix_jax.errors import MeshError
from helix_jax.models import ModelSpec
from helix_jax.models.dtypes import LOADED_DTYPES
from helix_jax.models.mesh import BATCH_AXES, batch_parts, check_mesh, make_mesh
from helix_jax.models.params import nest, parameter_shapes
from helix_jax.models.quantised import parameter_bytes
from helix_jax.models.sharding import on_mesh, placements

MOST_DEVICES = 1024


class Needs(NamedTuple):
    """What one model needs.

    Attributes:
      parameter_bytes: on each device.
      batch_bytes: on each device, what a batch of the longest texts adds in float32.
      model_bytes: all parameters.
      flops_per_token: of the blocks, for products and for attention over a whole text.
    """

    parameter_bytes: int
    batch_bytes: int
    model_bytes: int
    flops_per_token: float


def cpu_mesh(sizes: dict[str, int]) -> Mesh | None:
    """A mesh of these sizes, simulated on the CPU; None for one device.

    Raises:
      MeshError: this process has already started fewer devices.
    """
    count = math.prod(sizes.values())
    if count == 1:
        return None
    with contextlib.suppress(RuntimeError):  # they have already been started
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise MeshError(
            f"the mesh has {count} devices and this process has started "
            f"{len(devices)}; plan it in a separate process."
        )
    return make_mesh(sizes, devices[:count])


def extraction_needs(
    spec: ModelSpec,
    *,
    dtype: str,
    max_tokens: int,
    token_budget: int,
    layers: Sequence[int] = (),
    mesh: Mesh | None = None,
) -> Needs:
    """What an extraction of pooled states needs.

    Args:
      spec: the architecture.
      dtype: of the weights.
      max_tokens: of the longest text.
      token_budget: tokens per batch.
      layers: absolute numbers of the layers that are taken; (): the last.
      mesh: from `cpu_mesh`.

    Raises:
      MeshError: the mesh does not suit the model.
    """
    places, shapes = placements(spec, mesh), parameter_shapes(spec)
    flat = {
        path: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=places[path])
        for path, shape in shapes.items()
    }
    length = min(max_tokens, spec.max_tokens)
    rows = batch_capacity(length, token_budget, multiple=batch_parts(mesh))
    by_row = mesh and NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    with on_mesh(mesh):
        compiled = pooled_states.lower(
            nest(flat),
            jax.ShapeDtypeStruct((rows, length), jnp.int32, sharding=by_row),
            jax.ShapeDtypeStruct((rows,), jnp.int32, sharding=by_row),
            (),
            spec=spec,
            layers=tuple(layers) or (spec.num_layers,),
            final_norm=True,
            pooling="mean",
            dtype=np.dtype("float32"),
        ).compile()
    found = compiled.memory_analysis()
    itemsize = np.dtype(LOADED_DTYPES[dtype]).itemsize
    of_device = {path: _of_device(leaf) for path, leaf in flat.items()}
    return Needs(
        parameter_bytes(of_device, dtype, itemsize),
        found.temp_size_in_bytes + found.output_size_in_bytes,
        parameter_bytes(shapes, dtype, itemsize),
        flops_per_token(spec, length),
    )


def flops_per_token(spec: ModelSpec, length: int) -> float:
    """Operations of the blocks for one token of a text of `length` tokens.

    Two for each parameter that it passes, and four for each feature of each head and
    each token of the text: a decoder needs about half of these and computes all.
    """
    attention = 4 * spec.num_layers * spec.num_heads * spec.head_width * length
    return 2 * block_parameters(spec) + attention


def moment_bytes(dx: int, dy: int) -> int:
    """Bytes of float64 moments of two widths: the sum, and the part added to it."""
    return 2 * 8 * (dx * dx + dx * dy + dy * dy + dx + dy)


def smallest_mesh(
    specs: Iterable[ModelSpec], needs: Iterable[Needs], room: float
) -> dict[str, int] | None:
    """The smallest power of two of devices that holds models and a batch; None if none.

    Args:
      specs: architectures of the models that are held at once.
      needs: of each model, on one device.
      room: bytes of a device.

    Returns:
      Sizes of a mesh that fits every model, by `tensor`, or else by `fsdp`.
    """
    specs, needs = list(specs), list(needs)
    models = sum(one.model_bytes for one in needs)
    batch = max(one.batch_bytes for one in needs)
    count = 1
    while count <= MOST_DEVICES:
        if models / count + batch <= room:
            for axis in ("tensor", "fsdp"):
                sizes = {axis: count}
                if all(_takes(spec, sizes) for spec in specs):
                    return sizes
        count *= 2
    return None


def _takes(spec: ModelSpec, sizes: dict[str, int]) -> bool:
    try:
        check_mesh(spec, sizes)
    except MeshError:
        return False
    return True


def _of_device(leaf: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    if leaf.sharding is None:
        return leaf.shape
    return leaf.sharding.shard_shape(leaf.shape)
