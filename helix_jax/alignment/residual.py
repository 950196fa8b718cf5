"""Starting points of gradient fits: a fitted map and a zero correction.

The correction is affine, of low rank, or a small network; it is float32, as it is
trained.
"""

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import kinds
from helix_jax.alignment.maps import (
    AffineMap,
    LowRankMap,
    MlpMap,
    ResidualMap,
    StateMap,
)
from helix_jax.alignment.moments import Moments
from helix_jax.arguments import takes
from helix_jax.types import Array

UNIT_WIDTH = 128  # width of a source for which `affine_rates` is one


@takes(base=kinds.AFFINE)
def residual_affine(base: AffineMap) -> ResidualMap:
    """A base map and an affine correction that begins at zero."""
    return ResidualMap(base, jax.tree.map(lambda leaf: _zeros(*leaf.shape), base))


@takes(moments=kinds.MOMENTS)
def affine_rates(moments: Moments) -> AffineMap:
    """Learning rates of an affine correction that suit states of any scale and width.

    Adam moves every entry of a kernel by about the learning rate, whatever the
    gradient: with dx inputs of spread s_x, outputs move by up to dx s_x times that.
    With the rate divided by dx s_x and multiplied by the target's spread, a step moves
    mapped states by the same fraction of their spread for every pair. A width of 128
    and equal spreads give a factor of one.

    Args:
      moments: of the fit rows.

    Returns:
      Factors for `fit_gradient`, which broadcast against the correction: kernel [dx, 1]
      float32, zero where the source is constant; bias [1].

    Reference: rates by width: Yang et al. 2022, arXiv 2203.03466, table 3.
    """
    dx = moments.cov_xx.shape[0]
    variance = np.diagonal(moments.cov_xx).astype(np.float32)
    spread = np.sqrt(np.diagonal(moments.cov_yy).mean(), dtype=np.float32)
    inverse = np.where(variance > 0, 1 / np.sqrt(np.maximum(variance, 1e-30)), 0)
    kernel = UNIT_WIDTH / dx * spread * inverse[:, None]
    return AffineMap(jnp.asarray(kernel), jnp.full(1, spread))


@takes(key=kinds.KEY, base=kinds.MAP)
def residual_low_rank(key: Array, base: StateMap, *, rank: int) -> ResidualMap:
    """A base map and a correction of low rank that begins at zero.

    Reference: Hu et al. 2021 (LoRA), arXiv 2106.09685, section 4.1.
    """
    dx, dy = base.widths
    left = jax.random.normal(key, (dx, rank), jnp.float32) / jnp.sqrt(dx)
    return ResidualMap(base, LowRankMap(left, _zeros(rank, dy), _zeros(dy)))


@takes(key=kinds.KEY, moments=kinds.MOMENTS, base=kinds.MAP)
def residual_mlp(
    key: Array, moments: Moments, base: StateMap, *, hidden: int
) -> ResidualMap:
    """A base map and a small network that begins at zero.

    y_hat = base(x) + W2 gelu(W1 (x - mean) / std) + b; the standardisation is part of
    the first layer.

    Args:
      key: jax.random key.
      moments: of the fit rows, for the scale of the source's dimensions.
      base: such as the ridge map.
      hidden: h, width of the hidden layer.
    """
    dx, dy = base.widths
    variance = np.diagonal(moments.cov_xx).astype(np.float32)
    scale = jnp.where(variance > 0, jax.lax.rsqrt(jnp.maximum(variance, 1e-30)), 0)
    drawn = jax.random.normal(key, (dx, hidden), jnp.float32)
    first = scale[:, None] * drawn / jnp.sqrt(dx)
    inner = -np.asarray(moments.mean_x, np.float32) @ first
    return ResidualMap(base, MlpMap(first, inner, _zeros(hidden, dy), _zeros(dy)))


def _zeros(*shape: int) -> Array:
    return jnp.zeros(shape, jnp.float32)
