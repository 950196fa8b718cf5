"""Embedded models, and states with a planted class in two linear spaces."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from helix_jax import assets
from helix_jax.alignment import from_batch
from helix_jax.models import load_model, load_tokenizer

SOURCE = {"model": "a", "weights": "1", "layer": 3}
TARGET = {"model": "b", "weights": "2", "layer": 5}


@pytest.fixture(scope="session")
def pebble():
    """name -> (model, tokenizer) of an embedded model."""

    @cache
    def load(name):
        folder = str(assets.model_path(f"pebble-{name}"))
        return load_model(folder), load_tokenizer(folder)

    return load


class Planted(NamedTuple):
    """States x of a source, y = x @ mixing of a target, and their labels."""

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    mixing: np.ndarray

    def moments(self):
        rows = {"fit": slice(0, 600), "select": slice(600, 800)}
        return {split: from_batch(self.x[s], self.y[s]) for split, s in rows.items()}


@pytest.fixture(scope="session")
def planted():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1000)
    x = rng.normal(size=(1000, 8)) + labels[:, None] * np.eye(8)[2] * 2
    mixing = rng.normal(size=(8, 8)) * np.geomspace(0.3, 3, 8)
    return Planted(x, x @ mixing + 1, labels, mixing)
