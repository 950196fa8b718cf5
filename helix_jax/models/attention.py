"""Multi-head attention with grouped keys, windows, soft caps and padding."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from helix_jax.models.layers import dense, normalise, precision_of, softcap
from helix_jax.models.rope import Turn, rotate
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

MASKED = -1e30  # finite, so that a row without any key gives numbers and not NaN
# Rows with this many scores, or cached features, are worked through one by one on a
# CPU: those of a whole batch would not stay in its cache, and reading a layer of the
# key-value cache would copy it.
MANY_SCORES, MANY_CACHED = 2**18, 2**16


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


def score_bias(allowed: Array) -> Array:
    """What to add to the scores: 0 where a key may be read, else MASKED; float32."""
    return jnp.where(allowed, 0.0, MASKED).astype(jnp.float32)


def project(
    params: Mapping, x: Array, spec: ModelSpec, turn: Turn | None
) -> tuple[Array, Array, Array]:
    """Queries, keys and values of x: [B, T, D].

    Returns:
      q: [B, H, T, D_head]; k, v: [B, K, T, D_head].
    """
    batch, time, _ = x.shape

    def heads(name):
        y = dense(params[name], x)
        norm = params.get(f"{name}_norm", {})
        if name != "v" and spec.qk_norm == "full":
            y = normalise(norm, y, spec)
        if spec.qkv_clip is not None:
            y = jnp.clip(y, -spec.qkv_clip, spec.qkv_clip)
        y = y.reshape(batch, time, -1, spec.head_width)
        if name != "v" and spec.qk_norm in ("head", "heads"):
            y = normalise(norm, y, spec)
        if turn is not None and name != "v":
            y = rotate(y, turn.cos, turn.sin, interleaved=spec.rope.interleaved)
        if turn is not None and turn.growth is not None and name == "q":
            y = y * turn.growth.astype(y.dtype)
        return y.swapaxes(1, 2)

    return heads("q"), heads("k"), heads("v")


def attend(
    q: Array,
    k: Array,
    v: Array,
    bias: Array,
    spec: ModelSpec,
    *,
    layer: Array | None = None,
    by_head: Array | None = None,
) -> Array:
    """softmax(scale q k' + bias + by_head) v; scores and softmax in float32.

    Args:
      q: [B, H, T, D_head].
      k, v: [B, K, S, D_head], each serving H / K query heads; with `layer`, those of
        every layer, [L, B, K, S, D_head].
      bias: [B, T, S] float32, from `score_bias`.
      spec: attention_scale, attention_softcap.
      layer: [] int, the layer of k and v to read.
      by_head: float32, broadcastable to [B, H, T, S], a bias that heads differ in.

    Returns:
      [B, T, H * D_head] in v's dtype.

    Reference: Vaswani et al. 2017, arXiv 1706.03762, equation 1; grouped heads:
      Ainslie et al. 2023, arXiv 2305.13245.
    """
    batch, heads, time, width = q.shape
    slots = k.shape[-2]
    layer = jnp.zeros((), jnp.int32) if layer is None else layer
    tables = (k, v) if k.ndim == 5 else (k[None], v[None])

    def at_once(q, k, v, bias, layer):
        def read(table):
            return jax.lax.dynamic_index_in_dim(table, layer, keepdims=False)

        return _mix(q, read(k), read(v), bias, by_head, spec)

    def row_by_row(q, k, v, bias, layer):
        def row(inputs):
            number, q, bias = inputs

            def read(table):
                start = (layer.astype(number.dtype), number, *[first] * 3)
                return jax.lax.dynamic_slice(table, start, (1, 1, *table.shape[2:]))[0]

            own = by_head
            if own is not None and len(own) > 1:
                own = jax.lax.dynamic_index_in_dim(own, number)
            return _mix(q[None], read(k), read(v), bias[None], own, spec)[0]

        numbers = jnp.arange(batch, dtype=jnp.int32)
        first = jnp.zeros((), jnp.int32)
        return jax.lax.map(row, (numbers, q, bias))

    cached = k.shape[-3] * slots * width if k.ndim == 5 else 0
    if heads * time * slots < MANY_SCORES and cached < MANY_CACHED:
        mixed = at_once(q, *tables, bias, layer)
    else:
        mixed = jax.lax.platform_dependent(
            q, *tables, bias, layer, cpu=row_by_row, default=at_once
        )
    return mixed.swapaxes(1, 2).reshape(batch, time, heads * width)


def _mix(
    q: Array, k: Array, v: Array, bias: Array, by_head: Array | None, spec: ModelSpec
) -> Array:
    """`attend`, with the result as [B, H, T, D_head]."""
    batch, heads, time, width = q.shape
    groups, slots = k.shape[1:3]
    # The query heads of a group stand in line, so that each group is one product of
    # matrices and nothing of the size of the scores is ever transposed.
    lined = q.reshape(batch, groups, -1, width)
    scores = jnp.einsum(
        "bkqd,bksd->bkqs",
        lined,
        k,
        precision=precision_of(q),
        preferred_element_type=jnp.float32,
    )
    scores = softcap(scores * spec.attention_scale, spec.attention_softcap)
    scores = scores.reshape(batch, groups, heads // groups, time, slots)
    scores = scores + bias[:, None, None]
    if by_head is not None:
        rows, _, *lengths = by_head.shape
        scores = scores + by_head.reshape(rows, groups, heads // groups, *lengths)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    mixed = jnp.einsum(
        "bkqs,bksd->bkqd",
        weights.reshape(batch, groups, -1, slots),
        v,
        precision=precision_of(v),
    )
    return mixed.reshape(batch, heads, time, width)
