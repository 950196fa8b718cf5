"""Maps between caches, fitted from moments: after one pass no rows are needed.

    moments = {split: read_cache_moments(pairs, limit=N) for split in (fit, select)}
    choice = choose_layers(moments, count=4)
    fitted = fit_cache_map(moments, choice, count=4)

The source layers of each target layer are chosen greedily on the select split: each
step adds the layer with which ridge has the largest R2. The first k of a choice are the
choice of k; keys and values have separate choices.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax.activations.layer_moments import LayerMoments, parted_layer_moments
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.alignment import evaluate_map, fit_reduced_rank, map_at
from helix_jax.alignment.grouped_ridge import (
    PENALTIES,
    fit_each_ridge,
    fit_grouped_ridge,
    score_sources,
)
from helix_jax.caches.form import CacheForm, cache_form
from helix_jax.caches.maps import CacheMap, LayerMaps
from helix_jax.progress import bar, stage

PARTS = ("keys", "values")
FEW_PENALTIES = (1e-7, 1e-5, 1e-3)  # if all source layers are taken


class CacheMoments(NamedTuple):
    """Moments of all layers of two caches.

    Attributes:
      keys, values: of the source's with the target's.
      source, target: forms of the two.
    """

    keys: LayerMoments
    values: LayerMoments
    source: CacheForm
    target: CacheForm

    @property
    def means(self) -> np.ndarray:
        """[2 L', K' D_head'] mean states of the target."""
        means = [part.joint.mean_y for part in (self.keys, self.values)]
        return np.concatenate(means).reshape(-1, self.target.width)


class LayerChoice(NamedTuple):
    """Source layers for each target layer.

    Attributes:
      layers: [L', k] int32, in the order in which they were chosen.
      alone: [L, L'] R2 of every source layer by itself, on the select split.
    """

    layers: np.ndarray
    alone: np.ndarray


class FittedCacheMap(NamedTuple):
    """A map and its scores on the select split.

    Attributes:
      map: CacheMap, float32.
      r2: "keys", "values" -> [L'] R2 of each target layer on the select split.
      penalties: likewise, the relative penalties that were chosen.
    """

    map: CacheMap
    r2: dict[str, np.ndarray]
    penalties: dict[str, np.ndarray]

    @property
    def mean_r2(self) -> float:
        """The mean over keys, values and layers."""
        return float(np.mean([self.r2[part] for part in PARTS]))


def read_cache_moments(pairs: TokenPairs, *, limit: int, skip: int = 0) -> CacheMoments:
    """Moments of keys with keys and values with values, all layers, in one pass.

    For keys and for values some matrices of (L K D_head)^2 float64 are held.

    Args:
      pairs: of sides from `cache_side`.
      limit: of token pairs; the block that reaches it is taken whole.
      skip: tokens at the beginning of a text that are left out: those that a target
        reads itself, whose keys and values are far from all others.

    Raises:
      CorpusError: there is no pair.
    """
    source, target = (cache_form(side.spec) for side in (pairs.source, pairs.target))
    layers = tuple(range(source.layers)), tuple(range(target.layers))
    keys, values = parted_layer_moments(
        pairs, layers, parts=len(PARTS), limit=limit, skip=skip
    )
    return CacheMoments(keys, values, source, target)


def choose_layers(
    moments: Mapping[str, CacheMoments], *, count: int
) -> dict[str, LayerChoice]:
    """The source layers of each target layer, of keys and of values.

    Args:
      moments: of the "fit" and "select" splits.
      count: k, at most all.

    Returns:
      "keys", "values" -> LayerChoice.
    """
    source, target = moments["fit"].source, moments["fit"].target
    count, chosen = min(count, source.layers), {}
    for part in PARTS:
        fit, select = (getattr(moments[split], part) for split in ("fit", "select"))
        layers, alone = [], []
        for layer in bar(range(target.layers), f"choosing source layers of {part}"):
            own: list[int] = []
            scores = []
            for _ in range(count):
                left = [one for one in range(source.layers) if one not in own]
                columns = [fit.columns((*own, one), (layer,)) for one in left]
                found = score_sources(
                    fit.joint,
                    select.joint,
                    np.array([x for x, _ in columns]),
                    columns[0][1],
                )
                scores.append(np.asarray(found))
                own.append(left[int(np.argmax(scores[-1]))])
            layers.append(own)
            alone.append(scores[0])
        chosen[part] = LayerChoice(np.array(layers, np.int32), np.array(alone).T)
    return chosen


def fit_cache_map(
    moments: Mapping[str, CacheMoments],
    choice: Mapping[str, LayerChoice] | None,
    *,
    count: int = 0,
    rank: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> FittedCacheMap:
    """Ridge from the first chosen source layers to each target layer, or from all.

    Args:
      moments: of the "fit" and "select" splits.
      choice: from `choose_layers`; None takes all layers.
      count: number of chosen layers to take; 0: all that were chosen.
      rank: of each kernel, by reduced-rank regression with the penalty chosen for
        ridge; 0: full rank.
      penalties: relative; each target layer chooses one of them.

    Returns:
      FittedCacheMap.

    Raises:
      ValueError: as `fit_grouped_ridge` and `fit_reduced_rank`.
    """
    source, target = moments["fit"].source, moments["fit"].target
    parts, scores, chosen = {}, {}, {}
    for part in PARTS:
        fit, select = (getattr(moments[split], part) for split in ("fit", "select"))
        title = f"fitting {part}"
        if choice is None:
            with stage(f"{title}, all source layers"):
                found = fit_grouped_ridge(
                    fit.joint,
                    select.joint,
                    groups=target.layers,
                    penalties=FEW_PENALTIES,
                )
            layers = np.tile(np.arange(source.layers), (target.layers, 1))
            columns = found.map.kernel.shape[0]
            kernel = np.asarray(found.map.kernel).reshape(columns, target.layers, -1)
            kernel = kernel.transpose(1, 0, 2)
            bias = np.asarray(found.map.bias).reshape(target.layers, -1)
            scores[part], chosen[part] = found.r2, found.penalties
        else:
            layers = choice[part].layers[:, : count or None]
            columns = [fit.columns(own, (j,)) for j, own in enumerate(layers.tolist())]
            with stage(f"{title}, {layers.shape[1]} source layers"):
                found = fit_each_ridge(
                    fit.joint,
                    select.joint,
                    *map(np.array, zip(*columns)),
                    penalties=penalties,
                )
            kernel, bias = found.map.kernel, found.map.bias
            scores[part], chosen[part] = found.r2, found.penalties
            if rank:
                kernel, bias, scores[part] = _of_rank(
                    (fit, select), layers, found.penalties, rank
                )
        parts[part] = _as_layer_maps(layers, kernel, bias)
    fitted = CacheMap(parts["keys"], parts["values"], source, target)
    return FittedCacheMap(fitted, scores, chosen)


def _of_rank(
    moments: tuple[LayerMoments, LayerMoments],
    layers: np.ndarray,
    penalties: np.ndarray,
    rank: int,
) -> tuple[np.ndarray, ...]:
    """Kernels, biases and R2 of reduced-rank maps to each target layer."""
    found = []
    for layer, own in enumerate(bar(layers.tolist(), f"maps of rank {rank}")):
        fit, select = (one.of_layers(own, (layer,)) for one in moments)
        ranks = [min(rank, *fit.cov_xy.shape)]
        path = fit_reduced_rank(fit, ranks=ranks, penalty=float(penalties[layer]))
        fitted = map_at(path, 0).map
        r2 = float(evaluate_map(fitted, select).r2)
        found.append((np.asarray(fitted.kernel), np.asarray(fitted.bias), r2))
    return tuple(map(np.array, zip(*found)))


def _as_layer_maps(layers: np.ndarray, *arrays: np.ndarray) -> LayerMaps:
    kernel, bias = (jnp.asarray(one, jnp.float32) for one in arrays)
    return LayerMaps(jnp.asarray(layers, jnp.int32), kernel, bias)
