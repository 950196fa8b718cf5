"""Files of embeddings through a map: input bytes per second, against numpy in memory.

    python -m benchmarks.translate [--tiny]

Contenders take turns: each format from disk to disk, with and without a confidence for
each row, and `x @ kernel + bias` of numpy on an array in memory, block by block, which
reads and writes no file. Processor seconds are given besides wall-clock seconds: on a
shared machine only they show the speed of an idle one; the fastest of --repeats
repetitions counts. The roofline is the product alone (two times dx times dy operations
per row) at the rate of a large square product of numpy on one core.

Cost: two cores, a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import pyarrow
    import pyarrow.parquet
    import threadpoolctl

    from benchmarks.timing import peak_memory_bytes, write_results
    from helix_jax.activations.embedding_stream import open_vectors
    from helix_jax.alignment import (
        fit_confidence,
        fit_ridge,
        from_batch,
        ridge_at,
        save_map,
    )
    from helix_jax.array_files import write_safetensors
    from helix_jax.maps_numpy import read_map
    from helix_jax.transfer.translation import make_translation, translate

TINY = flags.DEFINE_bool("tiny", False, "few rows, nothing is kept")
ROWS = flags.DEFINE_integer("rows", 60_000, "rows of a file")
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions")
MEMORY = flags.DEFINE_string("memory", "", "a file and a map: print the peak memory")
SHAPES = ((768, 384), (384, 768))
BLOCK = 1024
FORMATS = (".npy", ".safetensors", ".parquet")


def make_map(folder: Path, dx: int, dy: int) -> Path:
    """A planted map with its confidence."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(dx, dy)).astype(np.float32)
    x = rng.normal(size=(2 * dx + 200, dx)).astype(np.float32)
    y = x @ kernel + 10 * rng.normal(size=(len(x), dy)).astype(np.float32)
    moments = from_batch(x, y)
    map = ridge_at(fit_ridge(moments, penalties=1e-2), 0).map
    own = fit_confidence(map, moments, (x, y), np.arange(len(x)))
    sides = {"source": {}, "target": {}, "penalty": 1e-2, "split": "fit"}
    return save_map(folder / f"map-{dx}-{dy}", map, **sides, confidence=own)


def make_files(folder: Path, rows: int, dx: int) -> dict[str, Path]:
    """The same rows in every format."""
    x = np.random.default_rng(1).normal(size=(rows, dx)).astype(np.float32)
    start = folder / f"rows-{dx}"
    np.save(f"{start}.npy", x)
    write_safetensors(f"{start}.safetensors", {"embeddings": x})
    ids = pyarrow.array([f"text {row}" for row in range(rows)])
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.reshape(-1)), dx)
    table = pyarrow.table({"id": ids, "embedding": lists})
    pyarrow.parquet.write_table(
        table, f"{start}.parquet", row_group_size=8192, use_dictionary=False
    )
    return {one: Path(f"{start}{one}") for one in FORMATS}


def in_memory(map: Path, x: np.ndarray, threads: int) -> None:
    """The product alone; 0 threads: numpy's own choice."""
    found = read_map(map).map.parts
    kernel, bias = found["kernel"], found["bias"]
    y = np.empty((BLOCK, kernel.shape[1]), np.float32)
    with threadpoolctl.threadpool_limits(threads or None, user_api="blas"):
        for start in range(0, len(x), BLOCK):
            part = x[start : start + BLOCK]
            np.matmul(part, kernel, out=y[: len(part)])
            y[: len(part)] += bias


def run(path: Path, map: Path, out: Path, cosine: str) -> None:
    """Translate a whole file."""
    shutil.rmtree(out, ignore_errors=True)
    translate(open_vectors(path), make_translation(read_map(map), cosine=cosine), out)


def product_rate(size: int = 2048) -> float:
    """The best rate of numpy's square product on one core, operations per second."""
    a = np.ones((size, size), np.float32)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        return 2 * size**3 / min(seconds_of(lambda: a @ a)[1] for _ in range(5))


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds of some work in this process."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def peak_mib(path: Path, map: Path) -> int:
    """Peak memory of a process that translates a file."""
    words = [sys.executable, "-m", "benchmarks.translate", f"--memory={path},{map}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) >> 20


def measure(folder: Path, rows: int, dx: int, dy: int, repeats: int) -> list[list]:
    """The table rows for one shape."""
    map, files = make_map(folder, dx, dy), make_files(folder, rows, dx)
    x, size = np.load(files[".npy"]), rows * dx * 4
    contenders = {"numpy": lambda: in_memory(map, x, 0)}
    contenders["numpy, one thread"] = lambda: in_memory(map, x, 1)
    for ending, path in files.items():
        for cosine in ("", "cosine"):
            name = f"{ending[1:]}{', with confidence' if cosine else ''}"
            contenders[name] = lambda path=path, cosine=cosine: run(
                path, map, folder / "out", cosine
            )
    found = {name: [] for name in contenders}
    for number in range(1 + repeats):
        for name, work in contenders.items():
            seconds = seconds_of(work)
            if number:
                found[name].append(seconds)
    least = {name: [min(one) for one in zip(*own)] for name, own in found.items()}
    floor = 2 * rows * dx * dy / product_rate()
    memory = {path.suffix: peak_mib(path, map) for path in files.values()}
    table = [[f"{dx} to {dy}", "roofline", None, size / floor / 1e9, None, None]]
    for name, (clock, processor) in least.items():
        peak = memory.get(f".{name.removesuffix(', with confidence')}")
        peak = peak if "confidence" in name else None
        share = floor / processor
        row = [size / clock / 1e9, size / processor / 1e9, f"{100 * share:.0f}", peak]
        table.append([f"{dx} to {dy}", name, *row])
    return table


def main(_: list[str]) -> None:
    """Measure and write the table."""
    if MEMORY.value:
        path, map = map_words(MEMORY.value)
        with tempfile.TemporaryDirectory() as folder:
            run(path, map, Path(folder) / "out", "cosine")
        print(peak_memory_bytes())
        return
    rows = 3000 if TINY.value else ROWS.value
    shapes = SHAPES[:1] if TINY.value else SHAPES
    table, load = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        for dx, dy in shapes:
            repeats = 1 if TINY.value else REPEATS.value
            table += measure(Path(name), rows, dx, dy, repeats)
    header = ["widths", "", "input, GB/s", "input, GB a core-second"]
    header += ["of the roofline, %", "peak memory, MiB"]
    notes = (
        f"{rows:,} float32 rows a file, which the system holds in memory; parts are "
        f"written to disk. Load of the machine at the start: {load:.1f}; much above 0 "
        "it makes wall-clock seconds longer than on an idle one. numpy: the product "
        "alone, of an array in memory, with as many threads as it takes, and with one. "
        "Parquet: lists of float32, no dictionary, row groups of 8,192."
    )
    title = "Files of embeddings through a map"
    print(write_results("translate", title, header, table, notes, not TINY.value))


def map_words(given: str) -> tuple[Path, Path]:
    """FILE,MAP as two paths."""
    path, _, map = given.partition(",")
    return Path(path), Path(map)


if __name__ == "__main__":
    start_main(main)
