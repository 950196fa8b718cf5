"""Multi-head attention with grouped keys, windows, soft caps and padding."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp

from helix_jax.models.kernels import attend_by_kernel, kernel_for
from helix_jax.models.layers import dense, normalise, precision_of
from helix_jax.models.long_attention import attend_by_blocks
from helix_jax.models.rope import Turn, rotate
from helix_jax.models.scores import Reach, lined_sinks, scores_of
from helix_jax.models.sharding import active_mesh, constrain, share_kv_heads
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

# On a CPU, rows with this many scores or cached features are processed one by one: the
# scores of a whole batch would not fit its cache, and reading a layer of the key-value
# cache for all rows would copy it.
MANY_SCORES, MANY_CACHED = 2**18, 2**16
HEADS = ("batch", "heads", None, None)


def project(
    params: Mapping, x: Array, spec: ModelSpec, turn: Turn | None
) -> tuple[Array, Array, Array]:
    """Queries, keys and values of x: [B, T, D].

    Returns:
      q: [B, H, T, D_head]; k, v: [B, K, T, D_head].
    """
    batch, time, _ = x.shape
    interleaved = spec.rope is not None and spec.rope.interleaved

    def heads(name: str) -> Array:
        y = dense(params[name], x)
        norm = params.get(f"{name}_norm", {})
        if name != "v" and spec.qk_norm == "full":
            y = normalise(norm, y, spec)
        if spec.qkv_clip is not None:
            y = jnp.clip(y, -spec.qkv_clip, spec.qkv_clip)
        y = y.reshape(batch, time, -1, spec.head_width)
        normed = name != "v" and spec.qk_norm in ("head", "heads")
        if normed and not spec.qk_norm_last:
            y = normalise(norm, y, spec)
        if turn is not None and name != "v":
            y = rotate(y, turn.cos, turn.sin, interleaved=interleaved)
        if normed and spec.qk_norm_last:
            y = normalise(norm, y, spec)
        if turn is not None and turn.growth is not None and name == "q":
            y = y * turn.growth.astype(y.dtype)
        return y.swapaxes(1, 2)

    return heads("q"), heads("k"), heads("v")


def attend(
    q: Array,
    k: Array,
    v: Array,
    reach: Reach,
    spec: ModelSpec,
    *,
    layer: Array | None = None,
    sinks: Array | None = None,
) -> Array:
    """softmax(scale q k' + bias + added) v; scores and softmax in float32.

    Args:
      q: [B, H, T, D_head].
      k, v: [B, K, S, D_head], each serving H / K query heads; with `layer`, those of
        every layer, [L, B, K, S, D_head].
      reach: which keys each query sees, and what is added to the scores.
      spec: attention_scale, attention_softcap.
      layer: [] int, the layer of k and v to read.
      sinks: [H] float, an additional score for each head, of a key without a value.

    Returns:
      [B, T, H * D_head] in v's dtype.

    Reference: Vaswani et al. 2017, arXiv 1706.03762, equation 1; grouped heads:
      Ainslie et al. 2023, arXiv 2305.13245; sinks: Xiao et al. 2023, arXiv 2309.17453.
    """
    batch, heads, time, width = q.shape
    q = constrain(q, *HEADS)
    if layer is None:
        k, v = (constrain(share_kv_heads(one), *HEADS) for one in (k, v))
    slots = k.shape[-2]
    layer = jnp.zeros((), jnp.int32) if layer is None else layer
    tables = (k, v) if k.ndim == 5 else (k[None], v[None])
    first = jnp.zeros((), jnp.int32)

    def of_rows(q: Array, row: Array) -> Array:
        own = reach.of_rows(row, len(q))
        if own.is_long:
            places = {"layer": layer, "row": row, "sinks": sinks}
            return attend_by_blocks(q, tables, own, spec, **places)
        start = (layer.astype(row.dtype), row, first, first, first)
        k, v = (
            jax.lax.dynamic_slice(table, start, (1, len(q), *table.shape[2:]))[0]
            for table in tables
        )
        return _mix(q, k, v, own, spec, sinks)

    def by_rows() -> Array:
        return of_rows(q, first)

    kernel = None
    if reach.query_positions is reach.key_positions:  # no cache
        platform = jax.default_backend()
        kernel = kernel_for(platform, q, reach, spec, sinks=sinks is not None)

    def at_once() -> Array:
        if kernel is None:
            return by_rows()
        by_kernel = partial(attend_by_kernel, kernel, q, k, v, reach, spec, sinks=sinks)
        return jax.lax.platform_dependent(**{kernel: by_kernel}, default=by_rows)

    def row_by_row() -> Array:
        numbers = jnp.arange(batch, dtype=jnp.int32)
        return jax.lax.map(lambda one: of_rows(one[0][None], one[1])[0], (q, numbers))

    cached = k.shape[-3] * slots * width if k.ndim == 5 else 0
    few = heads * time * slots < MANY_SCORES and cached < MANY_CACHED
    if few or active_mesh() is not None:  # devices share the rows of a batch
        mixed = at_once()
    else:
        mixed = jax.lax.platform_dependent(cpu=row_by_row, default=at_once)
    return mixed.swapaxes(1, 2).reshape(batch, time, heads * width)


def _mix(
    q: Array, k: Array, v: Array, reach: Reach, spec: ModelSpec, sinks: Array | None
) -> Array:
    """`attend`, with the result as [B, H, T, D_head]."""
    batch, _, time, width = q.shape
    groups, slots = k.shape[1:3]
    scores = scores_of(q.reshape(batch, groups, -1, width), k, reach, spec)
    if sinks is not None:
        own = jnp.broadcast_to(lined_sinks(sinks, groups, time), scores.shape[:-1])
        scores = jnp.concatenate([scores, own[..., None]], axis=-1)
    weights = jax.nn.softmax(scores, axis=-1)[..., :slots].astype(v.dtype)
    mixed = jnp.einsum("bkqs,bksd->bkqd", weights, v, precision=precision_of(v))
    return mixed.reshape(q.shape)
