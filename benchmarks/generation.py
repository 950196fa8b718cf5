r"""Decoding against transformers.generate, and hybrid against native decoding.

    python -m benchmarks.generation [--models=...] [--batches=1,16] [--tokens=64]

Native: greedy, from token ids to token ids, both sides with the same weights in
float32 and no end token, so that every row has all its steps; the peer runs under
inference_mode on all cores, with its dynamic and its static cache, and the better of
the two counts. Tokens must agree before a number is printed.

Hybrid: one model reads and another writes, from strings to strings. It is compared with
native decoding by the source alone on the same prompts, in new tokens per second, and
with its lower bound: the native source's seconds per token for the tokens that the
hybrid's source reads, plus the seconds of the target's head alone for each step. Each
repetition uses a new set of prompts and both sides take turns. All code is compiled
beforehand, and the hybrid's tables are then cleared, so that it has seen no text.

The roofline is the bytes of weights and cache read per step over the bandwidth of a
copy of 256 MB; models of a few megabytes fit in the processor's cache and can exceed
it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.shared.places import REAL_DECODERS, real_models, small_models
from helix_jax.runs.flags import integers_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import jax
    import jax.numpy as jnp

    from benchmarks.timing import alternate, medians, write_results
    from helix_jax import assets
    from helix_jax.activations.token_pairs import TokenPairs
    from helix_jax.activations.token_states import layer_side
    from helix_jax.alignment import accumulate, fit_ridge, ridge_at
    from helix_jax.generation import Stitch, generate, generate_ids, native, stitch
    from helix_jax.generation.generate import reader_tables
    from helix_jax.generation.stitch import read_head
    from helix_jax.models import Model, load_model, load_tokenizer, model_name
    from helix_jax.text.docstrings import read_docstrings

MODELS = flags.DEFINE_list("models", None, "folders; empty: all that are available")
BATCHES = integers_flag("batches", [1, 16], "rows")
TOKENS = flags.DEFINE_integer("tokens", 64, "new tokens of each row", lower_bound=1)
PROMPT = flags.DEFINE_integer("prompt", 16, "tokens of each prompt", lower_bound=1)
ONLY = flags.DEFINE_enum("only", "all", ["all", "native", "hybrid"], "which part")
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "one small model, four tokens")

HYBRIDS = (("pebble-neox", "pebble-llama"), ("pebble-llama", "pebble-qwen3"))
SETS = {True: 13, False: 5}
"""Sets of prompts, the first not counted; of embedded models, of others."""


def default_models() -> list[str]:
    """The pretrained models available here, and the embedded ones."""
    own = [assets.model_path(name) for name in assets.NAMES]
    real = real_models()
    decoders = [real[name] for name in REAL_DECODERS if name in real]
    return [*map(str, [*small_models(), *own]), *decoders]


def peer(folder: str, prompts: np.ndarray, tokens: int) -> dict[str, Callable]:
    """transformers.generate with each of its caches."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    ).eval()
    ids = torch.tensor(prompts)

    def run(**options) -> np.ndarray:
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=tokens,
                eos_token_id=None,
                pad_token_id=0,
                **options,
            )
        return out[:, ids.shape[1] :].numpy()

    return {"dynamic": run, "static": lambda: run(cache_implementation="static")}


def compare(folder: str, batch: int, tokens: int, repeats: int) -> dict[str, Any]:
    """Native decoding of one model on both sides.

    Raises:
      SystemExit: fewer than 98% of the tokens agree (after two logits that are equal up
        to rounding, later tokens differ).
    """
    model = load_model(folder)
    rng = np.random.default_rng(0)
    prompts = rng.integers(3, model.spec.vocab_size, (batch, PROMPT.value))
    parts = native(model)

    def ours() -> np.ndarray:
        found = generate_ids(parts, prompts.tolist(), max_new_tokens=tokens)
        return np.array([one.tokens for one in found])

    start = time.perf_counter()
    expected = ours()
    first = time.perf_counter() - start
    theirs = peer(folder, prompts, tokens)
    seconds = {}
    for name, one in theirs.items():
        agreement = float(np.mean(one() == expected))  # warms up as well
        if agreement < 0.98:
            raise SystemExit(f"{folder}: only {agreement:.1%} of the tokens agree.")
        start = time.perf_counter()
        one()
        seconds[name] = time.perf_counter() - start
    best = min(seconds, key=seconds.get)
    taken = medians(
        alternate({"ours": ours, "peer": theirs[best]}, repeats=repeats, warmups=0)
    )
    return {"best": best, "first": first, "bytes": step_bytes(model, batch)} | taken


def step_bytes(model: Model, batch: int) -> int:
    """Bytes of weights and of previous keys and values that a step reads."""
    spec = model.spec
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
    held = PROMPT.value + TOKENS.value // 2
    keys = 2 * spec.num_layers * spec.num_kv_heads * spec.head_width * held
    return weights + 4 * batch * keys


def bandwidth() -> float:
    """Bytes per second of reading and writing 256 MB, the best of five."""
    block = np.ones(2**26, np.float32)
    target = np.empty_like(block)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, block)
        seconds.append(time.perf_counter() - start)
    return 2 * block.nbytes / min(seconds)


def default_hybrids() -> list[tuple[str, str]]:
    """The embedded pairs, and the pretrained decoders available here."""
    own = [tuple(str(assets.model_path(name)) for name in pair) for pair in HYBRIDS]
    real = [real_models().get(name) for name in REAL_DECODERS]
    return [*own, tuple(real)] if all(real) else own


