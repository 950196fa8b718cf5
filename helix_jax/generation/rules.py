"""The source tokens fed for target tokens, in the device's form."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax.types import Array


class Merges(NamedTuple):
    """Pairs of source tokens that are read as one, in a hash table of S x 4 places.

    Attributes:
      left, right: [S, 4] int32, the pair; -1 where there is none.
      whole: [S, 4] int32, the one token.
    """

    left: Array
    right: Array
    whole: Array


class Lessons(NamedTuple):
    """K better guesses, each for a target token after a certain source token.

    Attributes:
      last: [K] int32, the source token; -1 where there is no lesson.
      token: [K] int32, the target token.
      back: [K] int32, number of source tokens that are taken back.
      ids: [K, M] int32, source tokens that are fed then.
      lengths: [K] int32, their number.
    """

    last: Array
    token: Array
    back: Array
    ids: Array
    lengths: Array


@struct.dataclass
class Rules:
    """What a block needs to know about the target's vocabulary.

    Attributes:
      guesses: [V, M] int32, source tokens that are fed for each target token.
      lengths: [V] int32, their number; 0: the host must decide.
      stops: [V] bool, tokens that end a row.
      suppressed: [V] bool, tokens that are never chosen.
      merges: what the token before a guess and its first token are read as.
      lessons: guesses that override all others.
    """

    guesses: Array
    lengths: Array
    stops: Array
    suppressed: Array
    merges: Merges
    lessons: Lessons


class Guess(NamedTuple):
    """[B, M] source tokens, their number [B], and the last of them [B]."""

    ids: Array
    length: Array
    last: Array


def guess_of(rules: Rules, last: Array, token: Array) -> tuple[Guess, Array]:
    """What to feed for `token` after `last`, and how much to take back; all [B]."""
    ids, length, back = rules.guesses[token], rules.lengths[token], 0 * token
    if rules.merges.left.size:
        merged = find_merge(rules.merges, last, ids[:, 0])
        merges = (merged >= 0) & (length > 0)
        ids = ids.at[:, 0].set(jnp.where(merges, merged, ids[:, 0]))
        back = merges.astype(back.dtype)
    lessons = rules.lessons
    if lessons.last.size:
        fits = (lessons.last == last[:, None]) & (lessons.token == token[:, None])
        size = lessons.last.size
        which = jnp.min(jnp.where(fits, jnp.arange(size), size), axis=1)
        known = which < size
        ids = rowwise(known, lessons.ids[which], ids)
        length = jnp.where(known, lessons.lengths[which], length)
        back = jnp.where(known, lessons.back[which], back)
    end = jnp.take_along_axis(ids, jnp.maximum(length - 1, 0)[:, None], axis=1)
    return Guess(ids, length, end[:, 0]), back


def find_merge(merges: Merges, left: Array, right: Array) -> Array:
    """The token that each pair is read as, -1 if it is not one; all [B] int32."""
    places = hash_pair(left, right) & np.uint32(len(merges.left) - 1)
    fits = merges.left[places] == left[:, None]
    fits &= merges.right[places] == right[:, None]
    return jnp.max(jnp.where(fits, merges.whole[places], -1), axis=1)


def hash_pair(left: Array, right: Array) -> Array:
    """A uint32 hash of each pair of tokens; numpy or JAX."""
    left, right = left.astype(np.uint32), right.astype(np.uint32)
    mixed = left * np.uint32(0x9E3779B1) ^ right * np.uint32(0x85EBCA77)
    return mixed ^ (mixed >> np.uint32(15))


def rowwise(rows: Array, new: Array, old: Array) -> Array:
    """`new` in the rows marked, [B]; both [B] or [B, M]."""
    return jnp.where(rows if new.ndim == 1 else rows[:, None], new, old)
