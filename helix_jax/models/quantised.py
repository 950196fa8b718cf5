"""Weights in int8, with a scale for each output of a kernel; computation in floats.

    kernel = values * scale,   scale_j = max_i |kernel_ij| / 127

This applies to the kernels of all blocks; embeddings, the head, routers, gates of
shared experts, norms and biases stay as loaded. Products with bfloat16 states are exact
in float32: bfloat16 holds whole numbers to 256.

Reference: Dettmers et al. 2022 (LLM.int8()), arXiv 2208.07339, section 2, by column and
for the weights alone.
"""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from helix_jax.models.dtypes import INT8
from helix_jax.models.params import flatten, nest
from helix_jax.models.spec import ModelSpec
from helix_jax.models.transformer import apply_model
from helix_jax.types import Array

LARGEST = 127
FLOATS = ("router", "shared_gate")  # few weights with a large effect


def is_quantised(path: str) -> bool:
    """Whether a parameter is a kernel to be stored in int8."""
    owner = path.removesuffix("/kernel")
    return path.startswith("layers/") and owner != path and not owner.endswith(FLOATS)


def parameter_bytes(
    shapes: Mapping[str, tuple[int, ...]], dtype: str, itemsize: int
) -> int:
    """Bytes of parameters, `itemsize` each unless they are int8.

    Args:
      shapes: of `parameter_shapes`, or a device's part of them.
      dtype: the name of the dtype that the model is loaded in.
      itemsize: bytes of a value that is not int8.
    """
    return sum(
        math.prod(shape) * (1 if dtype == INT8 and is_quantised(path) else itemsize)
        for path, shape in shapes.items()
    )


def quantise_kernel(kernel: Array) -> dict[str, Array]:
    """The parameters that `layers.dense` takes instead of a kernel.

    Args:
      kernel: [..., D_in, D_out] float, on one device or cut over a mesh.

    Returns:
      kernel: [..., D_in, D_out] int8, on the same devices; kernel_scale: [..., D_out]
      float32, 0 for outputs whose weights are all zero.
    """
    places = None
    if isinstance(kernel.sharding, NamedSharding):
        mesh, cuts = kernel.sharding.mesh, kernel.sharding.spec
        cuts = (*cuts, *(None,) * (kernel.ndim - len(cuts)))
        scale_cuts = PartitionSpec(*cuts[:-2], cuts[-1])
        places = (kernel.sharding, NamedSharding(mesh, scale_cuts))
    return dict(zip(("kernel", "kernel_scale"), _quantise(kernel, places)))


def _quantise(
    kernel: Array, places: tuple[NamedSharding, NamedSharding] | None
) -> tuple[Array, Array]:
    def both(kernel: Array) -> tuple[Array, Array]:
        weights = kernel.astype(jnp.float32)
        scale = jnp.max(jnp.abs(weights), axis=-2) / LARGEST
        units = jnp.where(scale > 0, scale, 1)[..., None, :]
        return jnp.round(weights / units).astype(jnp.int8), scale

    return jax.jit(both, out_shardings=places)(kernel)


def quantise(flat: Mapping[str, Array]) -> dict[str, Array]:
    """Path -> parameter, with every kernel of the blocks in int8."""
    found: dict[str, Array] = {}
    for path, value in flat.items():
        if is_quantised(path):
            parent = path.removesuffix("kernel")
            found |= {parent + name: v for name, v in quantise_kernel(value).items()}
        else:
            found[path] = value
    return found


def quantisation_error(
    params: Mapping,
    spec: ModelSpec,
    tokens: Array,
    mask: Array | None = None,
    *,
    layers: Sequence[int] = (-1,),
) -> np.ndarray:
    """How far int8 moves the states: |h_int8 - h| / |h|, over all tokens of a batch.

    Args:
      params: in floats, such as bfloat16.
      spec, tokens, mask, layers: as for `apply_model`.

    Returns:
      [n] float64, one for each layer.
    """
    run = jax.jit(
        lambda own: apply_model(own, spec, tokens, mask, layers=layers).hidden
    )
    rounded = nest(quantise(dict(flatten(params))))
    plain, moved = (np.asarray(run(own), np.float64) for own in (params, rounded))
    real = np.ones(tokens.shape, bool) if mask is None else np.asarray(mask, bool)
    difference = np.linalg.norm((moved - plain)[:, real], axis=(1, 2))
    return difference / np.linalg.norm(plain[:, real], axis=(1, 2))
