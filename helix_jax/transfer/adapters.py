"""Adapters of retrieval indexes from the literature, and ridge, on the same pairs.

| name              | map                                           | fitted      |
|-------------------|-----------------------------------------------|-------------|
| ridge             | affine                                        | closed form |
| procrustes        | a rotation                                    | closed form |
| procrustes_scaled | a rotation, a scale of each dimension         | closed form |
| reduced_rank      | affine, of rank 64, of least penalised error  | closed form |
| low_rank          | affine, of rank 64                            | descent     |
| rotated_mlp       | procrustes_scaled and a network of 256 units  | descent     |
| ridge_mlp         | ridge and the same network                    | descent     |

Procrustes, low_rank and rotated_mlp, with scales, are the three kinds of Drift-Adapter.
A low-rank map's factors and a network's last layer hold scales of their own.

Reference: Vejendla 2025, arXiv 2509.23471, its three kinds; sizes, starts and training
  are ours.
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from helix_jax.alignment import (
    Descent,
    Moments,
    Selection,
    StateMap,
    fit_gradient,
    fit_procrustes,
    fit_reduced_rank,
    map_at,
    mean_map,
    mse_rows,
    residual_low_rank,
    residual_mlp,
    scale_dimensions,
)
from helix_jax.progress import Progress
from helix_jax.types import Array

RANK, HIDDEN, BATCH = 64, 256, 256
Rows = tuple[np.ndarray, np.ndarray]  # [N, dx] of the new model, [N, dy] of the old

ADAPTERS = {
    "ridge": "ridge",
    "procrustes": "rotation",
    "procrustes_scaled": "rotation, scaled by dimension",
    "reduced_rank": "rank 64, closed form",
    "low_rank": "rank 64, by descent",
    "rotated_mlp": "scaled rotation and a network",
    "ridge_mlp": "ridge and a network",
}


def fit_adapters(
    rows: Mapping[str, Rows],
    moments: Moments,
    ridge: Selection,
    *,
    key: Array,
    epochs: int,
) -> dict[str, StateMap]:
    """Fit every adapter on the rows of the fit split.

    Args:
      rows: of the splits "fit" and "select"; the second is for early stopping.
      moments: of the fit split.
      ridge: the ridge map; the reduced-rank map takes its penalty too.
      key: jax.random key of the order of the rows and of random weights.
      epochs: of a descent, at most.

    Returns:
      name of ADAPTERS -> map.

    Raises:
      ValueError: as `fit_gradient`.
    """
    rank = min(RANK, *moments.cov_xy.shape)
    rotation = fit_procrustes(moments).map
    scaled = scale_dimensions(rotation, moments)
    path = fit_reduced_rank(moments, ranks=(rank,), penalty=ridge.fit.penalty)
    maps: dict[str, StateMap] = {
        "ridge": ridge.fit.map,
        "procrustes": rotation,
        "procrustes_scaled": scaled,
        "reduced_rank": map_at(path, 0).map,
    }
    starts: dict[str, Callable[[], StateMap]] = {
        "low_rank": lambda: residual_low_rank(key, mean_map(moments), rank=rank),
        "rotated_mlp": lambda: residual_mlp(key, moments, scaled, hidden=HIDDEN),
        "ridge_mlp": lambda: residual_mlp(key, moments, ridge.fit.map, hidden=HIDDEN),
    }
    settings = Descent(
        batch=min(BATCH, len(rows["fit"][0])), epochs=epochs, patience=20
    )
    for name, start in starts.items():
        with Progress(f"training {name}", unit="steps") as shown:
            fitted = fit_gradient(
                start(),
                rows["fit"],
                rows["select"],
                loss=mse_rows,
                key=key,
                settings=settings,
                on_step=shown.at,
            )
        maps[name] = jax.block_until_ready(fitted.map)
    return maps
