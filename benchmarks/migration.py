r"""The cost of migrating a million vectors: embed again, map them, or map queries.

    python -m benchmarks.migration --new=MODEL --old=MODEL [--data=CORPUS]

Measured, in turns: the new model embeds --texts texts (to a store); a ridge map is
fitted to --pairs pairs; an index of --rows vectors is mapped from file to file, in
blocks; queries are mapped one at a time, as a service does, and --batch at once. Times
are processor times of all cores together, which other processes on the machine change
little. The figures for a million are extrapolated in proportion. The map has the
models' widths and random numbers, which do not affect its time.

Expect, for replacing MiniLM by mpnet: hours of one core to embed a million short texts
again, about a minute to map them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import jax

    from benchmarks.timing import forget_peak, medians, peak_memory_bytes, write_results
    from helix_jax.activations import Extraction, extract
    from helix_jax.alignment import (
        AffineMap,
        accumulate,
        apply_map,
        fit_ridge,
        select_by_gcv,
    )
    from helix_jax.assets import model_path
    from helix_jax.models import load_model, load_tokenizer, model_name
    from helix_jax.text.corpora import load_corpus

NEW = flags.DEFINE_string("new", "", "folder or hub id; empty: pebble-llama")
OLD = flags.DEFINE_string("old", "", "folder or hub id; empty: pebble-qwen3")
DATA = flags.DEFINE_string("data", "docstrings", "corpus by name, file or folder")
TEXTS = flags.DEFINE_integer("texts", 400, "texts for the new model", lower_bound=1)
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 96, "longer texts are cut")
PAIRS = flags.DEFINE_integer("pairs", 10_000, "pairs that the map is fitted to")
ROWS = flags.DEFINE_integer("rows", 200_000, "rows of the index that is mapped")
QUERIES = flags.DEFINE_integer("queries", 2000, "queries mapped one at a time")
BATCH = flags.DEFINE_integer("batch", 256, "queries mapped at once")
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "20 texts, 2,000 rows")
BLOCK = 16_384  # rows of the index in memory at once
MILLION = 1_000_000


class Step(NamedTuple):
    """One way of migrating, or a step of one.

    Attributes:
      words: what it does.
      count: texts, pairs or vectors per repetition.
      run: runs one repetition.
      width: numbers written for each of them, 0 for none.
    """

    words: str
    count: int
    run: Callable[[], object]
    width: int = 0


def map_file(affine: AffineMap, source: Path, target: Path) -> None:
    """Map an index from file to file, a block in memory at a time."""
    rows = np.load(source, mmap_mode="r")
    shape = (len(rows), affine.widths[1])
    written = np.lib.format.open_memmap(target, "w+", np.float32, shape)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        written[part] = np.asarray(apply_map(affine, np.asarray(rows[part])))
    written.flush()


def make_steps(folder: Path) -> list[Step]:
    """Everything that is measured."""
    tiny = TINY.value
    names = NEW.value or str(model_path("pebble-llama")), OLD.value
    new, old = load_model(names[0]), load_model(names[1] or model_path("pebble-qwen3"))
    dx, dy = new.spec.width, old.spec.width
    texts = list(load_corpus(DATA.value, limit=20_000).read("fit"))
    texts = texts[: 20 if tiny else TEXTS.value]
    rng = np.random.default_rng(0)

    def rows(count: int, width: int) -> np.ndarray:
        return rng.standard_normal((count, width), np.float32)

    pairs = 500 if tiny else PAIRS.value
    x, y = rows(pairs, dx), rows(pairs, dy)
    forth, back = (
        AffineMap(rows(a, b), np.zeros(b, np.float32)) for a, b in ((dx, dy), (dy, dx))
    )
    index = 2000 if tiny else ROWS.value
    np.save(folder / "index.npy", rows(index, dy))
    queries = rows(50 if tiny else QUERIES.value, dx)
    tokenizer = load_tokenizer(names[0])
    wanted = Extraction(pooling="auto", max_tokens=MAX_TOKENS.value)

    def embed() -> None:
        place = tempfile.mkdtemp(dir=folder) + "/store"
        settings = {"text_fingerprint": "benchmark", "progress": False}
        extract(new, tokenizer, texts, place, wanted, **settings)

    def fit() -> object:
        moments = accumulate([(x, y)])
        return select_by_gcv(fit_ridge(moments), moments)

    def ask() -> None:
        for query in queries:
            _ = query @ forth.kernel + forth.bias

    def ask_together() -> object:
        for start in range(0, len(queries), BATCH.value):
            block = jax.block_until_ready(
                apply_map(forth, queries[start : start + BATCH.value])
            )
        return block

    return [
        Step("embed texts again, by the new model", len(texts), embed, dx),
        Step("fit a map to pairs", pairs, fit),
        Step(
            "map the old index to the new space, file to file",
            index,
            lambda: map_file(back, folder / "index.npy", folder / "mapped.npy"),
            dx,
        ),
        Step("map queries one at a time", len(queries), ask),
        Step(f"map queries, {BATCH.value} at once", len(queries), ask_together),
    ]


def processor_seconds(steps: Sequence[Step], repeats: int) -> dict[str, list[float]]:
    """Seconds of each repetition of each step, in turns; first ones do not count."""
    seconds: dict[str, list[float]] = {step.words: [] for step in steps}
    for number in range(1 + repeats):
        for step in steps:
            began = time.process_time()
            jax.block_until_ready(step.run())
            if number:
                seconds[step.words].append(time.process_time() - began)
    return seconds


def main(_: list[str]) -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        steps = make_steps(Path(folder))
        repeats = 1 if TINY.value else REPEATS.value
        seconds = medians(processor_seconds(steps, repeats))
        memory = {}
        for step in steps:
            before = forget_peak()
            jax.block_until_ready(step.run())
            memory[step.words] = peak_memory_bytes() - before
    each = {step.words: seconds[step.words] / step.count for step in steps}
    again = each[steps[0].words]
    header = [
        "step",
        "measured on",
        "a processor second",
        "a million, processor s",
        "embedding again, times as long",
        "memory beyond the process, MB",
        "written for a million, GB",
    ]
    rows = [
        [
            step.words,
            f"{step.count:,}",
            1 / each[step.words],
            MILLION * each[step.words],
            again / each[step.words],
            memory[step.words] / 1e6,
            MILLION * 4 * step.width / 1e9 or None,
        ]
        for step in steps
    ]
    named = (NEW.value or "pebble-llama"), (OLD.value or "pebble-qwen3")
    notes = (
        f"New model {model_name(named[0])}, old model {model_name(named[1])}; texts of "
        f"{Path(DATA.value).name}, {MAX_TOKENS.value} tokens at most. Median of "
        f"{REPEATS.value} runs in turns, of processor time; a million is extrapolated "
        "by proportion, not run. Vectors are float32."
    )
    title = "Migration of an index of embeddings"
    print(write_results("migration", title, header, rows, notes, keep=not TINY.value))


if __name__ == "__main__":
    start_main(main)
