"""Pairs of planted rows, as stores hold them."""

import numpy as np

from helix_jax.activations import Pair, Store


def planted_store(name: str, rows: np.ndarray, ids: list[str]) -> Store:
    """A store of given rows."""
    return Store(
        name=name,
        layers=(0,),
        width=rows.shape[1],
        fingerprint={"made": name},
        counts={},
        text_ids=ids,
        text_labels=np.full(len(ids), -1, np.int32),
        reader=lambda layer, at: np.asarray(rows[at], np.float32),
    )


def planted_pair(x: np.ndarray, y: np.ndarray, name: str = "text") -> Pair:
    """Rows x and y that belong together, a document each."""
    ids = [f"{name}{i}" for i in range(len(x))]
    return Pair(planted_store("x", x, ids), planted_store("y", y, ids))
