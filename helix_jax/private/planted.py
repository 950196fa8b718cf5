"""Synthetic problems for the private protocols, with known answers."""

import numpy as np

from helix_jax.alignment import AffineMap


def planted_layer(
    *, width: int, classes: int, queries: int, seed: int = 0
) -> tuple[AffineMap, np.ndarray]:
    """A Gaussian classifier, and embeddings with logits of order 10.

    Args:
      width: D.
      classes: C.
      queries: N.
      seed: of all of it.

    Returns:
      The classifier, kernel [D, C] and bias [C], and the embeddings [N, D], float64.
    """
    generator = np.random.default_rng(seed)
    kernel = generator.standard_normal((width, classes))
    bias = generator.standard_normal(classes)
    x = generator.standard_normal((queries, width))
    return AffineMap(10 * kernel / np.sqrt(width), bias), x


def planted_rows(
    *, rows: int, widths: tuple[int, int], seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows x and y of a noisy linear map, both with means away from zero.

    Args:
      rows: N.
      widths: dx and dy.
      seed: of all of it.

    Returns:
      x [N, dx] and y [N, dy], float64.
    """
    generator = np.random.default_rng(seed)
    kernel = generator.standard_normal(widths) / np.sqrt(widths[0])
    x = generator.standard_normal((rows, widths[0])) + 1
    return x, x @ kernel + generator.standard_normal((rows, widths[1])) - 2
