"""States of every token of some texts, by a model or anything that reads tokens."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax.activations.batching import length_ladder, pad_batch, plan_batches
from helix_jax.activations.tokens import Encoded
from helix_jax.errors import CorpusError
from helix_jax.models import Model, ModelSpec, apply_model, resolve_layers
from helix_jax.types import Array, Text


class TokenSide(NamedTuple):
    """One side of the pairs.

    Attributes:
      states: pytree that is called with tokens [B, T] int and mask [B, T] bool and
        gives [n, B, T, D] float, n states of each token.
      tokenizer: of the model.
      spec: of the model; gives context and vocabulary.
    """

    states: Callable[[Array, Array], Array]
    tokenizer: Any
    spec: ModelSpec


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


def layer_side(
    model: Model, tokenizer: Any, *, layers: Sequence[int] = (-1,), normed: bool = True
) -> TokenSide:
    """A side that gives residual streams, after the model's final norm if `normed`."""
    layers = resolve_layers(model.spec, layers)
    states = LayerStates(model.params, model.spec, layers, normed)
    return TokenSide(states, tokenizer, model.spec)


def token_states(
    states: Callable[[Array, Array], Array],
    ids: Sequence[Sequence[int]],
    token_budget: int,
    *,
    one_shape: bool = False,
) -> np.ndarray:
    """States of every token of some texts, in order.

    Args:
      states: as in `TokenSide`.
      ids: tokens of each text, at least one.
      token_budget: tokens a forward pass, padding included.
      one_shape: pad all texts to one length: less to compile, more to compute.

    Returns:
      [n, tokens, D] float32.
    """
    lengths = np.array([len(own) for own in ids])
    starts, found = text_starts(ids), None
    longest = -(-int(lengths.max()) // 64) * 64
    few = int(lengths.sum()) < 2 * token_budget  # padding costs less than compiling
    shortest = longest if one_shape or few else 8
    ladder = length_ladder(longest, shortest=shortest, growth=1.6)
    batches = plan_batches(lengths, ladder=ladder, token_budget=token_budget)
    running = []
    for batch in batches:
        tokens, valid = pad_batch(ids, batch)
        mask = np.arange(batch.length)[None, :] < valid[:, None]
        running.append((batch, _run(states, tokens, mask)))
    for batch, result in running:
        result = np.asarray(result)
        if found is None:
            shape = (result.shape[0], int(lengths.sum()), result.shape[-1])
            found = np.empty(shape, np.float32)
        for place, row in enumerate(batch.rows):
            first, length = starts[row], lengths[row]
            found[:, first : first + length] = result[:, place, :length]
    return found


@jax.jit
def _run(states: Callable[[Array, Array], Array], tokens: Array, mask: Array) -> Array:
    return states(tokens, mask)


def text_starts(ids: Sequence[Sequence[int]]) -> np.ndarray:
    """[texts + 1] int64, the first token of each text in all of them."""
    return np.concatenate([[0], np.cumsum([len(own) for own in ids])]).astype(np.int64)


def require_embedded(side: TokenSide, texts: list[Text], encoded: Encoded) -> None:
    """Raise CorpusError for a token beyond the embedding of a side."""
    for text, ids in zip(texts, encoded.ids):
        if max(ids, default=0) >= side.spec.vocab_size:
            raise CorpusError(
                f"the text {text.id!r} holds token {max(ids)} of a model that embeds "
                f"{side.spec.vocab_size}. Remove it from the text."
            )
