"""A model's next-token predictions while its states are changed at a layer.

At some places of some texts, for each of A edits of the residual stream:

    log_odds   log sum_{class's tokens} p - log sum_{rest's tokens} p
    nats       -log p of the token that follows

The texts are read teacher-forced. Blocks below the layer are computed once for all
edits.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import StateMap, apply_map
from helix_jax.errors import CorpusError
from helix_jax.generation.heads import Head, head_of
from helix_jax.generation.metrics import negative_log_p
from helix_jax.generation.stitch import Stitch, run_source, run_target
from helix_jax.models import Model
from helix_jax.monitors.class_tokens import ClassTokens
from helix_jax.monitors.steering import edited
from helix_jax.types import Array

ROWS_AT_ONCE = 16
STEP = 16  # lengths are padded to multiples of it, where they differ


class Passages(NamedTuple):
    """Texts as tokens, and the places whose next tokens are predicted.

    Attributes:
      ids: G texts, special tokens in front included.
      places: [G, P] int, tokens whose next token is predicted.
      following: [G, P] int, the token that follows; -1 for none.
    """

    ids: Sequence[Sequence[int]]
    places: np.ndarray
    following: np.ndarray


class Readings(NamedTuple):
    """Of A edits on G texts at P places each; see the top of this file.

    Attributes:
      log_odds: [A, G, P] float32.
      nats: [A, G, P] float32; meaningless where no token follows.
    """

    log_odds: np.ndarray
    nats: np.ndarray


def cut_passages(
    ids: Sequence[Sequence[int]], *, tokens: int, places: int
) -> tuple[Passages, np.ndarray]:
    """Passages of equal length, read at places that are spread over their later half.

    Args:
      ids: token ids of texts; shorter ones than tokens + 1 are left out.
      tokens: T of each passage.
      places: P; the last is the passage's end.

    Returns:
      Passages, and [G] int, the text that each is from.

    Raises:
      CorpusError: fewer than two texts are long enough.
    """
    kept = np.array([len(own) > tokens for own in ids], bool)
    if kept.sum() < 2:
        raise CorpusError(
            f"{int(kept.sum())} of {len(ids)} texts have more than {tokens} tokens, 2 "
            "are needed; use longer texts, or shorter passages."
        )
    asked = np.unique(np.linspace(tokens // 2, tokens - 1, places).astype(int))
    long = [list(own) for own, held in zip(ids, kept) if held]
    following = np.array([[own[place + 1] for place in asked] for own in long])
    spread = np.tile(asked, (len(long), 1))
    passages = Passages([own[:tokens] for own in long], spread, following)
    return passages, np.flatnonzero(kept)


def at_ends(ids: Sequence[Sequence[int]]) -> Passages:
    """Whole texts, read at their last token, which no token follows."""
    ends = np.array([[len(own) - 1] for own in ids])
    return Passages(ids, ends, np.full_like(ends, -1))


def read_edits(
    model: Model,
    layer: int,
    edits: Sequence[StateMap],
    passages: Passages,
    tokens: ClassTokens,
) -> Readings:
    """A model's next-token predictions under each of some edits.

    Args:
      model: a decoder with a head.
      layer: where its states are changed.
      edits: A maps of one kind and size, from its states to its states.
      passages: G texts.
      tokens: the tokens of the class and of the rest, for the log-odds.

    Returns:
      Readings.

    Raises:
      ValueError: as `steering.edited`, or no edits.
    """
    if not edits:
        raise ValueError("read_edits: needs one edit or more, got none.")
    parts = edited(model, layer, edits[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *edits)
    reader = functools.partial(
        _read,
        Stitch(parts.source, parts.target, None),
        head_of(parts.target),
        stacked,
        ClassTokens(*map(jnp.asarray, tokens)),
    )
    shape = len(edits), *passages.places.shape
    log_odds, nats = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    order = np.argsort([len(own) for own in passages.ids], kind="stable")
    step = 1 if len({len(own) for own in passages.ids}) == 1 else STEP
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        # The last batch is padded, so that nothing is compiled for it.
        filled = np.resize(rows, ROWS_AT_ONCE)
        own = [passages.ids[row] for row in filled.tolist()]
        lengths = np.array([len(one) for one in own])
        padded = np.zeros((ROWS_AT_ONCE, -(-lengths.max() // step) * step), np.int32)
        for place, one in enumerate(own):
            padded[place, : len(one)] = one
        found = reader(
            padded, lengths, passages.places[filled], passages.following[filled]
        )
        for whole, part in zip((log_odds, nats), found):
            whole[:, rows] = np.asarray(part)[:, : len(rows)]
    return Readings(log_odds, nats)


@jax.jit
def _read(
    parts: Stitch,
    head: Head,
    edits: StateMap,
    words: ClassTokens,
    tokens: Array,
    lengths: Array,
    places: Array,
    following: Array,
) -> tuple[Array, Array]:
    """Log-odds and nats [A, B, P] of A stacked edits on tokens [B, T]."""
    mask = jnp.arange(tokens.shape[1])[None, :] < lengths[:, None]
    below, _ = run_source(parts.source, None, tokens, mask)

    def read(edit: StateMap) -> tuple[Array, Array]:
        h, _ = run_target(parts.target, apply_map(edit, below), mask)
        asked = jnp.take_along_axis(h, places[..., None], axis=1)
        logits = head(asked.reshape(-1, asked.shape[-1]))
        odds = [jax.nn.logsumexp(logits[:, side], axis=-1) for side in words]
        nats = negative_log_p(logits, following.reshape(-1))
        return tuple(one.reshape(places.shape) for one in (odds[0] - odds[1], nats))

    return jax.lax.map(read, edits)
