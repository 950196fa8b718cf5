"""Inputs of teacher-forced measures: states of a stitch's arms, and frozen heads."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from helix_jax.activations.token_states import TokenSide
from helix_jax.alignment import StateMap, apply_map, derangement
from helix_jax.generation.stitch import (
    Part,
    Stitch,
    native,
    read_head,
    run_source,
    run_stitch,
)
from helix_jax.models import Model
from helix_jax.types import Array


@struct.dataclass
class Head:
    """The head of a model as a pytree: [..., D] states -> [..., V] float32 logits.

    Attributes:
      parts: a stitch without a map, whose target has the head.
    """

    parts: Stitch

    def __call__(self, states: Array) -> Array:
        states = states.astype(self.parts.target.params["embed"].dtype)
        return read_head(self.parts, states)


@struct.dataclass
class ArmStates:
    """The states of one stitch under several maps, for `TokenSide`.

    Attributes:
      parts: cuts and models.
      maps: A maps; None: source and target are one model.
    """

    parts: Stitch
    maps: tuple[StateMap | None, ...]

    def __call__(self, tokens: Array, mask: Array) -> Array:
        parts, maps = self.parts, self.maps
        source, target = parts.source, parts.target
        given = [map for map in maps if map is not None]
        if given and target.layer == target.spec.num_layers:
            # The maps give what the head reads: the source runs once for all maps.
            h, _ = run_source(source, None, tokens, mask)
            arms = [apply_map(map, h) for map in given]
        else:
            each = (dataclasses.replace(parts, map=map) for map in maps)
            arms = [run_stitch(own, tokens, mask)[0] for own in each]
        return jnp.stack(arms).astype(jnp.float32)


def head_of(target: Part) -> Head:
    """The head of a stitch's target, on the states that `run_stitch` gives."""
    # Only what the head reads, so that no other parameters are carried along.
    names = ("embed", "embed_out", "final_norm", "head", "head_transform", "head_norm")
    params = {name: target.params[name] for name in names if name in target.params}
    layer = target.spec.num_layers
    part = dataclasses.replace(target, params=params, layer=layer)
    return Head(Stitch(part, part, None))


@struct.dataclass
class PermutedHead:
    """A head whose logits are permuted over the vocabulary by order [V] int."""

    head: Head
    order: Array

    def __call__(self, states: Array) -> Array:
        return self.head(states)[..., self.order]


def permuted_head(head: Head, key: Array) -> PermutedHead:
    """A control: the head with its output vectors assigned to tokens at random."""
    return PermutedHead(head, derangement(key, head.parts.target.spec.vocab_size))


def native_side(model: Model, tokenizer: Any) -> TokenSide:
    """A model's last states, before the final norm, as its `native` head reads them."""
    return TokenSide(ArmStates(native(model), (None,)), tokenizer, model.spec)


def arm_side(
    parts: Stitch, maps: tuple[StateMap, ...], source_tokenizer: Any
) -> TokenSide:
    """The states of a stitch under some maps at every source token."""
    maps = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), maps)
    return TokenSide(ArmStates(parts, maps), source_tokenizer, parts.source.spec)
