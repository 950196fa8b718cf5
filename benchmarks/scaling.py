r"""How the cost of moments and of the ridge path grows with rows and width.

    python -m benchmarks.scaling

Exponents are slopes of log seconds against log n (or d) by least squares.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import alternate, medians, write_results
    from helix_jax.alignment import accumulate, fit_ridge, ridge_maps

REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "small sizes")


def main(_: list[str]) -> None:
    """Measure and write the table."""
    rows = (1024, 2048) if TINY.value else (16_384, 32_768, 65_536, 131_072)
    widths = (32, 64) if TINY.value else (256, 512, 1024, 2048)
    fixed_rows, fixed_width = rows[1], widths[1]
    generator = np.random.default_rng(0)
    table, by_rows, by_width, by_solve = [], [], [], []
    for n, d in [(n, fixed_width) for n in rows] + [(fixed_rows, d) for d in widths]:
        x = generator.standard_normal((n, d), dtype=np.float32)
        y = generator.standard_normal((n, d), dtype=np.float32)
        block = min(8192, n)
        moments = accumulate([(x[:block], y[:block])])

        def stream(x=x, y=y, block=block):
            starts = range(0, len(x), block)
            return accumulate((x[i : i + block], y[i : i + block]) for i in starts)

        def solve(moments=moments):
            return ridge_maps(fit_ridge(moments)).map

        seconds = medians(
            alternate({"moments": stream, "solve": solve}, repeats=REPEATS.value)
        )
        table.append([n, d, seconds["moments"], seconds["solve"]])
        if d == fixed_width:
            by_rows.append((n, seconds["moments"]))
        if n == fixed_rows:
            by_width.append((d, seconds["moments"]))
            by_solve.append((d, seconds["solve"]))
    notes = (
        "Moments of n rows of width d on both sides, and a path of 20 penalties from "
        f"them. Fitted exponents: moments n^{_slope(by_rows):.2f} and "
        f"d^{_slope(by_width):.2f}, path d^{_slope(by_solve):.2f}; the arithmetic says "
        "1, 2 and 3."
    )
    header = ["n", "d", "moments, s", "20 penalties, s"]
    print(
        write_results(
            "scaling",
            "Growth with rows and width",
            header,
            table,
            notes,
            not TINY.value,
        )
    )
    print(notes)


def _slope(points: list[tuple[int, float]]) -> float:
    size, seconds = np.log(np.array(points)).T
    return float(np.polyfit(size, seconds, 1)[0])


if __name__ == "__main__":
    start_main(main)
