r"""What will an extraction need, and on which accelerators?

    python -m experiments.plan --source=DIR_OR_ID [--target=DIR_OR_ID] --tokens=1e9 \
      [--mesh=tensor:4] [--dtype=bfloat16]

Answers from the config of a model alone, before anything is loaded: bytes per device,
operations per token, and for each accelerator whether one device holds the models with
a batch or how many are needed, what they send each other in a layer, the batch that
reaches half of their peak, and the time for all tokens at --utilisation of the peak, or
at what communication leaves of it. What a batch needs is XLA's figure for the program
in float32, compiled for the CPU: other dtypes need less, and an accelerator's own
layout may differ. activations/links.py says how times are estimated. No file is
written.

Cost: seconds, whatever the size of the model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from experiments.shared.options import dtype_option, layers_option, mesh_option
from experiments.shared.plan_tables import (
    GB,
    chip_table,
    device_table,
    layer_row,
    layer_table,
)
from helix_jax.activations.batching import ACCELERATOR_BUDGET_TOKENS
from helix_jax.activations.chips import CHIPS, Chip
from helix_jax.models import ModelSpec, model_name
from helix_jax.paths import expand_path
from helix_jax.progress import bar
from helix_jax.reports.durations import format_duration
from helix_jax.runs import Report, Run, experiment, option

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.activations.links import layer_time
    from helix_jax.activations.planning import (
        Needs,
        cpu_mesh,
        extraction_needs,
        moment_bytes,
        smallest_mesh,
    )
    from helix_jax.models import chosen_layers
    from helix_jax.models.checkpoint import read_spec
    from helix_jax.models.mesh import BATCH_AXES, check_mesh, mesh_flag, parse_mesh
    from helix_jax.runs.inputs import naming

CONFIG = "embedded model by name, hub id, or a folder with config.json"


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """Flags of the program."""

    source: str = option("", CONFIG, required=True, tiny="pebble-llama")
    target: str = option("", "another model to hold as well; empty: none")
    tokens: float = option(1e9, "tokens that each model reads", above=0)
    mesh: str = mesh_option()
    dtype: str = dtype_option()
    layers: tuple[int, ...] = layers_option()
    max_tokens: int = option(512, "tokens of the longest text", least=1)
    token_budget: int = option(
        ACCELERATOR_BUDGET_TOKENS, "tokens per batch, padding included", least=1
    )
    utilisation: float = option(
        0.4, "share of the peak speed that is reached", above=0, most=1
    )
    tiny: bool = option(False, "an embedded model, batches of 512 tokens")


@experiment(tiny={"token_budget": 512, "max_tokens": 64})
def compute(config: PlanConfig, _: Run | None) -> Report:
    """Count, compile, divide; see the module docstring."""
    sizes = parse_mesh(config.mesh) if config.mesh else {}
    specs = {}
    for flag in ("source", "target"):
        if name := getattr(config, flag):
            with naming(flag):
                specs[name] = read_spec(expand_path(name))
            check_mesh(specs[name], sizes)
    mesh = cpu_mesh(sizes)
    needs = {
        name: extraction_needs(
            spec,
            dtype=config.dtype,
            max_tokens=config.max_tokens,
            token_budget=config.token_budget,
            layers=chosen_layers(spec, config.layers),
            mesh=mesh,
        )
        for name, spec in bar(specs.items(), "models planned")
    }
    numbers = device_numbers(specs, needs)
    rows, sending = [], []
    for name, chip in CHIPS.items():
        fits, placed = place_on(chip, specs, needs, numbers, sizes)
        devices = 0 if placed is None else math.prod(placed.values())
        numbers |= {f"{name}/fits": int(fits), f"{name}/devices": devices}
        seconds = 0.0
        for model, spec in specs.items():
            found = layer_numbers(name, spec, sizes or placed or {}, config)
            reached = min(config.utilisation, found["share_of_peak"])
            speed = devices * reached * chip.flops(config.dtype)
            work = config.tokens * needs[model].flops_per_token
            seconds += work / speed if devices else 0.0
            if sizes or placed:
                used = mesh_flag(sizes or placed)
                sending.append([name, model_name(model), used, *layer_row(found)])
                if model == config.source:
                    numbers |= {f"{name}/{key}": one for key, one in found.items()}
        if devices:
            numbers[f"{name}/seconds"] = seconds
        shown = mesh_flag(placed or {}) or None
        time = format_duration(seconds) if devices else None
        rows.append([name, chip.room / GB, fits, devices or None, shown, time])
    blocks = [
        device_table(needs, numbers),
        chip_table(rows, tokens=config.tokens, utilisation=config.utilisation),
    ]
    if sending:
        blocks.append(layer_table(sending, token_budget=config.token_budget))
    answer = plan_answer(numbers, config.tokens)
    return Report(numbers, blocks, about_plan(config), answer=answer)


def plan_answer(numbers: Mapping[str, float], tokens: float) -> str:
    """What a device must hold, and the shortest and longest time for all tokens."""
    held = f"The models and a batch take {numbers['plan/device_bytes'] / GB:.3g} GB"
    seconds = {
        f"{numbers[f'{name}/devices']} x {name}": numbers[f"{name}/seconds"]
        for name in CHIPS
        if f"{name}/seconds" in numbers
    }
    if not seconds:
        return f"{held} of a device: none of {len(CHIPS)} accelerators has room."
    order = sorted(seconds, key=seconds.get)
    times = [f"{format_duration(seconds[one])} on {one}" for one in order]
    span = f"from {times[0]} to {times[-1]}" if len(times) > 1 else times[0]
    return f"{held} on one device; {tokens:.3g} tokens take {span}."


def device_numbers(
    specs: Mapping[str, ModelSpec], needs: Mapping[str, Needs]
) -> dict[str, float]:
    """Bytes of a device that holds all models and a batch of the most demanding one."""
    widths = [spec.width for spec in specs.values()]
    found = {
        "parameter_bytes": sum(one.parameter_bytes for one in needs.values()),
        "batch_bytes": max(one.batch_bytes for one in needs.values()),
        "moment_bytes": moment_bytes(*widths) if len(widths) == 2 else 0,
    }
    found["device_bytes"] = sum(found.values())
    found["flops_per_token"] = sum(one.flops_per_token for one in needs.values())
    return {f"plan/{name}": value for name, value in found.items()}


def place_on(
    chip: Chip,
    specs: Mapping[str, ModelSpec],
    needs: Mapping[str, Needs],
    numbers: Mapping[str, float],
    sizes: dict[str, int],
) -> tuple[bool, dict[str, int] | None]:
    """Whether the plan fits a chip, and the mesh to take.

    That is the given mesh, if it fits; without one, the mesh of fewest devices, or None
    if no mesh fits.
    """
    fits = numbers["plan/device_bytes"] <= chip.room
    if sizes or fits:
        return fits, sizes if fits else None
    room = chip.room - numbers["plan/moment_bytes"]
    return False, smallest_mesh(specs.values(), needs.values(), room)


def layer_numbers(
    name: str, spec: ModelSpec, sizes: dict[str, int], config: PlanConfig
) -> dict[str, float]:
    """Times and speed of a layer for a batch, on a mesh of an accelerator."""
    length = min(config.max_tokens, spec.max_tokens)
    chip, dtype = CHIPS[name], config.dtype
    layer = layer_time(spec, sizes, chip, dtype=dtype, length=length)
    parts = math.prod(sizes.get(axis, 1) for axis in BATCH_AXES)
    tokens = config.token_budget / parts
    half = layer.tokens_for(0.5)
    found = {
        "computing_seconds": layer.computing * tokens,
        "waiting_seconds": layer.reducing * tokens,
        "gathering_seconds": layer.gathering,
        "reading_seconds": max(layer.reading, layer.blocks * tokens),
        "share_of_peak": layer.share(tokens),
    }
    return found if half is None else found | {"tokens_for_half": half * parts}


def about_plan(config: PlanConfig) -> str:
    """Which models, how they are run."""
    names = " and ".join(
        model_name(one) for one in (config.source, config.target) if one
    )
    return (
        f"{names}, {config.dtype}, {config.token_budget:,} tokens per batch, texts of "
        f"at most {config.max_tokens:,}{config.mesh and ', mesh '}{config.mesh}."
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
