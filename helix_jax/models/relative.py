"""Relative position bias: what a pair of positions adds to the scores of each head."""

import jax.numpy as jnp
import numpy as np

from helix_jax.models.spec import RelativeBias
from helix_jax.types import Array


def relative_bias(
    table: Array, queries: Array, keys: Array, spec: RelativeBias
) -> Array:
    """table[bucket(key - query), head].

    Args:
      table: [buckets, H] float.
      queries: [T] int, places of tokens.
      keys: [S] int.
      spec: how distances are divided into buckets.

    Returns:
      [H, T, S] float32.

    Reference: Raffel et al. 2020, arXiv 1910.10683, section 2.1.
    """
    most = spec.max_distance
    by_distance = table.astype(jnp.float32)[buckets(np.arange(-most, most + 1), spec)]
    distance = jnp.clip(keys[None, :] - queries[:, None], -most, most)
    return jnp.moveaxis(by_distance[distance + most], -1, 0)


def buckets(distance: np.ndarray, spec: RelativeBias) -> np.ndarray:
    """Rows of the table, from 0 to buckets - 1, for keys at these distances.

    Computed in numpy, in the order of operations used in training: where a boundary
    falls depends on the rounding of a logarithm.
    """
    half = spec.buckets // 2
    single = half // 2
    far = np.abs(distance)
    grown = np.log(np.maximum(far, single).astype(np.float32) / np.float32(single))
    span = grown / np.float32(np.log(spec.max_distance / single))
    spans = single + (span * np.float32(half - single)).astype(np.int32)
    behind = np.where(distance > 0, half, 0)
    return behind + np.where(far < single, far, np.minimum(spans, half - 1))
