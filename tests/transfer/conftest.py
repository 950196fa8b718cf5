"""A task of clusters far apart, planted in two spaces."""

from typing import NamedTuple

import numpy as np
import pytest

from helix_jax.probes import Probe
from helix_jax.transfer.task import Task

SPLITS = {"fit": 240, "select": 60, "test": 80}
CLASSES = 3


class Planted(NamedTuple):
    """x [N, 5] and y [N, 4] by split, y = x kernel + noise, and the clusters."""

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def rows():
    generator = np.random.default_rng(0)
    centres = 4 * generator.normal(size=(CLASSES, 5))
    kernel = generator.normal(size=(5, 4))
    x, y, labels = {}, {}, {}
    for split, count in SPLITS.items():
        labels[split] = generator.integers(CLASSES, size=count)
        x[split] = centres[labels[split]] + generator.normal(size=(count, 5))
        y[split] = x[split] @ kernel + generator.normal(size=(count, 4))
    return Planted(x, y, labels)


@pytest.fixture(scope="session")
def task(rows):
    """Probes are nearest means, so that nothing is trained."""

    def nearest_mean(z):
        means = np.stack(
            [z["fit"][rows.labels["fit"] == c].mean(0) for c in range(CLASSES)]
        )
        return Probe(means.T, -0.5 * np.sum(means**2, axis=1))

    ids = {name: [f"{name}{i}" for i in range(n)] for name, n in SPLITS.items()}
    documents = [str(i // 2) for i in range(SPLITS["test"])]
    probes = nearest_mean(rows.y), nearest_mean(rows.x)
    names = tuple(f"c{c}" for c in range(CLASSES))
    return Task(rows.x, rows.y, rows.labels, ids, names, *probes, documents, 50)