def head_seconds(parts: Stitch, batch: int) -> float:
    """Seconds of the target's head alone for one step, the median of nine."""
    width = parts.target.spec.width
    states = jnp.ones((batch, width), parts.target.params["embed"].dtype)
    head = jax.jit(read_head)
    taken = alternate({"head": lambda: head(parts, states)}, repeats=9)
    return medians(taken)["head"]


def hybrid(pair: tuple[str, str], batch: int, tokens: int, tiny: bool) -> list[Any]:
    """One row: new tokens per second, native source against hybrid."""
    models = [load_model(name) for name in pair]
    readers = [load_tokenizer(name) for name in pair]
    corpus, texts = read_docstrings(), 20 if tiny else 200
    chosen = corpus[:: len(corpus) // texts][:texts]
    sides = [
        layer_side(model, reader, layers=(-1,), normed=True)
        for model, reader in zip(models, readers)
    ]
    pairs = TokenPairs(*sides, lambda: iter(chosen), max_tokens=128)
    found = ridge_at(fit_ridge(accumulate(pairs.rows()), penalties=1e-3), 0).map
    parts = {
        "native": (native(models[0]), readers[0]),
        "hybrid": (stitch(*models, jax.tree.map(jnp.asarray, found)), readers[1]),
    }
    sets = [
        [text.text[:60] for text in corpus[7 + 2 * number :: len(corpus) // 20][:batch]]
        for number in range(2 if tiny else SETS[model_name(pair[0]) in assets.NAMES])
    ]

    def write() -> dict[str, Any]:
        done = {name: np.zeros(4) for name in parts}
        for number, prompts in enumerate(sets):
            for name, (stitched, target) in parts.items():
                start = time.perf_counter()
                texts = generate(
                    stitched, readers[0], target, prompts, max_new_tokens=tokens
                )
                taken = time.perf_counter() - start
                read = sum(len(readers[0](prompt)["input_ids"]) for prompt in prompts)
                if number:  # the first makes tables
                    done[name] += (
                        taken,
                        sum(one.steps for one in texts),
                        sum(one.source_tokens for one in texts) - read,
                        sum(one.repairs for one in texts),
                    )
        return done

    write()
    runs = []
    for _ in range(1 if tiny else REPEATS.value):
        reader_tables.cache_clear()
        runs.append(write())
    speeds = {name: [run[name][1] / run[name][0] for run in runs] for name in parts}
    ratios = [a / b for a, b in zip(speeds["hybrid"], speeds["native"])]
    in_source = [
        run["hybrid"][2] / run["hybrid"][0] / (run["native"][2] / run["native"][0])
        for run in runs
    ]
    last = runs[-1]["hybrid"]
    head = head_seconds(parts["hybrid"][0], batch)
    least = [
        (
            run["native"][0] / run["native"][2] * run["hybrid"][2]
            + head * run["hybrid"][1] / batch
        )
        / run["hybrid"][0]
        for run in runs
    ]
    return [
        " -> ".join(map(model_name, pair)),
        batch,
        round(np.median(speeds["hybrid"])),
        f"{round(np.median(speeds['native']))} (own native source)",
        round(float(np.median(ratios)), 2),
        f"{np.median(in_source):.2f} in source tokens",
        f"{np.median(least):.2f} of source + head; {last[3]:.0f} repairs in "
        f"{last[1]:.0f} tokens",
        "-",
    ]


def main(_: list[str]) -> None:
    """Measure every model and the hybrid pair, and write the table."""
    tiny = TINY.value
    tokens, repeats = (4, 1) if tiny else (TOKENS.value, REPEATS.value)
    names = MODELS.value or default_models()
    table, speed = [], bandwidth()
    for batch in BATCHES.value:
        models = names[-1:] if tiny else names
        for name in models if ONLY.value != "hybrid" else ():
            found = compare(name, batch, tokens, repeats)
            steps = batch * tokens
            ceiling = speed / found["bytes"] * batch
            table.append(
                [
                    Path(name).name,
                    batch,
                    round(steps / found["ours"]),
                    round(steps / found["peer"]),
                    round(found["peer"] / found["ours"], 2),
                    found["best"],
                    f"{steps / found['ours'] / ceiling:.1%}",
                    round(found["first"], 1),
                ]
            )
            print(*table[-1], flush=True)
        pairs = default_hybrids()[: 1 if tiny else None]
        for pair in pairs if ONLY.value != "native" else ():
            table.append(hybrid(pair, batch, tokens, tiny))
            print(*table[-1], flush=True)
    keep = not tiny and ONLY.value == "all"
    header = [
        "model",
        "rows",
        "ours, tokens/s",
        "peer, tokens/s",
        "ratio",
        "peer's cache",
        "of the roofline",
        "our first run, s",
    ]
    notes = (
        f"Greedy, prompts of {PROMPT.value} tokens, {tokens} new tokens a row, in "
        "float32. Peer: transformers.generate on torch, inference_mode, all cores, the "
        "better of its two caches. Hybrid rows: new tokens a second over sets of "
        "prompts that it has not seen, against native decoding of the source on the "
        "same prompts; 'of source + head': the time of the native source for the "
        "tokens that are read, and of the target's head alone for each step, over the "
        f"hybrid's. A copy runs at {speed / 1e9:.1f} GB/s."
    )
    print(write_results("generation", "Generation", header, table, notes, keep))


if __name__ == "__main__":
    start_main(main)
