"""Two models stitched together: a source's blocks, a map, a target's blocks and head.

    h = source blocks 1..i (tokens);  z = map(h);  logits = head(target blocks j+1..(z))

The paper takes i and j at the last layers. With one model and no map the stitch is that
model itself, so that native and hybrid text come from the same code.

Reference: arXiv 2603.18908, section on generation; middle layers: Bansal et al. 2021
  (model stitching), arXiv 2106.07682.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, overload

import jax.numpy as jnp
from flax import struct

from helix_jax import checks, kinds
from helix_jax.alignment import apply_map
from helix_jax.arguments import takes
from helix_jax.models import (
    KeyValueCache,
    Model,
    ModelSpec,
    Stream,
    apply_head,
    embed,
    empty_cache,
    project_to_vocabulary,
    resolve_layers,
    run_layers,
)
from helix_jax.models.cache import next_positions, reserve
from helix_jax.models.layers import normalise
from helix_jax.types import Array


@struct.dataclass
class Part:
    """One side of a stitch.

    Attributes:
      params: of the whole model.
      spec: its architecture.
      layer: where the stitch cuts its residual stream, 0..L.
      normed: whether the cut is after the final norm.
    """

    params: Mapping
    spec: ModelSpec = struct.field(pytree_node=False)
    layer: int = struct.field(pytree_node=False)
    normed: bool = struct.field(pytree_node=False)


@struct.dataclass
class Stitch:
    """A source up to its cut, a map, and a target after its cut; a pytree.

    Attributes:
      source: its blocks 1..layer are run.
      target: its blocks layer+1..L and its head are run.
      map: as for `apply_map`; None: both sides are one model.
    """

    source: Part
    target: Part
    map: Any


class StitchCache(NamedTuple):
    """Key-value caches of both sides; None for a target that runs no block."""

    source: KeyValueCache
    target: KeyValueCache | None


@takes(source=kinds.MODEL, target=kinds.MODEL, map=kinds.MAP.or_none())
def stitch(
    source: Model,
    target: Model,
    map: Any,
    *,
    source_layer: int = -1,
    target_layer: int = -1,
    source_norm: bool = True,
    target_norm: bool = True,
) -> Stitch:
    """Join the source's blocks, a map, and the target's remaining blocks and head.

    Args:
      source: decoder that reads the text.
      target: decoder whose head predicts the next token.
      map: from the source's cut [dx] to the target's [dy].
      source_layer, target_layer: where each is cut; 0 is the embedding, -1 the last.
      source_norm: the map takes states after the source's final norm.
      target_norm: the map gives states after the target's final norm; only the last
        layer has one.

    Raises:
      ValueError: a model is an encoder, the target has no head, a layer does not exist,
        or widths do not match.
    """
    parts = []
    for side, model, layer, normed in (
        ("source", source, source_layer, source_norm),
        ("target", target, target_layer, target_norm),
    ):
        spec = model.spec
        if not spec.causal:
            raise ValueError(
                f"stitch: the {side} is a {spec.family} encoder; generation needs a "
                "decoder that reads from left to right."
            )
        (layer,) = resolve_layers(spec, (layer,))
        parts.append(Part(model.params, spec, layer, normed and spec.final_norm))
    source_part, target_part = parts
    spec = target_part.spec
    if spec.head is None:
        raise ValueError(f"stitch: the target {spec.family} has no output head.")
    if target_part.normed and target_part.layer < spec.num_layers:
        raise ValueError(
            f"stitch: layer {target_part.layer} of {spec.num_layers} enters the target "
            "before its blocks, so the map must give the raw stream there: fit it with "
            "target_norm=False."
        )
    if map is None:
        if source.params is not target.params or source_part != target_part:
            raise ValueError("stitch: two models, or two cuts, need a map.")
        return Stitch(source_part, target_part, None)
    wide = jnp.zeros((1, source_part.spec.width))
    mapped = apply_map(map, wide)
    checks.require_width("stitch", "the map's output", mapped.shape[-1], spec.width)
    return Stitch(source_part, target_part, map)


@takes(model=kinds.MODEL)
def native(model: Model) -> Stitch:
    """A model with its own head.

    Raises:
      ValueError: the model is an encoder, or has no head.
    """
    return stitch(model, model, None, source_norm=False, target_norm=False)


def empty_stitch_cache(parts: Stitch, batch: int, slots: int) -> StitchCache:
    """Caches with room for `slots` tokens in each of B rows, in the models' dtypes."""

    def cache(part: Part) -> KeyValueCache:
        return empty_cache(part.spec, batch, slots, part.params["embed"].dtype)

    runs = parts.target.layer < parts.target.spec.num_layers
    return StitchCache(cache(parts.source), cache(parts.target) if runs else None)


