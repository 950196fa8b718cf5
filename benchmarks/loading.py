"""Loading a checkpoint: processor seconds and peak memory, against transformers.

    python -m benchmarks.loading [--models=...] [--dtypes=float32,bfloat16]

Every load runs in its own process and is timed from when the libraries are imported
until every parameter has been read once (torch maps the file and reads nothing before
that). Ours also hashes the weights and refuses NaN. Peak memory is the process's peak
minus what it held before, over the bytes of the parameters in the dtype they run in;
pages of the mapped file count on both sides.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from absl import flags

from experiments.shared.places import real_models, small_models
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import (
        forget_peak,
        peak_memory_bytes,
        run_child,
        write_results,
    )

MODELS = flags.DEFINE_list("models", None, "folders; empty: the pretrained ones here")
DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "dtypes to run in")
REPEATS = flags.DEFINE_integer("repeats", 5, "loads of each, in turns", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "one small model, once")
SIDE = flags.DEFINE_string("side", "", "ours or torch: what a child process loads")


def ours(folder: str, dtype: str) -> tuple[int, float, int]:
    """Bytes of the parameters, processor seconds, bytes held before."""
    import jax

    from helix_jax.models import load_model
    from helix_jax.models.config_file import read_config

    jax.numpy.zeros(3).block_until_ready()
    read_config(Path(folder))  # imports what it needs
    held, start = forget_peak(), time.process_time()
    leaves = jax.tree.leaves(load_model(folder, dtype=dtype).params)
    jax.block_until_ready(leaves)
    return sum(leaf.nbytes for leaf in leaves), time.process_time() - start, held


def torch_side(folder: str, dtype: str) -> tuple[int, float, int]:
    """The same for transformers' AutoModel."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    config = transformers.AutoConfig.from_pretrained(folder)
    of_class = transformers.AutoModel._model_mapping[type(config)]  # imports the module
    held, start = forget_peak(), time.process_time()
    model = of_class.from_pretrained(folder, dtype=getattr(torch, dtype))
    with torch.inference_mode():
        for values in model.parameters():
            values.sum()
    taken = time.process_time() - start
    return sum(values.nbytes for values in model.parameters()), taken, held


def child(side: str, folder: str, dtype: str) -> dict[str, float]:
    """Load once in a separate process."""
    command = [sys.executable, "-m", "benchmarks.loading", f"--side={side}"]
    command += [f"--models={folder}", f"--dtypes={dtype}"]
    return run_child(command, {"TOKENIZERS_PARALLELISM": "false"})


def main(_: list[str]) -> None:
    """Measure every model in every dtype and write the table."""
    if SIDE.value:
        load = {"ours": ours, "torch": torch_side}[SIDE.value]
        size, seconds, held = load(MODELS.value[0], DTYPES.value[0])
        peak = (peak_memory_bytes() - held) / size
        print(json.dumps({"size": size, "seconds": seconds, "peak": peak}))
        return
    models = MODELS.value or [*real_models().values()]
    if TINY.value:
        models = [str(path) for path in small_models()][:1]
    table = []
    for folder in models:
        for dtype in DTYPES.value:
            runs = {"ours": [], "torch": []}
            for _ in range(1 if TINY.value else REPEATS.value):
                for side, own in runs.items():
                    own.append(child(side, folder, dtype))
            seconds, peaks = (
                {
                    side: statistics.median(run[name] for run in own)
                    for side, own in runs.items()
                }
                for name in ("seconds", "peak")
            )
            table.append(
                [
                    Path(folder).name,
                    dtype,
                    round(runs["ours"][0]["size"] / 2**20),
                    round(seconds["ours"], 2),
                    round(seconds["torch"], 2),
                    round(seconds["ours"] / seconds["torch"], 2),
                    round(peaks["ours"], 2),
                    round(peaks["torch"], 2),
                ]
            )
            print(*table[-1], flush=True)
    header = [
        "model",
        "dtype",
        "parameters, MiB",
        "ours, CPU s",
        "torch, CPU s",
        "ours / torch",
        "our peak / parameters",
        "torch's peak / parameters",
    ]
    notes = (
        "transformers' AutoModel on one thread, parameters read once. Medians of "
        f"{REPEATS.value} loads of each in turns; the file is in the page cache. Ours "
        "hashes the weights and looks for NaN; the last two columns are peak memory."
    )
    keep = not TINY.value
    print(write_results("loading", "Loading", header, table, notes, keep))


if __name__ == "__main__":
    start_main(main)
