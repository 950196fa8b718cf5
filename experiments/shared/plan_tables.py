"""Tables of a plan: what a device holds, the accelerators, a layer on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from helix_jax.models import model_name
from helix_jax.reports import Table

if TYPE_CHECKING:
    from helix_jax.activations.planning import Needs

GB = 1e9


def layer_row(found: Mapping[str, float]) -> list[object]:
    """The numbers of a layer as they are shown."""
    half = found.get("tokens_for_half")
    times = [1e3 * one for name, one in found.items() if name.endswith("_seconds")]
    return [*times, 100 * found["share_of_peak"], half and round(half)]


def device_table(needs: Mapping[str, Needs], numbers: Mapping[str, float]) -> Table:
    """The bytes of a device."""
    rows = [
        [f"parameters of {model_name(name)}", one.parameter_bytes / GB]
        for name, one in needs.items()
    ]
    rows.append(["a batch", numbers["plan/batch_bytes"] / GB])
    if numbers["plan/moment_bytes"]:
        rows.append(["moments", numbers["plan/moment_bytes"] / GB])
    rows.append(["together", numbers["plan/device_bytes"] / GB])
    note = (
        f"{numbers['plan/flops_per_token'] / GB:.3g} billion operations per token. A "
        "batch is that of the model that needs most."
    )
    return Table("What a device holds, GB", ["what", "GB"], rows, note)


def chip_table(rows: list[list[object]], *, tokens: float, utilisation: float) -> Table:
    """The accelerators."""
    header = ["accelerator", "room, GB", "fits", "devices", "mesh", "time"]
    note = (
        f"The time of {tokens:.3g} tokens at {100 * utilisation:.0f}% of the published "
        "peak, on so many devices; room is what JAX takes of the memory."
    )
    return Table("Accelerators", header, rows, note)


def layer_table(rows: list[list[object]], *, token_budget: int) -> Table:
    """What a layer takes on the accelerators' meshes."""
    header = [
        "accelerator",
        "model",
        "mesh",
        "computing, ms",
        "waiting, ms",
        "gathering, ms",
        "reading, ms",
        "share of peak, %",
        "tokens for half",
    ]
    note = (
        f"One layer of a batch of {token_budget:,} tokens. Kernels are gathered "
        "and read while the layer before computes; sums over devices, and rows that "
        "others' experts take, are waited for. The last column is the batch that "
        "reaches half of the peak; none: no batch does."
    )
    return Table("A layer", header, rows, note)