@overload
def run_stitch(
    parts: Stitch, tokens: Array, mask: Array | None, cache: StitchCache
) -> tuple[Array, StitchCache]: ...


@overload
def run_stitch(
    parts: Stitch, tokens: Array, mask: Array | None = None
) -> tuple[Array, None]: ...


def run_stitch(
    parts: Stitch,
    tokens: Array,
    mask: Array | None = None,
    cache: StitchCache | None = None,
) -> tuple[Array, StitchCache | None]:
    """The states that the target's head reads, at each token of the source.

    Args:
      parts: the stitch.
      tokens: [B, T] int, of the source's tokenizer.
      mask: [B, T] bool, False for padding on either side; None: no padding.
      cache: of the tokens before, which these are appended to.

    Returns:
      [B, T, dy] for `read_head`, and the extended cache.
    """
    own, other = (None, None) if cache is None else cache
    mask = jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)
    h, grown = run_source(parts.source, parts.map, tokens, mask, own)
    positions = next_positions(own, mask)
    h, later = run_target(parts.target, h, mask, positions, other)
    return h, None if grown is None else StitchCache(grown, later)


@overload
def run_source(
    source: Part, map: Any, tokens: Array, mask: Array, cache: KeyValueCache
) -> tuple[Array, KeyValueCache]: ...


@overload
def run_source(
    source: Part, map: Any, tokens: Array, mask: Array, cache: None = None
) -> tuple[Array, None]: ...


def run_source(
    source: Part,
    map: Any,
    tokens: Array,
    mask: Array,
    cache: KeyValueCache | None = None,
) -> tuple[Array, KeyValueCache | None]:
    """The source's half of a stitch, which needs nothing from the target.

    Args:
      source: the part that reads the text.
      map: to the target's cut, or None for the source's own states.
      tokens: [B, T] int.
      mask: [B, T] bool.
      cache: what came before.

    Returns:
      [B, T, dy] mapped states, and the extended cache.
    """
    positions = next_positions(cache, mask)
    h = embed(source.params, source.spec, tokens, positions)
    h, cache = _run(source, Stream(h, mask, positions), 0, source.layer, cache)
    if source.normed:
        h = normalise(source.params.get("final_norm", {}), h, source.spec)
    return h if map is None else apply_map(map, h), cache


def run_target(
    target: Part,
    h: Array,
    mask: Array,
    positions: Array | None = None,
    cache: KeyValueCache | None = None,
) -> tuple[Array, KeyValueCache | None]:
    """The target's half of a stitch, which needs nothing from the source.

    Args:
      target: the part that continues.
      h: [B, T, dy] states at its cut.
      mask: [B, T] bool.
      positions: [B, T] int, of the tokens; None: these are the first.
      cache: what came before.

    Returns:
      [B, T, dy] for `read_head`, and the extended cache.
    """
    h = h.astype(target.params["embed"].dtype)
    start, stop = target.layer, target.spec.num_layers
    if start == stop:
        return h, cache
    positions = next_positions(None, mask) if positions is None else positions
    return _run(target, Stream(h, mask, positions), start, stop, cache)


def read_head(parts: Stitch, states: Array) -> Array:
    """Logits [..., V] float32 of the target's vocabulary, from [..., dy] states."""
    target = parts.target
    head = project_to_vocabulary if target.normed else apply_head
    return head(target.params, target.spec, states)


def _run(
    part: Part,
    stream: Stream,
    start: int,
    stop: int | None,
    cache: KeyValueCache | None,
) -> tuple[Array, KeyValueCache | None]:
    if cache is not None:
        cache = reserve(cache, stream.mask, stream.positions)
    output = run_layers(
        part.params, part.spec, stream, start=start, stop=stop, cache=cache
    )
    return output.h, output.cache
