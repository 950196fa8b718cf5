"""Meshes of devices: the purpose and size of each axis.

| axis | what is cut along it |
|---|---|
| data | rows of a batch; parameters are copied |
| fsdp | rows of a batch, and every kernel, which is gathered layer by layer |
| expert | rows of a batch, and the experts of a layer |
| tensor | heads, features of feed-forward layers, the vocabulary |
"""

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from helix_jax.errors import MeshError
from helix_jax.models.spec import ModelSpec
from helix_jax.processes import current

AXES = ("data", "fsdp", "expert", "tensor")  # the last has the devices closest together
BATCH_AXES = ("data", "expert", "fsdp")
# The share of a device's memory for parameters; the rest is for states and XLA.
PARAMETER_SHARE = 0.7


def parse_mesh(text: str) -> dict[str, int]:
    """Axis sizes from text such as "data:2,tensor:4", in the order of AXES.

    Raises:
      MeshError: an unknown axis, one given twice, a size that is not a number above 0.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = (piece.strip() for piece in part.partition(":"))
        if name not in AXES:
            raise MeshError(
                f"mesh {text!r}: {name!r} is no axis; expected {', '.join(AXES)}, for "
                "example data:2,tensor:4."
            )
        if name in sizes:
            raise MeshError(f"mesh {text!r} names the axis {name} twice.")
        if not (size.isascii() and size.isdigit()) or int(size) < 1:
            raise MeshError(
                f"mesh {text!r}: the size of {name} must be a whole number of 1 or "
                f"more, got {size!r}."
            )
        sizes[name] = int(size)
    return {name: sizes[name] for name in AXES if name in sizes}


def mesh_flag(sizes: Mapping[str, int]) -> str:
    """Sizes in the form that `parse_mesh` reads."""
    return ",".join(f"{name}:{size}" for name, size in sizes.items())


def make_mesh(
    sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh of all AXES; those not in `sizes` have size 1.

    Args:
      sizes: as from `parse_mesh`.
      devices: of the mesh, in its order; None for those of all processes, process by
        process.

    Raises:
      MeshError: there are more or fewer devices than the sizes' product, or as
        `check_processes`.
    """
    if devices is None:
        devices = sorted(jax.devices(), key=lambda one: (one.process_index, one.id))
    devices = list(devices)
    shape = [sizes.get(name, 1) for name in AXES]
    if math.prod(shape) != len(devices):
        raise MeshError(
            f"the mesh {mesh_flag(sizes)} needs {math.prod(shape)} devices, there are "
            f"{len(devices)}; give sizes whose product is {len(devices)}"
            f"{_of_others(len(devices))}."
        )
    processes = len({device.process_index for device in devices})
    if processes > 1:
        check_processes(sizes, len(devices) // processes)
    return Mesh(np.array(devices).reshape(shape), AXES)


def check_processes(sizes: Mapping[str, int], own: int) -> None:
    """Raise MeshError unless a model copy spans whole processes or lies within one.

    Args:
      sizes: as from `parse_mesh`.
      own: devices of each process.
    """
    copy = math.prod(size for name, size in sizes.items() if name != "data")
    if copy % own and own % copy:
        raise MeshError(
            f"the mesh puts a copy of the model on {copy} devices, and a process has "
            f"{own}: that is {copy / own:.3g} processes. Give sizes of fsdp, "
            f"expert and tensor whose product divides {own} or is a multiple of it."
        )


def _of_others(devices: int) -> str:
    """A remark on devices of other processes, which are not counted."""
    if current().count == 1 or jax.process_count() > 1:
        return ""
    return (
        f" (or {devices * current().count} with --share_devices, which pools the "
        f"devices of all {current().count} processes)"
    )


def batch_parts(mesh: Mesh | None) -> int:
    """The number of parts of a batch on a mesh; 1 without one."""
    return 1 if mesh is None else math.prod(mesh.shape[name] for name in BATCH_AXES)


def check_mesh(spec: ModelSpec, sizes: Mapping[str, int]) -> None:
    """Raise MeshError unless the axes divide the parts of a model that they cut.

    Fewer key-value heads than `tensor` are copied to the devices that share them, so
    one of the two numbers must divide the other.
    """
    tensor, expert = sizes.get("tensor", 1), sizes.get("expert", 1)
    _divide(spec, "heads", spec.num_heads, "tensor", tensor)
    keys = spec.num_kv_heads
    if keys % tensor and tensor % keys:
        _divide(spec, "key-value heads", keys, "tensor", tensor)
    if spec.experts is None and expert > 1:
        raise MeshError(
            f"{spec.family} has no experts, but the mesh has expert:{expert}; leave "
            "that axis out."
        )
    _divide(spec, "features of feed-forward layers", spec.ffn_width, "tensor", tensor)
    if spec.experts is not None:
        _divide(spec, "experts", spec.experts.count, "expert", expert)
        shared = spec.experts.shared_width
        _divide(spec, "features of the shared expert", shared, "tensor", tensor)
    _divide(spec, "features", spec.width, "fsdp", sizes.get("fsdp", 1))


def _divide(spec: ModelSpec, what: str, number: int, axis: str, size: int) -> None:
    if number % size:
        fits = [str(one) for one in range(1, size + 1) if number % one == 0]
        raise MeshError(
            f"{spec.family} has {number} {what}, which the mesh's {axis}:{size} does "
            f"not divide; give {axis}:{' or '.join(fits[-4:])}."
        )


def choose_mesh(
    spec: ModelSpec, devices: int, *, parameter_bytes: int, device_bytes: int | None
) -> dict[str, int]:
    """The mesh on which as few devices as possible hold one copy of a model.

    The devices of a copy cut it by `tensor`, or by `fsdp` if its heads are not
    divisible; the other devices hold further copies and share the batch.

    Args:
      spec: the architecture.
      devices: how many there are.
      parameter_bytes: of all parameters.
      device_bytes: memory of each, of which PARAMETER_SHARE is for parameters; None if
        unknown: one device is then assumed to hold the model.

    Raises:
      MeshError: all devices together cannot hold it.
    """
    if device_bytes is None:
        return {"data": devices}
    room = PARAMETER_SHARE * device_bytes
    for count in range(1, devices + 1):
        if devices % count or parameter_bytes > count * room:
            continue
        for axis in ("tensor", "fsdp"):
            sizes = {"data": devices // count, axis: count}
            try:
                check_mesh(spec, sizes)
            except MeshError:
                continue
            return sizes if count > 1 else {"data": devices}
    raise MeshError(
        f"{spec.family}: {parameter_bytes / 1e9:.1f} GB of parameters do not fit on "
        f"{devices} devices with {room / 1e9:.1f} GB each for them; use a smaller "
        "dtype, more devices, or a --mesh over those of several processes "
        "(--share_devices)."
    )


def mesh_for(spec: ModelSpec, text: str, *, parameter_bytes: int = 0) -> Mesh | None:
    """The mesh of a flag.

    Args:
      spec: the architecture.
      text: as for `parse_mesh`, over the devices of this process or of all processes;
        "" to use `choose_mesh` on those of this process.
      parameter_bytes: of all parameters; 0 if no mesh is to be chosen.

    Returns:
      The mesh; None if none was requested and one device holds the model.

    Raises:
      MeshError: as `parse_mesh`, `make_mesh`, `check_mesh` and `choose_mesh`.
    """
    devices = jax.local_devices()
    if text:
        sizes = parse_mesh(text)
        check_mesh(spec, sizes)
        own = math.prod(sizes.values()) == len(devices)
        return make_mesh(sizes, devices if own else None)
    memories = [one.memory_stats() or {} for one in devices]
    limits = [own["bytes_limit"] for own in memories if "bytes_limit" in own]
    least = min(limits) if len(limits) == len(devices) else None
    sizes = choose_mesh(
        spec, len(devices), parameter_bytes=parameter_bytes, device_bytes=least
    )
    return None if set(sizes) == {"data"} else make_mesh(sizes, devices)
