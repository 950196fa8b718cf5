"""Clusters far apart in the states of two sides, and the corpus of their texts."""

import json
from typing import NamedTuple

import numpy as np

from helix_jax.text.hashing import SPLITS, split_of

ROWS, CLASSES = 480, 3
FLIPPED = 5  # every fifth test text has another label than its cluster's


class Planted(NamedTuple):
    """Rows by split, and the flags that name them."""

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    ids: dict[str, list[str]]
    flags: dict[str, str]


def planted(folder, prefix, rows, shift=0.0):
    """Clusters far apart, y = x kernel + noise; texts whose split their ids say."""
    generator = np.random.default_rng([ROWS, len(prefix)])
    centres = 6 * np.random.default_rng(1).normal(size=(CLASSES, 8))
    kernel = np.random.default_rng(2).normal(size=(8, 6))
    clusters = generator.integers(CLASSES, size=rows)
    x = centres[clusters] + generator.normal(size=(rows, 8))
    x += shift * np.random.default_rng(3).normal(size=8)
    y = x @ kernel + 1.5 * generator.normal(size=(rows, 6))
    ids = [f"{prefix}/{row}" for row in range(rows)]  # those of prefix.jsonl
    splits = [split_of(text_id) for text_id in ids]
    labels = clusters.copy()
    test = [row for row in range(rows) if splits[row] == "test"][::FLIPPED]
    labels[test] = (labels[test] + 1) % CLASSES
    corpus = folder / f"{prefix}.jsonl"
    records = (
        {"text": f"Text {text_id} of a corpus.", "label": f"c{label}"}
        for text_id, label in zip(ids, labels)
    )
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    sides = {}
    for side, states in (("source", x), ("target", y)):
        sides[side] = states.astype(np.float32)
        np.savez(folder / f"{prefix}-{side}.npz", embeddings=sides[side], ids=ids)
    by_split = {name: np.flatnonzero(np.array(splits) == name) for name in SPLITS}
    return Planted(
        *(
            {split: values[place] for split, place in by_split.items()}
            for values in (sides["source"], sides["target"], labels)
        ),
        {split: [ids[row] for row in place] for split, place in by_split.items()},
        {
            "data": str(corpus),
            "source": f"embeddings:{folder}/{prefix}-source.npz",
            "target": f"embeddings:{folder}/{prefix}-target.npz",
        },
    )
