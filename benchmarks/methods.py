r"""Every closed-form method for 20 penalties or ranks, against the pass over the rows.

    python -m benchmarks.methods

Rows are random with a decaying spectrum; the target is a planted map plus noise. The
pass makes moments in float64; then `fit_all` fits all paths from them and chooses. For
comparison scikit-learn fits one ridge penalty and one PLS of ten components on the
rows.
"""

from __future__ import annotations

import functools

import numpy as np
from absl import flags

from helix_jax.runs.flags import integers_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import alternate, medians, write_results
    from helix_jax.alignment import accumulate, fit_all, from_batch

ROWS = integers_flag("rows", [20_000, 50_000, 200_000], "N")
WIDTH = flags.DEFINE_integer("width", 768, "D of both sides", lower_bound=1)
BLOCK = flags.DEFINE_integer("block", 4096, "rows per step", lower_bound=1)
COUNT = flags.DEFINE_integer("count", 20, "penalties and ranks", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
PEER = flags.DEFINE_bool("peer", True, "time scikit-learn at the smallest N too")
TINY = flags.DEFINE_bool("tiny", False, "2,000 rows of width 64")


def made(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x with a spectrum over two decades, y = x W + noise, float32."""
    generator = np.random.default_rng(0)
    scales = np.logspace(0, -1, width, dtype=np.float32)
    true = generator.standard_normal((width, width), dtype=np.float32)
    x = generator.standard_normal((rows, width), dtype=np.float32) * scales
    noise = generator.standard_normal((rows, width), dtype=np.float32)
    return x, x @ true / width**0.5 + 0.1 * noise


def peers(x: np.ndarray, y: np.ndarray) -> dict:
    """One fit of each method with scikit-learn."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import Ridge

    return {
        "scikit-learn: one ridge": lambda: Ridge(1.0).fit(x, y).coef_,
        "scikit-learn: one PLS of 10": lambda: (
            PLSRegression(10, scale=False).fit(x, y).coef_
        ),
    }


def measure(x: np.ndarray, y: np.ndarray, select: tuple, peer: bool) -> dict:
    """Median seconds of the pass and of all methods, and of the peers."""

    def blocks():
        starts = range(0, len(x), BLOCK.value)
        return ((x[i : i + BLOCK.value], y[i : i + BLOCK.value]) for i in starts)

    moments = accumulate(blocks())
    fit = functools.partial(
        fit_all,
        moments,
        from_batch(*select),
        anchors=(x[:300], y[:300]),
        penalties=np.logspace(-8, 1.5, COUNT.value),
        count=COUNT.value,
    )
    contenders = {
        "pass": lambda: accumulate(blocks()),
        "methods": lambda: [one.selection for one in fit().values()],
    }
    if peer:
        contenders |= peers(x, y)
    return medians(alternate(contenders, repeats=REPEATS.value))


def main(_: list[str]) -> None:
    """Measure and write the table."""
    sizes, width = ([2000], 64) if TINY.value else (ROWS.value, WIDTH.value)
    table, notes = [], ""
    for place, rows in enumerate(sizes):
        x, y = made(rows + 4000, width)
        peer = PEER.value and place == 0
        seconds = measure(x[:rows], y[:rows], (x[rows:], y[rows:]), peer)
        one_pass, methods = seconds["pass"], seconds["methods"]
        table.append(
            [
                f"{rows:,}",
                one_pass,
                methods,
                methods / one_pass,
                (one_pass + methods) / one_pass,
            ]
        )
        for name, value in seconds.items():
            if name.startswith("scikit-learn"):
                notes += f" {name} of {rows:,} rows: {value:.2f} s."
    header = [
        "rows",
        "pass, seconds",
        "all methods, seconds",
        "methods / pass",
        "(pass + methods) / pass",
    ]
    text = (
        f"{width} dimensions a side; nine closed-form methods, {COUNT.value} penalties "
        f"or ranks each (PLS up to 64 components), chosen on select moments; "
        f"{REPEATS.value} repetitions.{notes}"
    )
    title = "All alignment methods from one pass"
    print(write_results("methods", title, header, table, text, not TINY.value))


if __name__ == "__main__":
    start_main(main)
