r"""The largest encrypted layers: output heads of language models.

    python -m benchmarks.private_large [--profiles=guarded,swift]

Weights are a memory-mapped file of float16, made first (6.6 GB for the largest) in
--folder. Memory is what the process allocates, client and provider together; pages of
the file add to it, and are evicted under memory pressure. Errors are against float64 on
200 columns. Two cores: about 15 minutes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import flags

from helix_jax.paths import local_path
from helix_jax.private.profiles import PROFILES
from helix_jax.runs.flags import choices_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import write_results
    from helix_jax.private import Client, Provider

NAMES = choices_flag("profiles", ["guarded"], "profiles", list(PROFILES))
FOLDER = flags.DEFINE_string("folder", "", "folder of weights; empty: a temporary one")
QUERIES = flags.DEFINE_integer(
    "queries", 2, "queries per layer; the last is reported", lower_bound=1
)
TINY = flags.DEFINE_bool("tiny", False, "small sizes")

SIZES = ((2048, 128_000), (16_384, 200_000))


def made_kernel(file: Path, width: int, classes: int) -> np.ndarray:
    """Gaussian weights for logits of order 10, in a file."""
    kernel = np.lib.format.open_memmap(file, "w+", np.float16, (width, classes))
    generator = np.random.default_rng(0)
    for start in range(0, width, 64):
        rows = kernel[start : start + 64]
        values = generator.standard_normal(rows.shape, np.float32)
        rows[:] = values * np.float32(10 / np.sqrt(width))
    kernel.flush()
    return np.load(file, mmap_mode="r")


def allocated_bytes() -> int:
    """Memory of this process that is not mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(x for x in lines if x.startswith("RssAnon")).split()[1])


def watched(pieces: Iterator[bytes], record: dict) -> Iterator[bytes]:
    """Yield the same pieces, and record what they took."""
    while True:
        start = time.perf_counter()
        piece = next(pieces, None)
        record["seconds"] += time.perf_counter() - start
        if piece is None:
            return
        record["bytes"] += len(piece)
        record["peak"] = max(record["peak"], allocated_bytes())
        yield piece


def layer_row(kernel: np.ndarray, profile: str, weights_bytes: int) -> list:
    """Seconds, bytes, memory and error of one layer."""
    width, classes = kernel.shape
    generator = np.random.default_rng(1)
    x = generator.standard_normal((QUERIES.value, width))
    norm = float(np.linalg.norm(x, axis=1).max())
    start = time.perf_counter()
    provider = Provider(
        kernel,
        input_norm=norm,
        profile=profile,
        policy="logits",
        weights_bytes=weights_bytes,
    )
    setup, client = time.perf_counter() - start, Client(profile)
    provider.register(client.public_bundle())
    layer = client.read_layer(provider.layer.to_bytes())
    columns = np.sort(generator.choice(classes, min(200, classes), replace=False))
    few = np.stack([kernel[:, column] for column in columns], axis=1).astype(np.float64)
    for row in x:
        record = {"seconds": 0.0, "bytes": 0, "peak": allocated_bytes()}
        times = [time.perf_counter()]
        query = client.encrypt(layer, row)
        times.append(time.perf_counter())
        found = client.decrypt(watched(provider.answer_pieces(query), record))
        times.append(time.perf_counter())
        error = float(np.abs(found[columns] - row @ few).max())
    encrypt, both = np.diff(times)
    return [
        width,
        classes,
        profile,
        setup,
        encrypt,
        record["seconds"],
        both - record["seconds"],
        len(query) / 1e6,
        record["bytes"] / 1e6,
        record["peak"] / 1e9,
        error,
        layer.error,
    ]


def main(_: list[str]) -> None:
    """Measure and write the table."""
    table = []
    parent = local_path(FOLDER.value, "--folder") if FOLDER.value else None
    for width, classes in ((64, 3000),) if TINY.value else SIZES:
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            kernel = made_kernel(Path(folder) / "kernel.npy", width, classes)
            for profile in NAMES.value:
                table.append(layer_row(kernel, profile, 0 if TINY.value else 2**31))
                print(*table[-1], flush=True)
    header = [
        "d",
        "k",
        "",
        "set-up, s",
        "encrypt, s",
        "provider, s",
        "decrypt, s",
        "up, MB",
        "down, MB",
        "memory, GB",
        "largest error",
        "stated error",
    ]
    notes = (
        f"Query {QUERIES.value} of each layer, logits of order 10, float16 weights in "
        "a memory-mapped file, 2 GiB of them kept transformed. Provider: masks "
        "included. Memory: allocated by client and provider together."
    )
    print(
        write_results(
            "private_large",
            "Encrypted layers of the largest sizes",
            header,
            table,
            notes,
            not TINY.value,
        )
    )


if __name__ == "__main__":
    start_main(main)
