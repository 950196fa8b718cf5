"""States of every token of some texts, from a model or whatever else reads tokens."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax.activations.batching import length_ladder, plan_batches
from helix_jax.activations.gather import Forward, gather_states
from helix_jax.errors import CorpusError
from helix_jax.models import Model, ModelSpec, apply_model, resolve_layers
from helix_jax.models.mesh import batch_parts
from helix_jax.models.sharding import mesh_of, on_mesh
from helix_jax.models.torch_engine import (
    TorchModel,
    TorchSpec,
    require_vectors,
    torch_states,
)
from helix_jax.text.tokens import Encoded
from helix_jax.types import Array, Text


@struct.dataclass
class LayerStates:
    """States of some layers of a model, for `TokenSide`."""

    params: Any
    spec: ModelSpec = struct.field(pytree_node=False)
    layers: tuple[int, ...] = struct.field(pytree_node=False)
    normed: bool = struct.field(pytree_node=False)

    def __call__(self, tokens: Array, mask: Array) -> Array:
        return apply_model(
            self.params,
            self.spec,
            tokens,
            mask,
            layers=self.layers,
            final_norm=self.normed,
        ).hidden.astype(jnp.float32)


class TorchLayers(NamedTuple):
    """`LayerStates` of a model run by torch, called with lengths, not a mask."""

    model: TorchModel
    layers: tuple[int, ...]
    normed: bool

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return torch_states(
            self.model, tokens, lengths, layers=self.layers, final_norm=self.normed
        )


class TokenSide(NamedTuple):
    """One side of the pairs.

    Attributes:
      states: pytree that maps tokens [B, T] int and mask [B, T] bool to [n, B, T, D]
        float, n states of each token; or TorchLayers.
      tokenizer: of the model.
      spec: of the model, for its context and vocabulary.
    """

    states: Callable[[Array, Array], Array] | TorchLayers
    tokenizer: Any
    spec: ModelSpec | TorchSpec


def layer_side(
    model: Model | TorchModel,
    tokenizer: Any,
    *,
    layers: Sequence[int] = (-1,),
    normed: bool = True,
) -> TokenSide:
    """A side that gives residual streams, after the model's final norm if `normed`."""
    layers = resolve_layers(model.spec, layers)
    if isinstance(model, TorchModel):
        require_vectors(model, layers)
        by_torch = TorchLayers(model, layers, normed)
        return TokenSide(by_torch, tokenizer, model.spec)
    states = LayerStates(model.params, model.spec, layers, normed)
    return TokenSide(states, tokenizer, model.spec)


def token_states(
    states: Callable[[Array, Array], Array] | TorchLayers,
    ids: Sequence[Sequence[int]],
    token_budget: int,
    *,
    one_shape: bool = False,
) -> np.ndarray:
    """States of every token of some texts, in order.

    Args:
      states: as in `TokenSide`.
      ids: tokens of each text, at least one.
      token_budget: tokens per forward pass, padding included.
      one_shape: pad all texts to one length, which compiles less and computes more.

    Returns:
      [n, tokens, D] float32.
    """
    lengths = np.array([len(own) for own in ids])
    longest = -(-int(lengths.max()) // 64) * 64
    few = int(lengths.sum()) < 2 * token_budget  # padding costs less than compiling
    shortest = longest if one_shape or few else 8
    ladder = length_ladder(longest, shortest=shortest, growth=1.6)
    mesh = None if isinstance(states, TorchLayers) else mesh_of(states)
    batches = plan_batches(
        lengths, ladder=ladder, token_budget=token_budget, multiple=batch_parts(mesh)
    )
    with on_mesh(mesh):
        by_torch = isinstance(states, TorchLayers)
        forward: Forward = states if by_torch else partial(_run, states)
        return gather_states(forward, ids, batches, token_rows=True)


@jax.jit
def _run(
    states: Callable[[Array, Array], Array], tokens: Array, lengths: Array
) -> Array:
    mask = jnp.arange(tokens.shape[1])[None, :] < lengths[:, None]
    return states(tokens, mask).astype(jnp.float32)


def require_embedded(side: TokenSide, texts: list[Text], encoded: Encoded) -> None:
    """Raise CorpusError for a token outside the embedding of a side."""
    for text, ids in zip(texts, encoded.ids):
        if max(ids, default=0) >= side.spec.vocab_size:
            raise CorpusError(
                f"the text {text.id!r} holds token {max(ids)} of a model that embeds "
                f"{side.spec.vocab_size}. Remove it from the text."
            )
