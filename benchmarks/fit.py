r"""Moments and a ridge path against scikit-learn, one penalty at a time.

    python -m benchmarks.fit [--rows=200000 --width=1024 --penalties=20]

Ours streams the rows in blocks and solves for all penalties from one
eigendecomposition. scikit-learn's Ridge (its default solver, float32 as ours) is fitted
for every penalty in turn. The maps must agree before a time counts.
"""

import numpy as np
from absl import app, flags

from benchmarks.timing import (
    alternate,
    medians,
    peak_memory_bytes,
    write_results,
)
from helix_jax.alignment import accumulate, fit_ridge, ridge_maps

ROWS = flags.DEFINE_integer("rows", 200_000, "N")
WIDTH = flags.DEFINE_integer("width", 1024, "D of both sides")
PENALTIES = flags.DEFINE_integer("penalties", 20, "P")
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions")
PEER_PENALTIES = flags.DEFINE_integer(
    "peer_penalties",
    20,
    "penalties that scikit-learn really fits; scaled to P if fewer",
)
TINY = flags.DEFINE_bool("tiny", False, "2,000 rows of width 64")


def main(_: list[str]) -> None:
    """Measure and write the table."""
    from sklearn.linear_model import Ridge

    rows, width = (2000, 64) if TINY.value else (ROWS.value, WIDTH.value)
    count = PENALTIES.value
    fitted = min(PEER_PENALTIES.value, count)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, width), dtype=np.float32)
    true = generator.standard_normal((width, width), dtype=np.float32) / width**0.5
    y = x @ true + generator.standard_normal((rows, width), dtype=np.float32)
    penalties = np.logspace(0, 6, count)  # lambda of |XW - Y|^2 + lambda |W|^2

    def blocks():
        return ((x[i : i + 8192], y[i : i + 8192]) for i in range(0, rows, 8192))

    def moments():
        return accumulate(blocks())

    def ours():
        path = fit_ridge(moments(), penalties=penalties, relative=False)
        return ridge_maps(path).map

    def peer():
        return [Ridge(alpha=alpha).fit(x, y).coef_ for alpha in penalties[:fitted]]

    before = peak_memory_bytes()
    kernels = np.asarray(ours().kernel)
    ours_memory = peak_memory_bytes() - before
    worst = max(
        np.abs(kernels[i] - coefficients.T).max()
        for i, coefficients in enumerate(peer())
    )
    if worst > 1e-3:
        raise SystemExit(f"the maps differ by {worst}: no time is worth anything")
    seconds = medians(
        alternate(
            {"ours": ours, "moments": moments, "peer": peer},
            repeats=REPEATS.value, warmups=0,
        )
    )  # fmt: skip
    peer_seconds = seconds["peer"] * count / fitted
    flops = 2 * rows * (2 * width) * (2 * width)
    table = [
        [f"{rows} x {width}", count, seconds["moments"], seconds["ours"], peer_seconds,
         peer_seconds / seconds["ours"], flops / seconds["moments"] / 1e9,
         ours_memory / 2**20]
    ]  # fmt: skip
    header = ["rows x width", "penalties", "moments, s", "ours, s", "scikit-learn, s",
              "ratio", "moments, GFLOP/s", "memory, MiB"]  # fmt: skip
    notes = (
        "Ours: moments of all rows in blocks of 8,192, then every penalty from one "
        "eigendecomposition, float64 accumulators. scikit-learn: Ridge(alpha).fit for "
        f"each penalty ({fitted} fitted). The maps agree to {worst:.1e}. GFLOP/s "
        "counts the full product [X Y]'[X Y]; memory is the growth of the process "
        "beyond the rows themselves."
    )
    print(
        write_results(
            "fit", "Ridge path from moments", header, table, notes, not TINY.value
        )
    )


if __name__ == "__main__":
    app.run(main)
