"""Multi-head attention with grouped keys, windows, soft caps and padding."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from helix_jax.models.layers import dense, normalise, precision_of, softcap
from helix_jax.models.rope import rotate
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

MASKED = -1e30  # finite, so that a row without any key gives numbers and not NaN


def allowed_keys(
    query_positions: Array, key_positions: Array, key_mask: Array, *, causal: bool
) -> Array:
    """Which keys each query may read.

    Args:
      query_positions: [B, T] int.
      key_positions: [B, S] int.
      key_mask: [B, S] bool, False for padding and empty slots.
      causal: only keys at the query's position or before.

    Returns:
      [B, T, S] bool.
    """
    allowed = key_mask[:, None, :]
    if causal:
        allowed = allowed & (key_positions[:, None, :] <= query_positions[:, :, None])
    return jnp.broadcast_to(allowed, (*query_positions.shape, key_mask.shape[1]))


def project(
    params: Mapping, x: Array, spec: ModelSpec, rotation: tuple[Array, Array] | None
) -> tuple[Array, Array, Array]:
    """Queries [B, T, H, D_head], keys and values [B, T, K, D_head] of x: [B, T, D]."""
    batch, time, _ = x.shape
    q, k = dense(params["q"], x), dense(params["k"], x)
    v = dense(params["v"], x).reshape(batch, time, spec.num_kv_heads, spec.head_width)
    if spec.qk_norm == "full":
        q, k = (
            normalise(params["q_norm"], q, spec),
            normalise(params["k_norm"], k, spec),
        )
    q = q.reshape(batch, time, spec.num_heads, spec.head_width)
    k = k.reshape(batch, time, spec.num_kv_heads, spec.head_width)
    if spec.qk_norm == "head":
        q, k = (
            normalise(params["q_norm"], q, spec),
            normalise(params["k_norm"], k, spec),
        )
    if rotation is not None:
        q, k = rotate(q, *rotation), rotate(k, *rotation)
    return q, k, v


def attend(q: Array, k: Array, v: Array, allowed: Array, spec: ModelSpec) -> Array:
    """softmax(q k' scale) v over the allowed keys; scores and softmax in float32.

    Args:
      q: [B, T, H, D_head].
      k, v: [B, S, K, D_head]; each serves H / K query heads.
      allowed: [B, T, S] bool.
      spec: attention_scale, attention_softcap.

    Returns:
      [B, T, H * D_head] in v's dtype.

    Reference: Vaswani et al. 2017, arXiv 1706.03762, equation 1; grouped heads:
      Ainslie et al. 2023, arXiv 2305.13245.
    """
    batch, time, heads, width = q.shape
    grouped = q.reshape(batch, time, k.shape[2], heads // k.shape[2], width)
    scores = jnp.einsum(
        "btkgd,bskd->bkgts", grouped * jnp.asarray(spec.attention_scale, q.dtype), k,
        precision=precision_of(q), preferred_element_type=jnp.float32,
    )  # fmt: skip
    scores = softcap(scores, spec.attention_softcap)
    scores = jnp.where(allowed[:, None, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    mixed = jnp.einsum("bkgts,bskd->btkgd", weights, v, precision=precision_of(v))
    return mixed.reshape(batch, time, heads * width)
