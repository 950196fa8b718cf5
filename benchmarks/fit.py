r"""Moments and a ridge path against scikit-learn, one penalty at a time.

    python -m benchmarks.fit [--rows=200000 --width=1024 --penalties=20]

Ours streams the rows in blocks and solves for all penalties from one
eigendecomposition, with float64 and with float32 products. scikit-learn's Ridge (its
default solver, in float32, its fastest) is fitted for every penalty in turn. The maps
must agree before a time counts.

Memory is measured in fresh processes: ours with n and with 4n rows, made block by
block; scikit-learn's with n rows and one penalty.
"""

from __future__ import annotations

import sys

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import (
        alternate,
        medians,
        peak_memory_bytes,
        run_child,
        write_results,
    )
    from helix_jax.alignment import accumulate, fit_ridge, ridge_maps

ROWS = flags.DEFINE_integer("rows", 200_000, "N", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", 1024, "D of both sides", lower_bound=1)
BLOCK = flags.DEFINE_integer("block", 2048, "rows per step", lower_bound=1)
PENALTIES = flags.DEFINE_integer("penalties", 20, "P", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "2,000 rows of width 64")
MEMORY = flags.DEFINE_enum(
    "memory", None, ["ours", "peer"], "only do the work once and print the peak, bytes"
)


def penalties() -> np.ndarray:
    """Values of lambda in |XW - Y|^2 + lambda |W|^2."""
    return np.logspace(0, 6, PENALTIES.value)


def ours(blocks, product_dtype: str | None = None):
    """The maps of every penalty from a stream of blocks."""
    moments = accumulate(blocks, product_dtype=product_dtype)
    return ridge_maps(fit_ridge(moments, penalties=penalties(), relative=False)).map


def peer(x: np.ndarray, y: np.ndarray, count: int | None = None) -> list[np.ndarray]:
    """The same with scikit-learn, one fit for each penalty."""
    from sklearn.linear_model import Ridge

    return [Ridge(alpha=alpha).fit(x, y).coef_ for alpha in penalties()[:count]]


def made(rows: int, width: int):
    """Blocks of rows, made on demand."""
    generator = np.random.default_rng(0)
    true = generator.standard_normal((width, width), dtype=np.float32) / width**0.5
    for start in range(0, rows, BLOCK.value):
        shape = (min(BLOCK.value, rows - start), width)
        x = generator.standard_normal(shape, dtype=np.float32)
        yield x, x @ true + generator.standard_normal(shape, dtype=np.float32)


def measure(x: np.ndarray, y: np.ndarray) -> tuple[dict, dict]:
    """Median seconds of each contender, and how far its maps are from the peer's."""

    def blocks():
        starts = range(0, len(x), BLOCK.value)
        return ((x[i : i + BLOCK.value], y[i : i + BLOCK.value]) for i in starts)

    maps = {
        "ours": np.asarray(ours(blocks()).kernel),
        "ours, float32 products": np.asarray(ours(blocks(), "float32").kernel),
    }
    contenders = {
        "moments": lambda: accumulate(blocks()),
        "ours": lambda: ours(blocks()),
        "ours, float32 products": lambda: ours(blocks(), "float32"),
        "scikit-learn": lambda: maps.update({"scikit-learn": peer(x, y)}),
    }
    seconds = alternate(contenders, repeats=REPEATS.value, warmups=0)
    reference = np.stack([coefficients.T for coefficients in maps["scikit-learn"]])
    maps["scikit-learn"] = reference
    worst = {name: np.abs(kernel - reference).max() for name, kernel in maps.items()}
    return medians(seconds), worst


def peak_mib(who: str, rows: int, width: int) -> int:
    """Peak memory, MiB, of a separate process that does the work once."""
    command = [sys.executable, "-m", "benchmarks.fit", f"--memory={who}"]
    command += [f"--rows={rows}", f"--width={width}", f"--block={BLOCK.value}"]
    return round(run_child(command) / 2**20)


def main(_: list[str]) -> None:
    """Measure and write the table."""
    rows, width = (2000, 64) if TINY.value else (ROWS.value, WIDTH.value)
    if MEMORY.value == "ours":
        ours(made(rows, width)).kernel.block_until_ready()
    if MEMORY.value == "peer":
        peer(*map(np.concatenate, zip(*made(rows, width))), count=1)
    if MEMORY.value:
        print(peak_memory_bytes())
        return

    seconds, worst = measure(*map(np.concatenate, zip(*made(rows, width))))
    memory = {
        "ours": f"{peak_mib('ours', rows, width)}, {peak_mib('ours', 4 * rows, width)}",
        "scikit-learn": str(peak_mib("peer", rows, width)),
    }
    table = []
    for name in ("ours", "ours, float32 products", "scikit-learn"):
        if worst[name] > 1e-3:
            raise SystemExit(f"{name}: maps differ by {worst[name]}, no time counts")
        ratio = seconds["scikit-learn"] / seconds[name]
        table.append([name, seconds[name], ratio, worst[name], memory.get(name, "")])
    flops = 2 * rows * 3 * width * width
    notes = (
        f"{rows:,} rows, {width:,} source and target dimensions, {PENALTIES.value} "
        f"penalties, {REPEATS.value} repetitions. Ours: moments in blocks of "
        f"{BLOCK.value:,} rows ({seconds['moments']:.2f} s of the float64 time, "
        f"{flops / seconds['moments'] / 1e9:.0f} GFLOP/s), then every map from one "
        "eigendecomposition. scikit-learn: Ridge(alpha).fit(x, y) in float32 for each "
        "penalty, all of them run. Peak memory is of whole processes: ours for n and "
        "for 4n rows made on the fly, scikit-learn's for n rows and one penalty."
    )
    header = ["", "seconds", "ratio", "largest difference of a map", "peak, MiB"]
    title = "Ridge path from moments"
    print(write_results("fit", title, header, table, notes, not TINY.value))


if __name__ == "__main__":
    start_main(main)
