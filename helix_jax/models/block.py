"""One transformer block: attention and feed-forward, with norms as in the spec."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from helix_jax.models.attention import attend, project
from helix_jax.models.experts import mix_experts
from helix_jax.models.layers import dense, feed_forward, normalise
from helix_jax.models.rope import Turn
from helix_jax.models.scores import Reach
from helix_jax.models.sharding import active_mesh
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

MOST_TOKENS = 2048  # of a text that go through a feed-forward layer at once


def block(
    params: Mapping,
    spec: ModelSpec,
    h: Array,
    reach: Reach,
    turn: Turn | None,
    remember: Callable[[Array, Array], tuple[Array, Array, Array | None]],
    *,
    first: Array | bool = False,
) -> Array:
    """One transformer block; `spec.block` places its norms.

    Args:
      params: one layer's parameters.
      spec: the architecture.
      h: [B, T, D].
      reach: which keys each query sees, and what is added to their scores.
      turn: the rotation of queries and keys by position (`rope.Turn`), or None.
      remember: (k, v) -> (keys, values, layer), what to attend to: k and v themselves,
        or the cache that they were written to.
      first: whether this is the model's first block.

    Returns:
      [B, T, D].
    """

    def attention(x: Array) -> Array:
        q, k, v = project(params, x, spec, turn)
        k, v, layer = remember(k, v)
        sinks = params.get("sinks")
        mixed = attend(q, k, v, reach, spec, layer=layer, sinks=sinks)
        return dense(params["out"], mixed)

    def transform(x: Array) -> Array:
        if spec.experts is not None:
            return mix_experts(params, x, spec)
        return _by_blocks(partial(feed_forward, params, spec=spec), x)

    def norm(name: str, x: Array) -> Array:
        return normalise(params.get(name, {}), x, spec)

    def add(h: Array, branch: Array) -> Array:
        scale = spec.residual_scale
        return h + (branch if scale is None else branch * scale)

    x = attention_input(params, spec, h, first=first)
    if spec.parallel:
        y = x if spec.shared_norm else norm("ffn_norm", h)
        return add(h, attention(x) + transform(y))
    if spec.block == "pre":
        h = add(h, attention(x))
        return add(h, transform(norm("ffn_norm", h)))
    if spec.block == "post":
        h = add(h, norm("attention_post_norm", attention(x)))
        return add(h, norm("ffn_post_norm", transform(h)))
    if spec.block == "sandwich":
        mixed = attention(x)
        h = add(h, norm("attention_post_norm", mixed))
        mixed = transform(norm("ffn_norm", h))
        return add(h, norm("ffn_post_norm", mixed))
    if spec.block == "post_residual":
        h = norm("attention_norm", add(h, attention(x)))
        return norm("ffn_norm", add(h, transform(h)))
    raise ValueError(f"unknown block {spec.block!r} in the spec of {spec.family}.")


def attention_input(
    params: Mapping, spec: ModelSpec, h: Array, *, first: Array | bool = False
) -> Array:
    """The input of a block's attention, from the residual stream h: [B, T, D].

    Args:
      params, spec, first: as for `block`.
    """
    if not spec.parallel and spec.block in ("post", "post_residual"):
        return h
    x = normalise(params.get("attention_norm", {}), h, spec)
    return x if spec.first_norm or spec.parallel else jnp.where(first, h, x)


def _by_blocks(layer: Callable[[Array], Array], x: Array) -> Array:
    """layer(x) for x: [B, T, D], in blocks of tokens if the text is long.

    The wider states inside the layer are then never held for all tokens. Devices of a
    mesh, which share them, take all tokens at once, so that they communicate once.
    """
    batch, time, width = x.shape
    blocks = -(-time // MOST_TOKENS)
    if blocks == 1 or active_mesh() is not None:
        return layer(x)
    size = -(-time // blocks)
    x = jnp.pad(x, ((0, 0), (0, blocks * size - time), (0, 0)))

    def of_block(start: Array) -> Array:
        return layer(jax.lax.dynamic_slice_in_dim(x, start, size, 1))

    y = jax.lax.map(of_block, jnp.arange(blocks, dtype=jnp.int32) * size)
    return jnp.moveaxis(y, 0, 1).reshape(batch, -1, width)[:, :time]
