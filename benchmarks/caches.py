r"""Time to the first token from a mapped cache, against reading the prompt natively.

    python -m benchmarks.caches [--source=FOLDER] [--target=FOLDER] [--lengths=64,256]

The source is taken to have read the prompt already, as when one model hands its work to
another. Timed for one prompt, after compilation:

    native   the target reads the prompt, up to the logits of its last token
    mapped   the source's cache is mapped, and the target reads the first tokens and
             the last one, up to the logits of the last
    source   the source reads the prompt: what a hand-over cannot save if the source
             has not read it for its own purposes

The map has the shape of a fitted one, with --layers source layers per target layer; its
numbers are random, which takes the same time. Ways take turns; medians are reported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from absl import flags

from experiments.shared.places import real_models
from helix_jax.runs.flags import integers_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import jax
    import jax.numpy as jnp

    from benchmarks.cache_reading import random_map, read_mapped, read_natively
    from benchmarks.timing import alternate, medians, write_results
    from helix_jax import assets
    from helix_jax.models import Model, load_model, model_name

SOURCE = flags.DEFINE_string("source", "", "folder; empty: SmolLM2, or pebble-llama")
TARGET = flags.DEFINE_string("target", "", "folder; empty: the source's own shape")
LENGTHS = integers_flag("lengths", [64, 256, 1024, 2048, 4096], "tokens of a prompt")
LAYERS = integers_flag("layers", [1, 4], "source layers per target layer; 0: all")
OPENING = flags.DEFINE_integer("opening", 4, "first tokens that the target reads")
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "embedded models, one short prompt")


def compare(
    source: Model, target: Model, length: int, layers: list[int], repeats: int
) -> dict[str, float]:
    """Median seconds of each way, for one prompt length."""
    most = min(source.spec.vocab_size, target.spec.vocab_size)
    ids = np.random.default_rng(1).integers(3, most, (1, length))
    tokens, slots = jnp.asarray(ids), length + 64
    _, read = read_natively(source.params, tokens, spec=source.spec, slots=slots)
    ways: dict[str, Callable[[], Any]] = {
        "native": lambda: read_natively(
            target.params, tokens, spec=target.spec, slots=slots
        )
    }
    if target is not source:  # otherwise the same as native
        ways["source"] = lambda: read_natively(
            source.params, tokens, spec=source.spec, slots=slots
        )
    for count in layers:
        cache_map = random_map(source, target, count)
        ways[f"mapped_{count or 'all'}"] = partial(
            read_mapped,
            target.params,
            cache_map,
            read,
            tokens,
            spec=target.spec,
            slots=slots,
            opening=OPENING.value,
        )
    timed = {
        name: lambda way=way: jax.block_until_ready(way()) for name, way in ways.items()
    }
    return medians(alternate(timed, repeats=repeats, warmups=1))


def main(_: list[str]) -> None:
    """Compare at every length, and write the results."""
    real = real_models()
    default = real.get("smollm2-135m", str(assets.model_path("pebble-llama")))
    source = load_model(
        str(assets.model_path("pebble-llama"))
        if TINY.value
        else SOURCE.value or default
    )
    target = load_model(TARGET.value) if TARGET.value and not TINY.value else source
    tiny = TINY.value
    lengths, layers = ([32], [1]) if tiny else (LENGTHS.value, LAYERS.value)
    context = min(source.spec.max_tokens, target.spec.max_tokens)
    table = []
    for length in [one for one in lengths if one <= context]:
        seconds = compare(source, target, length, layers, 1 if tiny else REPEATS.value)
        native = seconds.pop("native")
        ratios = {name: value / native for name, value in seconds.items()}
        table.append(
            [
                length,
                f"{1000 * native:.0f}",
                *(f"{1000 * seconds[name]:.0f}" for name in seconds),
                *(f"{ratio:.2f}" for ratio in ratios.values()),
            ]
        )
        print(*table[-1], flush=True)
    ways = [
        *["source"] * (target is not source),
        *(f"mapped, {one or 'all'} layers" for one in layers),
    ]
    header = [
        "prompt, tokens",
        "native, ms",
        *(f"{way}, ms" for way in ways),
        *(f"{way}, of native" for way in ways),
    ]
    names = [model_name(str(model.folder)) for model in (source, target)]
    notes = (
        f"Time to the first token of {names[1]}, one prompt, float32: its own reading "
        f"of the prompt against a cache that {names[0]} has, mapped; the first "
        f"{OPENING.value} tokens and the last one are read by the target itself. "
        "'source': what the other model's own reading takes, which is not counted in "
        "the others. The numbers of the maps are random, their shapes those of fitted "
        "ones."
    )
    title = "Time to the first token from a mapped cache"
    print(write_results("caches", title, header, table, notes, not tiny))


if __name__ == "__main__":
    start_main(main)
