"""One long text through a model: peak memory against the bytes of its parameters.

    python -m benchmarks.long_text [--model=...] [--tokens=1024,8192,32768]

`extract` of one text to a store, in float32, in a separate process for each length,
including loading the weights; positions beyond those of the model's training only cost
memory. Before: the interpreter with its imports. The planned bytes are those of
`experiments.plan`: parameters, and a batch.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from experiments.shared.places import real_models
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import (
        forget_peak,
        peak_memory_bytes,
        run_child,
        write_results,
    )

MODEL = flags.DEFINE_string("model", "", "folder; empty: the local SmolLM2-135M")
TOKENS = flags.DEFINE_list("tokens", ["1024", "8192", "32768"], "lengths of the text")
TINY = flags.DEFINE_bool("tiny", False, "an embedded model, 256 tokens")
CHILD = flags.DEFINE_bool("child", False, "measure one length, in this process")


def measure(name: str, tokens: int) -> dict[str, float]:
    """Extract one text here; return bytes held before, peak bytes, parameter bytes."""
    import jax

    from helix_jax.activations import Extraction, extract
    from helix_jax.activations.planning import extraction_needs
    from helix_jax.models import load_model, load_tokenizer
    from helix_jax.models.checkpoint import read_spec
    from helix_jax.types import Text

    words = " ".join(map(str, range(tokens)))  # at least one token each
    jax.numpy.zeros(3).block_until_ready()
    read_spec(name)  # imports what it needs
    held, start = forget_peak(), time.perf_counter()
    model = load_model(name)
    model = model._replace(spec=dataclasses.replace(model.spec, max_tokens=tokens))
    with tempfile.TemporaryDirectory() as folder:
        store = extract(
            model,
            load_tokenizer(name),
            [Text("long", words, 0)],
            f"{folder}/store",
            Extraction(max_tokens=tokens),
            text_fingerprint=tokens,
            progress=False,
        )
    if store.counts["tokens"] != tokens:
        raise SystemExit(f"the text has {store.counts['tokens']} tokens, not {tokens}.")
    seconds, peak = time.perf_counter() - start, peak_memory_bytes()
    needs = extraction_needs(
        model.spec, dtype="float32", max_tokens=tokens, token_budget=tokens
    )
    return {
        "tokens": tokens,
        "seconds": seconds,
        "held": held,
        "peak": peak,
        "parameters": needs.parameter_bytes,
        "planned": needs.parameter_bytes + needs.batch_bytes,
    }


def child(name: str, tokens: int) -> dict[str, float]:
    """Run `measure` in a separate process."""
    command = [sys.executable, "-m", "benchmarks.long_text", "--child"]
    command += [f"--model={name}", f"--tokens={tokens}"]
    return run_child(command)


def main(_: list[str]) -> None:
    """Measure every length and write the table."""
    name = "pebble-llama" if TINY.value else MODEL.value
    name = name or real_models().get("smollm2-135m", "")
    if not name:
        raise SystemExit("SmolLM2-135M is not here; name a folder with --model.")
    lengths = [256] if TINY.value else [int(own) for own in TOKENS.value]
    if CHILD.value:
        print(json.dumps(measure(name, lengths[0])))
        return
    table = []
    for tokens in lengths:
        found = child(name, tokens)
        above = found["peak"] - found["held"]
        sizes = [found[key] for key in ("parameters", "planned", "held", "peak")]
        ratios = above / found["parameters"], found["peak"] / found["parameters"]
        table.append(
            [
                tokens,
                *(round(size / 1e6) for size in sizes),
                *(round(ratio, 2) for ratio in ratios),
                round(found["seconds"]),
            ]
        )
        print(*table[-1], flush=True)
    header = [
        "tokens",
        "parameters, MB",
        "planned, MB",
        "before, MB",
        "peak, MB",
        "(peak - before) / parameters",
        "peak / parameters",
        "seconds",
    ]
    notes = f"{Path(name).name}, `extract` of one text to a store, float32."
    title = "One long text, peak memory"
    print(write_results("long_text", title, header, table, notes, not TINY.value))


if __name__ == "__main__":
    start_main(main)
