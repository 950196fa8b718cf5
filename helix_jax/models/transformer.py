"""The forward pass of every model: embed, the stacked layers (`stack`), head.

    h_0 = embed(tokens);  h_i = block_i(h_{i-1});  logits = head(final_norm(h_L))

Pure functions over a parameter pytree; `spec` says which switches are on.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import jax.numpy as jnp

from helix_jax.models.cache import KeyValueCache, next_positions, reserve
from helix_jax.models.inputs import check_ids, check_inputs
from helix_jax.models.layers import normalise
from helix_jax.models.sharding import constrain
from helix_jax.models.spec import ModelSpec
from helix_jax.models.stack import Stream, run_layers
from helix_jax.models.vocabulary import apply_head, embed
from helix_jax.types import Array


class ModelOutput(NamedTuple):
    """What a forward pass returns.

    Attributes:
      hidden: [n, B, T, D], the requested layers in the requested order.
      logits: [B, T, V] float32, or None.
      cache: the extended cache, or None.
    """

    hidden: Array
    logits: Array | None
    cache: KeyValueCache | None

    @property
    def extended(self) -> KeyValueCache:
        """`cache`, if the pass was given one.

        Raises:
          ValueError: it was not.
        """
        if self.cache is None:
            raise ValueError(
                "ModelOutput: this pass kept no cache; give apply_model one, from "
                "empty_cache."
            )
        return self.cache


def apply_model(
    params: Mapping,
    spec: ModelSpec,
    tokens: Array,
    mask: Array | None = None,
    *,
    layers: Sequence[int] = (-1,),
    final_norm: bool = True,
    logits: bool = False,
    cache: KeyValueCache | None = None,
    token_types: Array | None = None,
) -> ModelOutput:
    """Hidden states of any layers, and logits on request.

    Args:
      params: parameter pytree (`models/params.py`).
      spec: the architecture; static.
      tokens: [B, T] int.
      mask: [B, T] bool or int, nonzero for tokens and zero for padding on either
        side; None for no padding.
      layers: which residual streams; 0 is the embedding, i the output of block i,
        L or -1 the last. Static.
      final_norm: apply the model's final norm to every returned layer (True), or
        return the raw residual stream (False). Logits always use the norm. Static.
      logits: also return logits. Static.
      cache: the tokens before these, which are appended to it; None for none.
      token_types: [B, T] int for models that have them; None means all zero.

    Returns:
      ModelOutput; states at padding are finite but meaningless. While tracing, ids
      cannot be checked: a token, position or token type beyond its table then makes
      every state of its row NaN.

    Raises:
      ValueError: shapes that do not fit, ids that the model does not have, a layer
        that does not exist, logits of a model without a head, a cache for an encoder.
    """
    check_inputs(spec, tokens, mask, logits, cache, token_types)
    wanted = resolve_layers(spec, layers)
    mask = jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)
    check_ids("tokens", tokens, spec.vocab_size, mask)
    check_ids("token_types", token_types, spec.token_types, mask)
    tokens, mask = (constrain(one, "batch", None) for one in (tokens, mask))
    counted = mask
    if spec.uncounted_token is not None:
        counted = mask & (tokens != spec.uncounted_token)
    positions = next_positions(cache, counted)
    if spec.uncounted_token is not None:
        positions = jnp.where(counted, positions, -1)
    if cache is not None and spec.num_positions:
        check_ids("positions", positions, spec.max_tokens, mask)
    h = embed(params, spec, tokens, positions, token_types)
    # Padding may hold any id, and a NaN there would spread.
    h = constrain(jnp.where(mask[..., None], h, 0), "batch", None, None)
    if cache is not None:
        cache = reserve(cache, mask, positions)
    stop = spec.num_layers if logits or cache is not None else max(wanted)
    stream = Stream(h, mask, positions)
    last, hidden, cache = run_layers(
        params, spec, stream, stop=stop, collect=wanted, cache=cache
    )
    if final_norm and spec.final_norm:
        hidden = normalise(params.get("final_norm", {}), hidden, spec)
    scores = apply_head(params, spec, last) if logits else None
    return ModelOutput(hidden, scores, cache)


class Layered(Protocol):
    """Anything with layers: the spec of a native model, or of one that torch runs."""

    @property
    def num_layers(self) -> int:
        """L."""


def resolve_layers(spec: Layered, layers: Sequence[int]) -> tuple[int, ...]:
    """Layer numbers 0..L for a list that may count from the end."""
    count = spec.num_layers
    if not layers or any(not -count - 1 <= layer <= count for layer in layers):
        raise ValueError(
            f"layers must be from {-count - 1} to {count} for a model of {count} "
            f"layers (0 is the embedding, -1 the last), got {tuple(layers)}."
        )
    return tuple(layer % (count + 1) for layer in layers)


def chosen_layers(spec: Layered, layers: Sequence[int]) -> tuple[int, ...]:
    """Like `resolve_layers`; an empty list means all layers 0..L."""
    return resolve_layers(spec, layers or range(spec.num_layers + 1))
