"""Teacher-forced measures: the mapped head against the target's own, token by token.

Both models read the same true text; wherever a token of the source and one of the
target end at the same character, both heads predict the next token:

    agreement_top1   the mapped head's first choice is the target's
    agreement_top5   the target's first choice is among the mapped head's first five
    kl_nats          KL(target || mapped)
    perplexity       exp of the mean -log p(the target's true next token)
    bits_per_character   the same sum in bits, divided by the characters of these tokens

Perplexity is per token of the target, and over the same tokens for the mapped and the
native head; that of the source alone is per token of the source, so that between two
tokenizers only bits per character are comparable. Tokens that do not end at the same
character are left out, because there the source has already read what is to be
predicted.

Memory holds one block of logits and some sums for each document.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, numeric
from helix_jax.activations.token_pairs import TokenBlock, TokenPairs
from helix_jax.alignment import StateMap, kl_of_logits
from helix_jax.errors import CorpusError
from helix_jax.generation.heads import (
    Head,
    arm_side,
    head_of,
    native_side,
    permuted_head,
)
from helix_jax.generation.stitch import Stitch, native
from helix_jax.models import Model
from helix_jax.text.hashing import document_of
from helix_jax.types import Array, Text

ENTRIES_AT_ONCE = 2**23
"""Logits of one head that are held at once."""
BUCKETS = 20
"""Positions are grouped by octave: 0, 1-2, 3-6, 7-14, ..."""
COLUMNS = ("kl_nats", "agreement_top1", "agreement_top5", "nll_nats", "native_nats")


class DocumentSums(NamedTuple):
    """Sums over the tokens of each document.

    Attributes:
      documents: G names.
      arms: A names.
      values: [G, BUCKETS, A, len(COLUMNS)].
      tokens: [G, BUCKETS] predicted tokens.
      characters: [G, BUCKETS] characters of those tokens.
    """

    documents: list[str]
    arms: tuple[str, ...]
    values: np.ndarray
    tokens: np.ndarray
    characters: np.ndarray


def teacher_forced(
    parts: Stitch,
    target: Model,
    source_tokenizer: Any,
    target_tokenizer: Any,
    texts: Callable[[], Iterable[Text]],
    *,
    controls: Mapping[str, StateMap] | None = None,
    key: Array,
    max_tokens: int = 512,
    one_shape: bool = False,
) -> DocumentSums:
    """Score a stitch and its controls on texts, against the target itself.

    Args:
      parts: the stitch, with its map: the arm "mapped".
      target: the whole model that its head belongs to.
      source_tokenizer, target_tokenizer: of the two models.
      texts: returns the held-out texts.
      controls: arm -> another map between the same layers.
      key: jax.random key of the control "random_head", which reads the mapped states
        with its output vectors assigned to other tokens.
      max_tokens: longer texts are truncated.
      one_shape: as for `TokenPairs`, where many stitches are scored on few texts.

    Returns:
      DocumentSums, for `generation_scores`.

    Raises:
      CorpusError: no two tokens end at the same place, or none has a next token.
    """
    maps = {"mapped": parts.map, **(controls or {})}
    head, own_head = head_of(parts.target), head_of(native(target).target)
    heads = (head,) * len(maps) + (permuted_head(head, key),)
    arms = (*maps, "random_head")
    rows = max(1, ENTRIES_AT_ONCE // target.spec.vocab_size)
    pairs = TokenPairs(
        arm_side(parts, tuple(maps.values()), source_tokenizer),
        native_side(target, target_tokenizer),
        texts,
        max_tokens=max_tokens,
        block_rows=rows,
        one_shape=one_shape,
        exact=True,
    )

    def score(block: TokenBlock) -> np.ndarray:
        x = np.concatenate([block.x, block.x[:1]])
        return np.asarray(_score(heads, own_head, x, block.y[0], block.next_y))

    return _sums(pairs, arms, score, rows)


def native_sums(
    model: Model,
    tokenizer: Any,
    texts: Callable[[], Iterable[Text]],
    *,
    max_tokens: int = 512,
) -> DocumentSums:
    """A model's -log p of its own tokens; COLUMNS that compare two models are zero."""
    side, head = native_side(model, tokenizer), head_of(native(model).target)
    rows = max(1, ENTRIES_AT_ONCE // model.spec.vocab_size)
    pairs = TokenPairs(side, side, texts, max_tokens=max_tokens, block_rows=rows)

    def score(block: TokenBlock) -> np.ndarray:
        nats = np.asarray(_own_nats(head, block.x[0], block.next_x))
        zero = np.zeros_like(nats)
        return np.stack([zero, zero, zero, nats, nats], axis=-1)[None]

    return _sums(pairs, ("native",), score, rows)


@jax.jit
def _score(
    heads: tuple[Head, ...], own_head: Head, x: Array, y: Array, following: Array
) -> Array:
    """[A, N, len(COLUMNS)] of states x [A, N, dy], y [N, dy], next tokens [N]."""
    target_logits = own_head(y)
    own_nats, first = (
        negative_log_p(target_logits, following),
        jnp.argmax(target_logits, axis=-1),
    )

    def arm(head: Head, states: Array) -> Array:
        logits = head(states)
        asked = jnp.take_along_axis(logits, first[:, None], axis=-1)
        above = jnp.sum(logits > asked, axis=-1)  # much faster than a top-k on CPUs
        columns = (
            kl_of_logits(target_logits, logits),
            jnp.argmax(logits, axis=-1) == first,
            above < 5,
            negative_log_p(logits, following),
            own_nats,
        )
        return jnp.stack([column.astype(jnp.float32) for column in columns], axis=-1)

    # One arm after another: only one block of logits is held besides the target's.
    arms, done = [], target_logits
    for head, states in zip(heads, x):
        states, done = jax.lax.optimization_barrier((states, done))
        arms.append(arm(head, states))
        done = arms[-1]
    return jnp.stack(arms)


@jax.jit
def _own_nats(head: Head, states: Array, following: Array) -> Array:
    return negative_log_p(head(states), following)


def negative_log_p(logits: Array, tokens: Array) -> Array:
    """-log softmax(logits)[token] in nats: [N, V] and [N] int (-1: any) -> [N].

    In float32 at least; a token outside the vocabulary gives NaN.
    """
    logits = jnp.asarray(numeric.numbers("negative_log_p", "logits", logits, rank=2))
    checks.require_shape("negative_log_p", "tokens", tokens, logits.shape[:1])
    rows = jnp.maximum(tokens, 0)[:, None]
    found = jnp.take_along_axis(
        jax.nn.log_softmax(logits), rows, axis=-1, mode="fill", fill_value=jnp.nan
    )
    return -found[:, 0]


def _sums(
    pairs: TokenPairs,
    arms: tuple[str, ...],
    score: Callable[[TokenBlock], np.ndarray],
    rows: int,
) -> DocumentSums:
    """Scores [A, N, K] of every block, summed by document and octave of position."""
    places: dict[str, int] = {}
    shape = (BUCKETS, len(arms) * len(COLUMNS) + 2)
    sums: list[np.ndarray] = []
    for block in pairs:
        known = block.next_y >= 0
        values = score(padded_block(block, rows))[:, : len(known)]
        values = np.moveaxis(values, 0, 1).reshape(len(known), -1)
        characters = block.next_end_y - block.end_y
        ones = np.ones_like(characters)
        columns = np.column_stack([values, ones, characters]).astype(np.float64)
        bucket = np.log2(block.position_y + 1).astype(int).clip(max=BUCKETS - 1)
        names = [document_of(text_id) for text_id in block.text_ids]
        rows_of = np.array([places.setdefault(name, len(places)) for name in names])
        sums += [np.zeros(shape) for _ in range(len(places) - len(sums))]
        first = rows_of.min()
        part = np.zeros((rows_of.max() - first + 1, *shape))
        np.add.at(part, (rows_of[known] - first, bucket[known]), columns[known])
        for number, of_document in enumerate(part, start=first):
            sums[number] += of_document
    total = np.array(sums)
    if not sums or not total[..., -2].sum():
        raise CorpusError(
            "no token of the two tokenizations ends at the same character with another "
            "after it; use longer texts."
        )
    values = total[..., :-2].reshape(*total.shape[:2], len(arms), len(COLUMNS))
    return DocumentSums(list(places), arms, values, total[..., -2], total[..., -1])


def padded_block(block: TokenBlock, rows: int) -> TokenBlock:
    """The block padded to `rows` rows, so that nothing is compiled again."""
    short = rows - len(block.next_y)

    def pad(column: np.ndarray) -> np.ndarray:
        if column.dtype == object:
            return column
        axes = [(0, 0)] * column.ndim
        axes[1 if column.ndim == 3 else 0] = (0, short)
        return np.pad(column, axes)

    return TokenBlock(*map(pad, block)) if short else block
