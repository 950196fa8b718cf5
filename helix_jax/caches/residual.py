"""Low-rank residual maps: the source's own cache, changed in a few directions.

    k_hat_j = k_j + k_j U_j V_j + b_j        and the values likewise

for caches of the same shape, such as those of a model and of its fine-tuned sibling. It
comes
from the same moments as every other map: those of (x, y - x).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import Moments, evaluate_map, fit_reduced_rank, map_at
from helix_jax.alignment.grouped_ridge import PENALTIES
from helix_jax.caches.fit import PARTS, CacheMoments, FittedCacheMap
from helix_jax.caches.maps import CacheMap, LayerMaps, identity_map
from helix_jax.linalg import spectrum_of, wide
from helix_jax.progress import bar


@wide
def moments_of_change(moments: Moments) -> Moments:
    """Moments of (x, y - x) from those of (x, y), which have the same width."""
    across = moments.cov_xy + moments.cov_xy.T
    return moments._replace(
        mean_y=moments.mean_y - moments.mean_x,
        cov_xy=moments.cov_xy - moments.cov_xx,
        cov_yy=moments.cov_yy - across + moments.cov_xx,
    )


def fit_cache_residual(
    moments: Mapping[str, CacheMoments],
    *,
    rank: int,
    penalties: Sequence[float] = PENALTIES,
) -> FittedCacheMap:
    """The identity and a change of low rank, from each layer to the same one.

    Args:
      moments: of the "fit" and "select" splits.
      rank: of the change of each layer's keys, and of its values.
      penalties: relative; each layer takes the one with the best R2 on the select
        split.

    Returns:
      FittedCacheMap; its R2 is of y, not of the change.

    Raises:
      ValueError: the caches differ in shape, or the rank is out of range.
    """
    source, target = moments["fit"].source, moments["fit"].target
    plain = identity_map(source, target)
    if plain is None:
        raise ValueError(
            "fit_cache_residual: source and target need as many layers of one width, "
            f"got {source.layers} of {source.width} and {target.layers} of "
            f"{target.width}; fit_cache_map maps between any two."
        )
    parts, scores, chosen = {}, {}, {}
    for part in PARTS:
        fit, select = (getattr(moments[split], part) for split in ("fit", "select"))
        found = []
        for layer in bar(range(target.layers), f"changes of rank {rank}, {part}"):
            own = fit.of_pair(layer, layer), select.of_pair(layer, layer)
            found.append(_best_change(*own, rank, penalties))
        kernel, bias, scores[part], chosen[part] = map(np.array, zip(*found))
        arrays = (jnp.asarray(one, jnp.float32) for one in (kernel, bias))
        parts[part] = LayerMaps(plain.keys.layers, *arrays)
    fitted = CacheMap(parts["keys"], parts["values"], source, target)
    return FittedCacheMap(fitted, scores, chosen)


@wide
def _best_change(
    fit: Moments, select: Moments, rank: int, penalties: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Kernel, bias, R2 on select and penalty of one layer."""
    change, tried = moments_of_change(fit), []
    spectrum = spectrum_of(change.cov_xx)  # one for all penalties
    for penalty in penalties:
        path = fit_reduced_rank(
            change, ranks=[rank], penalty=penalty, spectrum_x=spectrum
        )
        found = map_at(path, 0).map
        kernel = np.asarray(found.kernel)
        same = np.eye(len(kernel), dtype=kernel.dtype)
        found = dataclasses.replace(found, kernel=kernel + same)
        tried.append((float(evaluate_map(found, select).r2), penalty, found))
    r2, penalty, best = max(tried, key=lambda one: one[0])
    return np.asarray(best.kernel), np.asarray(best.bias), r2, penalty
