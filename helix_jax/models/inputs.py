"""Checks the arguments of `apply_model` before anything is computed."""

import jax.numpy as jnp
import numpy as np

from helix_jax.checks import is_concrete
from helix_jax.models.cache import KeyValueCache
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array


def check_inputs(
    spec: ModelSpec,
    tokens: Array,
    mask: Array | None,
    logits: bool,
    cache: KeyValueCache | None,
    token_types: Array | None,
) -> None:
    """Refuse arguments of `apply_model` that do not fit each other or the model.

    Raises:
      ValueError: not arrays, wrong shapes or dtypes, mask values other than 0 and 1,
        options that the model does not have.
    """
    _check_integers("tokens", tokens)
    if tokens.size == 0:
        raise ValueError(
            f"tokens must be at least one row of one token, got {list(tokens.shape)}; "
            "leave empty batches out."
        )
    if mask is not None and np.shape(mask) != tokens.shape:
        raise ValueError(
            f"mask must have the shape of tokens {list(tokens.shape)}, got "
            f"{list(np.shape(mask))}."
        )
    _check_mask(mask)
    if token_types is not None:
        _check_integers("token_types", token_types)
    if spec.num_positions and tokens.shape[1] > spec.max_tokens:
        raise ValueError(
            f"{spec.family} has {spec.max_tokens} learned positions, got "
            f"{tokens.shape[1]} tokens; truncate the text."
        )
    if token_types is not None and not spec.token_types:
        raise ValueError(f"{spec.family} has no token types; leave token_types out.")
    if token_types is not None and token_types.shape != tokens.shape:
        raise ValueError(
            f"token_types must have the shape of tokens {list(tokens.shape)}, got "
            f"{list(token_types.shape)}."
        )
    if logits and spec.head is None:
        raise ValueError(f"this {spec.family} checkpoint has no output head.")
    if cache is not None and not spec.causal:
        raise ValueError(f"{spec.family} is an encoder; it has no use for a cache.")


def check_ids(name: str, ids: Array | None, count: int, mask: Array) -> None:
    """Refuse ids outside their table of `count` rows, if they are concrete."""
    if ids is None or not is_concrete(ids, mask):
        return
    wrong = np.asarray(mask) & ~((np.asarray(ids) >= 0) & (np.asarray(ids) < count))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} must be from 0 to {count - 1} for this model, got "
            f"{int(np.asarray(ids)[row, column])} in row {row}, column {column}"
            f"{'; is the tokenizer from another model?' if name == 'tokens' else '.'}"
        )


def _check_integers(name: str, array: Array) -> None:
    if not hasattr(array, "dtype"):
        raise ValueError(
            f"{name} must be a [B, T] array of integers, got {type(array).__name__}; "
            "make one with jnp.asarray."
        )
    if array.ndim != 2 or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(
            f"{name} must be [B, T] integers, got {array.dtype}{list(array.shape)}."
        )


def _check_mask(mask: Array | None) -> None:
    if mask is None:
        return
    if not hasattr(mask, "dtype"):
        raise ValueError(
            f"mask must be a [B, T] array, got {type(mask).__name__}; make one with "
            "jnp.asarray."
        )
    whole = not jnp.issubdtype(mask.dtype, jnp.floating)
    if not whole and is_concrete(mask) and not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"mask must be 1 for tokens and 0 for padding, got {mask.dtype} with other "
            "values; a bias that is added to scores is not a mask."
        )
