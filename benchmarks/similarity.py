r"""A similarity matrix of many models and layers against one pair at a time.

    python -m benchmarks.similarity [--models=8 --layers=4 --rows=10000 --width=768]

Ours scores all pairs of all layers by each measure. The peers (see `similarity_peers`)
score --peer_pairs pairs, whose time is scaled up to all pairs; first their scores must
agree with ours, or, if their float32 sums are too coarse, ours with theirs in float64.
Then the permutation null of linear CKA, and the peak memory of fresh processes that
compute linear CKA of --memory_rows rows made block by block, against one that holds the
Gram matrices of --rows rows.
"""

from __future__ import annotations

import functools
import sys
import time

import numpy as np
from absl import flags

from benchmarks.similarity_peers import PLAIN, PLATONIC
from helix_jax.runs.flags import choices_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import jax

    from benchmarks.timing import peak_memory_bytes, run_child, write_results
    from helix_jax.alignment import accumulate
    from helix_jax.similarity import (
        linear_cka,
        linear_cka_null,
        linear_cka_null_moments,
        norms_from_batch,
    )
    from helix_jax.similarity.kernels import median_distance
    from helix_jax.similarity.matrix import all_pairs, similarity_matrix

MODELS = flags.DEFINE_integer("models", 8, "models", lower_bound=1)
LAYERS = flags.DEFINE_integer("layers", 4, "layers per model", lower_bound=1)
ROWS = flags.DEFINE_integer("rows", 10_000, "N", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", 768, "D of every layer", lower_bound=1)
NEIGHBOURS = flags.DEFINE_integer("neighbours", 10, "k", lower_bound=1)
PEER_PAIRS = flags.DEFINE_integer(
    "peer_pairs", 1, "pairs that the peers score", lower_bound=1
)
NULL_ROWS = flags.DEFINE_integer(
    "null_rows", 5000, "N of the permutation null", lower_bound=1
)
PERMUTATIONS = flags.DEFINE_integer(
    "permutations", 1000, "P of the permutation null", lower_bound=1
)
MEMORY_ROWS = flags.DEFINE_integer(
    "memory_rows", 100_000, "N of the memory test", lower_bound=1
)
_PARTS = ("matrix", "null", "memory")
PARTS = choices_flag("parts", _PARTS, "what to measure", _PARTS)
TINY = flags.DEFINE_bool("tiny", False, "2 models, 2 layers, 200 rows of width 32")
MEMORY = flags.DEFINE_enum(
    "memory", None, ["ours", "peer"], "only do the work once and print the peak, bytes"
)
MEASURES = (
    "linear_cka",
    "unbiased_cka",
    "rbf_cka",
    "unbiased_rbf_cka",
    "rsa_spearman",
    "mutual_knn",
    "cknna",
)
ROOM = 5e-3  # precision that sums of N^2 float32 numbers lose in the peers


def made(rows: int, width: int, seed: int) -> np.ndarray:
    """Correlated features: a tenth as many shared directions, and noise."""
    shared = np.random.default_rng(0).standard_normal((rows, width // 10), np.float32)
    own = np.random.default_rng(1 + seed)
    mixed = shared @ own.standard_normal((width // 10, width), np.float32)
    return mixed / 3 + own.standard_normal((rows, width), np.float32)


def timed(work) -> tuple[float, object]:
    """Seconds that some work takes, and its result."""
    start = time.perf_counter()
    result = jax.block_until_ready(work())
    return time.perf_counter() - start, result


def matrix_rows(count: int, rows: int, width: int, k: int) -> list[list[object]]:
    """A table row for each measure."""
    representations = [made(rows, width, seed) for seed in range(count)]
    pairs = all_pairs(count)
    chosen = pairs[:: max(1, len(pairs) // PEER_PAIRS.value)][: PEER_PAIRS.value]
    settings = {"neighbours": k, "product_dtype": "float32"}
    table = []
    for measure in (*MEASURES, "all of these"):
        names = MEASURES if measure == "all of these" else (measure,)

        def ours(names=names):
            return similarity_matrix(representations, measures=names, **settings)

        timed(ours)  # compiles
        seconds, scores = timed(ours)
        row = [measure, seconds]
        worst = 0.0
        for peers in (PLATONIC, PLAIN):
            if measure not in peers:
                row += ["", ""]
                continue
            peers[measure](*(x[:50] for x in representations[:2]), k)  # imports
            spent = 0.0
            for pair in chosen:
                sides = [_peer_rows(representations[i], measure) for i in pair]
                took, got = timed(functools.partial(peers[measure], *sides, k))
                spent += took
                want = float(scores[measure][pairs.index(pair)])
                worst = max(worst, abs(got - want))
            total = spent / len(chosen) * len(pairs)
            row += [total, total / seconds]
        if worst > ROOM:  # find out whose rounding it is
            sides = (side.astype(np.float64) for side in sides)
            exact = PLAIN[measure](*sides, k) if measure in PLAIN else got
            if abs(exact - want) > ROOM / 10:
                raise SystemExit(f"{measure}: scores differ by {worst}, no time counts")
        table.append([*row, worst if any(row[2:]) else ""])
        print(table[-1], flush=True)
    return table


def _peer_rows(x: np.ndarray, measure: str) -> np.ndarray:
    """Rows as users prepare them once: centred for CKA, scaled by bandwidth for RBF."""
    if "cka" in measure:
        x = x - x.mean(0)
    if "rbf" in measure:
        x = x / np.float32(median_distance(x))
    return x


def null_row(rows: int, width: int, permutations: int) -> list[object]:
    """Seconds of the permutation null, in all and per shuffle, and its mean's error."""
    x, y = made(rows, width, 0), made(rows, width, 1)
    linear_cka_null(x, y, permutations=2, product_dtype="float32").block_until_ready()
    seconds, null = timed(
        lambda: linear_cka_null(
            x, y, permutations=permutations, product_dtype="float32"
        )
    )
    exact_seconds, exact = timed(
        lambda: linear_cka_null_moments(norms_from_batch(x, y))
    )
    u, v = x - x.mean(0), y - y.mean(0)
    order = np.random.default_rng(0).permutation(rows)
    plain_seconds, _ = timed(lambda: np.linalg.norm(u.T @ v[order]))
    away = (np.mean(null) - exact.mean) / exact.deviation * permutations**0.5
    return [
        f"null of linear_cka, {permutations} shuffles",
        seconds,
        1e3 * seconds / permutations,
        1e3 * plain_seconds,
        exact_seconds,
        float(away),
    ]


def work_for_memory(who: str, rows: int, width: int) -> None:
    """Linear CKA once: streamed, or with both Gram matrices in memory."""
    if who == "peer":
        PLATONIC["linear_cka"](made(rows, width, 0), made(rows, width, 1), 0)
        return

    def blocks():
        for start in range(0, rows, 2048):
            size = min(2048, rows - start)
            yield made(size, width, start), made(size, width, start + 1)

    linear_cka(accumulate(blocks(), product_dtype="float32")).block_until_ready()


def peak_bytes(who: str, rows: int, width: int) -> int:
    """Peak memory of a separate process that does the work once."""
    command = [sys.executable, "-m", "benchmarks.similarity", f"--memory={who}"]
    command += [f"--rows={rows}", f"--memory_rows={rows}", f"--width={width}"]
    return run_child(command)


def main(_: list[str]) -> None:
    """Measure and write the tables."""
    rows, width, count = ROWS.value, WIDTH.value, MODELS.value * LAYERS.value
    null_rows, permutations = NULL_ROWS.value, PERMUTATIONS.value
    memory_rows = MEMORY_ROWS.value
    if TINY.value:
        rows, width, count, null_rows, permutations, memory_rows = (
            200,
            32,
            4,
            100,
            20,
            400,
        )
    if MEMORY.value:
        work_for_memory(MEMORY.value, ROWS.value, WIDTH.value)
        print(peak_memory_bytes())
        return
    keep = not TINY.value
    if "matrix" in PARTS.value:
        table = matrix_rows(count, rows, width, NEIGHBOURS.value)
        notes = (
            f"All {count * (count - 1) // 2} pairs of {count} representations "
            f"({MODELS.value} models, {LAYERS.value} layers), {rows:,} rows of width "
            f"{width}, correlated random features; products in float32. Ours: second "
            "run, all pairs. The peers: seconds of the pairs scored "
            f"({PEER_PAIRS.value}) times the number of pairs."
        )
        header = [
            "measure",
            "ours, s",
            "platonic-rep style (torch), s",
            "ratio",
            "numpy and scikit-learn, s",
            "ratio",
            "largest difference",
        ]
        title = "Similarity matrix of 8 models and 4 layers"
        print(write_results("similarity", title, header, table, notes, keep))
    if "null" in PARTS.value:
        header = [
            "",
            "seconds",
            "ours, ms a shuffle",
            "numpy, ms a shuffle",
            "exact mean and deviation, s",
            "null's mean, standard errors from exact",
        ]
        notes = (
            f"{null_rows:,} rows, {width} dimensions on both sides, float32 products."
        )
        table = [null_row(null_rows, width, permutations)]
        title = "Permutation null of linear CKA"
        command = "similarity --parts=null"
        name = "similarity_null"
        print(write_results(name, title, header, table, notes, keep, command))
    if "memory" in PARTS.value:
        ours = peak_bytes("ours", memory_rows, width)
        peer = peak_bytes("peer", rows, width)
        idle = peak_bytes("peer", 64, width)
        needed = idle + (peer - idle) * (memory_rows / rows) ** 2
        table = [
            ["ours, streamed", f"{memory_rows:,}", ours / 2**20, needed / ours],
            ["Gram matrices, torch", f"{rows:,}", peer / 2**20, ""],
            ["the same, by N squared", f"{memory_rows:,}", needed / 2**20, 1.0],
        ]
        header = ["", "rows", "peak of the process, MiB", "ratio"]
        notes = "Linear CKA; the last line is computed from the one above, not run."
        title = "Memory of linear CKA"
        command = "similarity --parts=memory"
        name = "similarity_memory"
        print(write_results(name, title, header, table, notes, keep, command))


if __name__ == "__main__":
    start_main(main)
