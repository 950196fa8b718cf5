r"""Pairing two tokenisations, vectorised, against a plain Python loop.

    python -m benchmarks.pairing [--source=DIR_OR_ID --target=DIR_OR_ID --data=CORPUS]

The loop walks both sides once with two indices, as a careful script would. Both must
give the same pairs before a time counts; tokenising is not counted. Expect, counting
tokens of both sides on one core, 6 million a second for 12 million tokens at once and
20 million for batches of 100,000 (--tiny), against 0.4 to 0.6 million for the loop.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import alternate, medians, write_results
    from helix_jax.assets import model_path
    from helix_jax.models import load_tokenizer, model_name
    from helix_jax.text.corpora import load_corpus
    from helix_jax.text.pairing import pair_tokens
    from helix_jax.text.tokens import encode_texts, private_tokenizer

SOURCE = flags.DEFINE_string("source", "", "folder or hub id; empty: pebble-llama")
TARGET = flags.DEFINE_string("target", "", "folder or hub id; empty: pebble-neox")
DATA = flags.DEFINE_string("data", "docstrings", "corpus by name, file or folder")
TEXTS = flags.DEFINE_integer("texts", 20_000, "texts of the corpus", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 5, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "200 texts")


def pair_by_loop(
    x_ends: list[np.ndarray], y_ends: list[np.ndarray]
) -> list[tuple[int, int, int]]:
    """The pairs of loop="target", token by token."""
    pairs = []
    for text, (x, y) in enumerate(zip(x_ends, y_ends)):
        x, y = _completing(x.tolist()), _completing(y.tolist())
        place = 0
        for position, end in y:
            while place < len(x) and x[place][1] < end:
                place += 1
            if place < len(x):
                pairs.append((text, x[place][0], position))
    return pairs


def _completing(ends: list[int]) -> list[tuple[int, int]]:
    """(position, end) of the tokens that complete a character."""
    kept: list[tuple[int, int]] = []
    furthest = 0
    for position, end in enumerate(ends):
        if end <= 0:
            continue
        furthest = max(furthest, end)
        if kept and kept[-1][1] == furthest:
            kept.pop()
        kept.append((position, furthest))
    return kept


def main(_: list[str]) -> None:
    """Measure and write the table."""
    corpus = load_corpus(DATA.value, limit=200 if TINY.value else TEXTS.value)
    texts = [text.text for split in corpus.splits for text in corpus.read(split)]
    names = (
        SOURCE.value or str(model_path("pebble-llama")),
        TARGET.value or str(model_path("pebble-neox")),
    )
    x, y = (
        encode_texts(
            private_tokenizer(load_tokenizer(name), max_tokens=1_000_000),
            texts,
            with_ends=True,
        ).ends
        for name in names
    )
    tokens = sum(map(len, x)) + sum(map(len, y))
    ours, loop = pair_tokens(x, y), pair_by_loop(x, y)
    if list(zip(ours.text.tolist(), ours.x.tolist(), ours.y.tolist())) != loop:
        raise ValueError("benchmarks.pairing: ours and the loop gave different pairs.")
    seconds = medians(
        alternate(
            {"ours": lambda: pair_tokens(x, y), "loop": lambda: pair_by_loop(x, y)},
            repeats=1 if TINY.value else REPEATS.value,
        )
    )
    million = {name: tokens / 1e6 / one for name, one in seconds.items()}
    header = [
        "source - target",
        "corpus",
        "texts",
        "tokens of both, M",
        "pairs, M",
        "ours, M tokens/s",
        "loop, M tokens/s",
        "ratio",
    ]
    row = [
        " - ".join(map(model_name, names)),
        corpus.name,
        len(texts),
        tokens / 1e6,
        len(loop) / 1e6,
        million["ours"],
        million["loop"],
        million["ours"] / million["loop"],
    ]
    notes = (
        "Pairs of tokens by their ends, one for each token of the target; median of "
        f"{REPEATS.value} runs in turns; tokenising is not counted. The loop is plain "
        "Python with two indices, and gives the same pairs."
    )
    title = "Pairing of tokens"
    print(write_results("pairing", title, header, [row], notes, keep=not TINY.value))


if __name__ == "__main__":
    start_main(main)
