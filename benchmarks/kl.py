r"""A step of the KL map through a head of 262,144 words, against the same in torch.

    python -m benchmarks.kl [--words=262144 --source=576 --target=640 --rows=512]

An affine map of token states is trained to predict the next token as the target does:
one step is KL(head(y) || head(y_hat)) of --rows tokens, its gradient with respect to
the map, and Adam. Ours is `alignment.gradient.step` with `kl_loss`; torch's is the same
written plainly (two products with the head, `kl_div` of two `log_softmax`, `backward`),
in batches of several sizes with accumulated gradients. Both start from the same map,
rows and head, and their losses must agree at all steps before a number is printed. Each
runs in its own process, which also gives its peak memory above the initial one.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from absl import flags

from helix_jax.runs.flags import integers_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import (
        forget_peak,
        peak_memory_bytes,
        run_child,
        write_results,
    )

WORDS = flags.DEFINE_integer("words", 262_144, "V of the target", lower_bound=2)
SOURCE = flags.DEFINE_integer("source", 576, "width of the source", lower_bound=1)
TARGET = flags.DEFINE_integer("target", 640, "width of the target", lower_bound=1)
ROWS = flags.DEFINE_integer("rows", 512, "tokens per step", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 3, "counted steps of each run", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 3, "runs of each, in turns", lower_bound=1)
BATCHES = integers_flag("batches", [64, 128, 512], "rows at a time of torch")
TINY = flags.DEFINE_bool("tiny", False, "1,000 words, 64 rows")
SIDE = flags.DEFINE_string("side", "", "ours or torch:BATCH: what a child process runs")

TOLERANCE = 1e-4
"""Largest relative difference of the losses."""

RATE = 4e-3


def problem() -> dict[str, np.ndarray]:
    """A head, a map and rows, the same in every process."""
    rng = np.random.default_rng(0)
    made = {
        "head": (WORDS.value, TARGET.value),
        "kernel": (SOURCE.value, TARGET.value),
        "x": (ROWS.value, SOURCE.value),
        "y": (ROWS.value, TARGET.value),
    }
    scale = {"head": 0.05, "kernel": SOURCE.value**-0.5, "x": 1, "y": 1}
    return {
        name: rng.standard_normal(shape, np.float32) * np.float32(scale[name])
        for name, shape in made.items()
    }


def ours(given: dict[str, np.ndarray]) -> tuple[list[float], list[float], int]:
    """Losses and seconds of each step, including the first, and bytes held before."""
    import jax
    import jax.numpy as jnp
    import optax

    from helix_jax.alignment import AffineMap, kl_loss
    from helix_jax.alignment.gradient import init, step

    for name in tuple(given):
        given[name] = jnp.array(given[name])  # a copy; numpy's array is freed
    loss = kl_loss(jax.tree_util.Partial(lambda head, z: z @ head.T, given["head"]))
    optimizer = optax.adam(RATE)
    state = init(AffineMap(given["kernel"], jnp.zeros(TARGET.value)), optimizer)
    losses, seconds, held = [], [], forget_peak()
    for _ in range(1 + STEPS.value):
        start = time.perf_counter()
        state, info = step(state, given["x"], given["y"], loss, optimizer=optimizer)
        losses.append(float(info["loss"]))
        seconds.append(time.perf_counter() - start)
    return losses, seconds, held


def torch_side(
    given: dict[str, np.ndarray], batch: int
) -> tuple[list[float], list[float], int]:
    """The same in torch, `batch` rows at a time."""
    import torch
    from torch.nn.functional import kl_div, log_softmax

    given = {name: torch.from_numpy(value) for name, value in given.items()}
    kernel = given["kernel"].requires_grad_()
    bias = torch.zeros(TARGET.value, requires_grad=True)
    optimizer = torch.optim.Adam([kernel, bias], lr=RATE)
    rows = len(given["x"])
    losses, seconds, held = [], [], forget_peak()
    for _ in range(1 + STEPS.value):
        start = time.perf_counter()
        optimizer.zero_grad()
        total = 0.0
        for first in range(0, rows, batch):
            x, y = (given[name][first : first + batch] for name in "xy")
            with torch.no_grad():
                reference = log_softmax(y @ given["head"].T, -1)
            mapped = log_softmax((x @ kernel + bias) @ given["head"].T, -1)
            part = kl_div(mapped, reference, reduction="sum", log_target=True) / rows
            part.backward()
            total += part.item()
        optimizer.step()
        losses.append(total)
        seconds.append(time.perf_counter() - start)
    return losses, seconds, held


def child(side: str) -> dict[str, list[float] | float]:
    """Run one side in its own process."""
    command = [sys.executable, "-m", "benchmarks.kl", f"--side={side}"]
    for flag in (WORDS, SOURCE, TARGET, ROWS, STEPS):
        command.append(f"--{flag.name}={flag.value}")
    return run_child(command)


def main(_: list[str]) -> None:
    """Measure both sides and write the table."""
    if SIDE.value:
        name, _, batch = SIDE.value.partition(":")
        given = problem()
        losses, seconds, held = (
            ours(given) if name == "ours" else torch_side(given, int(batch))
        )
        peak = peak_memory_bytes() - held
        print(json.dumps({"losses": losses, "seconds": seconds, "peak": peak}))
        return
    tiny = TINY.value
    if tiny:
        flags.FLAGS(["kl", "--words=1000", "--rows=64", "--steps=1", "--repeats=1"])
    sides = ["ours", *(f"torch:{batch}" for batch in BATCHES.value)]
    runs = {side: [] for side in sides}
    for _ in range(REPEATS.value):
        for side in sides:
            runs[side].append(child(side))
    reference = np.array(runs["ours"][0]["losses"])
    seconds = {
        side: float(np.median([run["seconds"][1:] for run in own]))
        for side, own in runs.items()
    }
    table = []
    for side, own in runs.items():
        worst = np.abs(np.array(own[0]["losses"]) / reference - 1).max()
        if not worst <= TOLERANCE:
            raise SystemExit(f"{side}: losses differ by {worst:.1e}: no time counts.")
        peak = max(run["peak"] for run in own)
        table.append(
            [
                side.replace(":", ", rows at a time: "),
                round(ROWS.value / seconds[side], 1),
                round(seconds[side] / seconds["ours"], 2),
                round(peak / 2**20),
                f"{worst:.0e}",
            ]
        )
    header = [
        "",
        "tokens/s",
        "seconds, ours = 1",
        "peak, MiB",
        "largest difference of a loss",
    ]
    notes = (
        f"One step of an affine map {SOURCE.value} -> {TARGET.value} on {ROWS.value} "
        f"tokens through a head of {WORDS.value:,} words in float32, all cores. "
        f"Medians of {REPEATS.value} runs of {STEPS.value} steps, in turns, the first "
        "step of each not counted. Peak memory above the head, the map and the rows."
    )
    title = "KL map through a large vocabulary"
    print(write_results("kl", title, header, table, notes, not tiny))


if __name__ == "__main__":
    start_main(main)
