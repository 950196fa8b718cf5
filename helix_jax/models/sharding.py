"""The placement of parameters and states on a mesh: names -> logical -> mesh axes.

The forward pass is one program for any mesh: `shardings` places parameters, `constrain`
places the states between them, and XLA's partitioner inserts the communication. The
mesh is that of `jax.set_mesh`; without one nothing is constrained.

Reference: Xu et al. 2021 (GSPMD), arXiv 2105.04663; kernels by columns and rows:
Shoeybi et al. 2019, arXiv 1909.08053; `fsdp`: Rajbhandari et al. 2019, arXiv
1910.02054.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from helix_jax.models.mesh import AXES, BATCH_AXES, check_mesh
from helix_jax.models.params import flatten, nest, parameter_shapes
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

# Logical axis -> the mesh axes that cut it. An axis that is None in AXES_OF, or missing
# here, is whole.
RULES: Mapping[str | None, str | tuple[str, ...] | None] = {
    "batch": BATCH_AXES,
    "looked_up": tuple(name for name in BATCH_AXES if name != "fsdp"),
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "vocabulary": "tensor",
    "experts": "expert",
    "layers": None,
}
# Parameter -> logical axes, after those of a stack. Parameters of one row or less
# (norms, biases into the stream, sinks) are whole on every device.
AXES_OF = {
    "embed": ("vocabulary", "embed"),
    "positions": (None, "embed"),
    "token_types": (None, "embed"),
    "task_types": (None, "embed"),
    "embed_in/kernel": (None, "embed"),
    "embed_out/kernel": ("embed", None),
    "q/kernel": ("embed", "heads"),
    "k/kernel": ("embed", "kv_heads"),
    "v/kernel": ("embed", "kv_heads"),
    "out/kernel": ("heads", "embed"),
    "q/bias": ("heads",),
    "k/bias": ("kv_heads",),
    "v/bias": ("kv_heads",),
    "gate/kernel": ("embed", "mlp"),
    "up/kernel": ("embed", "mlp"),
    "down/kernel": ("mlp", "embed"),
    "gate/bias": ("mlp",),
    "up/bias": ("mlp",),
    "router/kernel": ("embed", None),
    "shared_gate/kernel": ("embed", None),
    "head/kernel": ("embed", "vocabulary"),
    "head/bias": ("vocabulary",),
    "head_transform/kernel": ("embed", None),
}
_STACKS = {"layers/experts/": ("layers", "experts"), "layers/": ("layers",)}


def logical_axes(path: str, dimensions: int) -> tuple[str | None, ...]:
    """The logical axis of each dimension of a parameter; None for whole ones.

    Raises:
      ValueError: a kernel without a rule.
    """
    if path.endswith("kernel_scale"):  # of int8: one number per output
        *front, _, outputs = logical_axes(path.removesuffix("_scale"), dimensions + 1)
        return (*front, outputs)
    stack = next((axes for name, axes in _STACKS.items() if path.startswith(name)), ())
    own = AXES_OF.get("/".join(path.split("/")[-2:]))
    if own is None:
        if path.endswith("kernel"):
            raise ValueError(f"no rule says how {path!r} is cut; add it to AXES_OF.")
        own = (None,) * (dimensions - len(stack))
    return (*stack, *own)


def partition(
    path: str, shape: tuple[int, ...], spec: ModelSpec, sizes: Mapping[str, int]
) -> PartitionSpec:
    """How a parameter is cut on a mesh that fits the model (`check_mesh`).

    A vocabulary, or an embedding's width, that its axis does not divide is whole on
    every device, and so are key-value heads if there are too few.
    """
    cuts = []
    for name, size in zip(logical_axes(path, len(shape)), shape, strict=True):
        axis = RULES.get(name)
        parts = sizes.get(axis, 1) if isinstance(axis, str) else 1
        if name == "kv_heads":
            size = spec.num_kv_heads
        cuts.append(axis if parts > 1 and size % parts == 0 else None)
    return PartitionSpec(*cuts)


def placements(
    spec: ModelSpec, mesh: Mesh | None
) -> dict[str, NamedSharding] | dict[str, None]:
    """Path -> placement of a parameter of `parameter_shapes`; None without a mesh.

    Raises:
      MeshError: the mesh does not divide the model's heads, features or experts.
    """
    shapes = parameter_shapes(spec)
    if mesh is None:
        return dict.fromkeys(shapes)
    check_mesh(spec, mesh.shape)
    return {
        path: NamedSharding(mesh, partition(path, shape, spec, mesh.shape))
        for path, shape in shapes.items()
    }


def shardings(spec: ModelSpec, mesh: Mesh) -> dict:
    """`placements` as the tree of the parameters."""
    return nest(placements(spec, mesh))


def shard_params(params: Mapping, spec: ModelSpec, mesh: Mesh) -> dict:
    """Place parameters as `shardings` says.

    Raises:
      MeshError: as `shardings`.
    """
    check_mesh(spec, mesh.shape)
    return nest(
        {
            path: jax.device_put(
                value,
                NamedSharding(mesh, partition(path, value.shape, spec, mesh.shape)),
            )
            for path, value in flatten(params)
        }
    )


def mesh_of(params: Any) -> Mesh | None:
    """The mesh that parameters lie on, or None for one device."""
    for leaf in jax.tree.leaves(params):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.mesh.axis_names == AXES:
            return sharding.mesh
    return None


@contextlib.contextmanager
def on_mesh(mesh: Mesh | None) -> Iterator[None]:
    """Constrain traced code inside to a mesh; None or one device: no effect."""
    if mesh is None or mesh.size == 1:
        yield
        return
    with jax.set_mesh(mesh):
        yield


def active_mesh() -> AbstractMesh | None:
    """The mesh of `on_mesh`, or None."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if mesh.axis_names == AXES else None


def constrain(x: Array, *axes: str | None) -> Array:
    """x with its dimensions cut by logical axes; unchanged without a mesh."""
    if active_mesh() is None:
        return x
    cuts = [RULES.get(name) for name in axes]
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*cuts))


def gather_layer(params: Mapping, spec: ModelSpec) -> Mapping:
    """One layer's parameters, gathered along `fsdp`; those of others stay cut."""
    mesh = active_mesh()
    if mesh is None or mesh.shape["fsdp"] == 1:
        return params
    sizes = {**mesh.shape, "fsdp": 1}

    def whole(path: str, value: Array) -> Array:
        cuts = partition(f"layers/{path}", (0, *value.shape), spec, sizes)
        return jax.lax.with_sharding_constraint(value, PartitionSpec(*cuts[1:]))

    return nest({path: whole(path, value) for path, value in flatten(params)})


def share_kv_heads(x: Array) -> Array:
    """Keys or values [B, K, S, D_head], each head repeated for the devices it serves.

    If `tensor` has more devices than there are heads, heads are repeated to that
    number, so that each device holds the one that its query heads read.
    """
    mesh = active_mesh()
    tensor = 1 if mesh is None else mesh.shape["tensor"]
    if x.shape[1] % tensor == 0:
        return x
    return x.repeat(tensor // x.shape[1], axis=1)
