"""Planted pairs of state matrices."""

from typing import NamedTuple

import numpy as np
import pytest


class Planted(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray


def planted(
    rows: int,
    dx: int,
    dy: int,
    *,
    noise: float = 0.0,
    condition: float = 1.0,
    mean_over_std: float = 0.0,
    drift: bool = False,
    dtype: str = "float64",
    seed: int = 0,
) -> Planted:
    """y = x kernel + bias + noise, cov_xx of a given condition, means far from zero."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dx, dx)))[0]
    latent = rng.normal(size=(rows, dx))
    if drift:
        latent = np.sort(latent, axis=0)
    x = (latent * np.logspace(0, -np.log10(condition) / 2, dx)) @ basis.T
    x += mean_over_std * x.std(0) * rng.choice([-1.0, 1.0], dx) * rng.uniform(1, 2, dx)
    kernel = rng.normal(size=(dx, dy))
    bias = rng.normal(size=dy) - mean_over_std * rng.normal(size=dy)
    y = x @ kernel + bias + noise * rng.normal(size=(rows, dy))
    return Planted(x.astype(dtype), y.astype(dtype), kernel, bias)


@pytest.fixture(scope="session")
def make_planted():
    return planted
