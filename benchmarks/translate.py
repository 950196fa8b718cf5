"""Files of embeddings through a map: bytes of input a second, against numpy in memory.

    python -m benchmarks.translate [--tiny]

Contenders take turns: each format from disk to disk, with and without a confidence for
each row, and `x @ kernel + bias` of numpy on an array in memory, block by block, which
writes nothing. The roofline is the slower of the product (two times dx times dy
operations a row, at the rate of a large square product of numpy here) and the disk (at
the rate of a plain write of the output, and none for the input, which the system holds
in memory).

Cost: two cores, minutes.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from absl import flags

from benchmarks.timing import alternate, medians, peak_memory_bytes, write_results
from helix_jax.activations.embedding_stream import open_vectors
from helix_jax.alignment import (
    fit_confidence,
    fit_ridge,
    from_batch,
    ridge_at,
    save_map,
)
from helix_jax.maps_numpy import read_map
from helix_jax.runs.program import start_main
from helix_jax.transfer.translation import make_translation, translate

TINY = flags.DEFINE_bool("tiny", False, "few rows, nothing is kept")
ROWS = flags.DEFINE_integer("rows", 200_000, "rows of a file")
REPEATS = flags.DEFINE_integer("repeats", 5, "counted repetitions")
MEMORY = flags.DEFINE_string("memory", "", "a file and a map: print the peak memory")
SHAPES = ((768, 384), (384, 768))
BLOCK = 4096
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
    from helix_jax.array_files import write_safetensors

    write_safetensors(f"{start}.safetensors", {"embeddings": x})
    ids = pyarrow.array([f"text {row}" for row in range(rows)])
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.reshape(-1)), dx)
    table = pyarrow.table({"id": ids, "embedding": lists})
    pyarrow.parquet.write_table(
        table, f"{start}.parquet", row_group_size=8192, use_dictionary=False
    )
    return {one: Path(f"{start}{one}") for one in FORMATS}


def in_memory(map: Path, x: np.ndarray) -> None:
    """What nobody can be faster than without another product."""
    found = read_map(map).map.parts
    kernel, bias = found["kernel"], found["bias"]
    y = np.empty((BLOCK, kernel.shape[1]), np.float32)
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        np.matmul(part, kernel, out=y[: len(part)])
        y[: len(part)] += bias


def run(path: Path, map: Path, out: Path, cosine: str) -> None:
    """Translate a file whole."""
    shutil.rmtree(out, ignore_errors=True)
    translate(open_vectors(path), make_translation(read_map(map), cosine=cosine), out)


def product_rate(size: int = 2048) -> float:
    """Operations a second of a square product of numpy, the best of some."""
    a = np.ones((size, size), np.float32)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def write_rate(folder: Path, size: int = 256 << 20) -> float:
    """Bytes a second of a plain write that is on disk when it ends."""
    data, path = np.ones(size, np.uint8).data, folder / "plain"
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        with path.open("wb") as stream:
            stream.write(data)
            stream.flush()
        seconds.append(time.perf_counter() - began)
    path.unlink()
    return size / min(seconds)


def peak_mib(path: Path, map: Path) -> int:
    """Peak memory of a process that translates a file."""
    words = [sys.executable, "-m", "benchmarks.translate", f"--memory={path},{map}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) >> 20


def measure(folder: Path, rows: int, dx: int, dy: int, repeats: int) -> list[list]:
    """Rows of the table of one shape."""
    map, files = make_map(folder, dx, dy), make_files(folder, rows, dx)
    x, size = np.load(files[".npy"]), rows * dx * 4
    contenders = {"numpy, in memory": lambda: in_memory(map, x)}
    for ending, path in files.items():
        for cosine in ("", "cosine"):
            name = f"{ending[1:]}{', with confidence' if cosine else ''}"
            contenders[name] = lambda path=path, cosine=cosine: run(
                path, map, folder / "out", cosine
            )
    seconds = medians(alternate(contenders, repeats=repeats))
    products, writes = product_rate(), write_rate(folder)
    roof = max(2 * rows * dx * dy / products, rows * dy * 4 / writes)
    table = []
    for name, own in {"roofline": roof, **seconds}.items():
        ratio = seconds["numpy, in memory"] / own
        table.append([f"{dx} to {dy}", name, size / own / 1e9, rows / own, ratio])
    table[0].append(f"{products / 1e9:.0f} GFLOP/s, {writes / 1e9:.1f} GB/s")
    memory = {ending: peak_mib(path, map) for ending, path in files.items()}
    for row in table[1:]:
        row.append(memory.get(f".{row[1]}".removesuffix(", with confidence"), ""))
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
    table = []
    with tempfile.TemporaryDirectory() as name:
        for dx, dy in shapes:
            repeats = 1 if TINY.value else REPEATS.value
            table += measure(Path(name), rows, dx, dy, repeats)
    header = ["widths", "", "input, GB/s", "rows a second", "of numpy's speed"]
    header += ["peak memory, MiB (roofline: what it is of)"]
    notes = (
        f"{rows:,} float32 rows a file, in the system's memory; parts are written to "
        "disk. Medians. numpy: the product alone, block by block, of an array in "
        "memory. Parquet: lists of float32, no dictionary, row groups of 8,192."
    )
    title = "Files of embeddings through a map"
    print(write_results("translate", title, header, table, notes, not TINY.value))


def map_words(given: str) -> tuple[Path, Path]:
    """FILE,MAP as two paths."""
    path, _, map = given.partition(",")
    return Path(path), Path(map)


if __name__ == "__main__":
    start_main(main)
