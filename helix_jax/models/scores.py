"""Attention scores: products of queries and keys, and what is added to them.

For long texts neither is ever held in full: `Reach` gives the added part for any block
of queries and keys.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import dynamic_slice_in_dim

from helix_jax.models.layers import precision_of, softcap
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

# Texts with this many query-key pairs are processed in blocks.
MANY_PAIRS = 2**19
MASKED = -1e30  # finite, so that a row without keys gives numbers, not NaN


def allowed_keys(
    query_positions: Array,
    key_positions: Array,
    key_mask: Array,
    *,
    causal: bool,
    window: Array | int | None = None,
) -> Array:
    """Which keys each query may read.

    Args:
      query_positions: [B, T] int.
      key_positions: [B, S] int.
      key_mask: [B, S] bool, False for padding and empty slots.
      causal: only keys at the query's position or before.
      window: [] int, how many positions back a query sees, including its own; without
        `causal`, also ahead. 0 or None: no limit.

    Returns:
      [B, T, S] bool.
    """
    allowed = key_mask[:, None, :]
    if causal:
        allowed = allowed & (key_positions[:, None, :] <= query_positions[:, :, None])
    if window is not None:
        distance = query_positions[:, :, None] - key_positions[:, None, :]
        distance = distance if causal else jnp.abs(distance)
        allowed = allowed & ((window == 0) | (distance < window))
    return jnp.broadcast_to(allowed, (*query_positions.shape, key_mask.shape[1]))


def score_bias(allowed: Array) -> Array:
    """What to add to the scores: 0 where a key may be read, else MASKED; float32."""
    return jnp.where(allowed, 0.0, MASKED).astype(jnp.float32)


class Reach(NamedTuple):
    """Which keys each query sees, and what is added to their scores.

    Attributes:
      query_positions: [B, T] int.
      key_positions: [B, S] int.
      key_mask: [B, S] bool, False for padding and empty slots.
      causal, window: as for `allowed_keys`.
      by_head: function from a Reach, of a block or of all, to what each head adds by
        positions or slots, [B or 1, H, t or 1, s] float32; None if nothing is added.
      first_query, first_key: [] int, slots of the first query and key.
      ready: `bias` and `added`, computed in advance, or None.
    """

    query_positions: Array
    key_positions: Array
    key_mask: Array
    causal: bool = True
    window: Array | int | None = None
    by_head: Callable[["Reach"], Array] | None = None
    first_query: Array | int = 0
    first_key: Array | int = 0
    ready: tuple[Array, Array | None] | None = None

    @property
    def query_slots(self) -> Array:
        """[T] int, slots of the queries, counting padding."""
        return self.first_query + jnp.arange(self.query_positions.shape[1])

    @property
    def key_slots(self) -> Array:
        """[S] int, slots of the keys."""
        return self.first_key + jnp.arange(self.key_mask.shape[1])

    @property
    def is_long(self) -> bool:
        """Whether the scores of all pairs are too many to hold."""
        return self.query_positions.shape[1] * self.key_mask.shape[1] >= MANY_PAIRS

    @property
    def allowed(self) -> Array:
        """[B, T, S] bool, which keys each query may read."""
        return allowed_keys(
            self.query_positions,
            self.key_positions,
            self.key_mask,
            causal=self.causal,
            window=self.window,
        )

    @property
    def bias(self) -> Array:
        """[B, T, S] float32, added to the scores of all heads."""
        return score_bias(self.allowed) if self.ready is None else self.ready[0]

    @property
    def added(self) -> Array | None:
        """[B or 1, H, T or 1, S] float32, added to the scores by head, or None."""
        if self.ready is not None:
            return self.ready[1]
        return None if self.by_head is None else self.by_head(self)

    def prepared(self) -> "Reach":
        """This reach with `ready`, for layers to share; unchanged for long texts."""
        return self if self.is_long else self._replace(ready=(self.bias, self.added))

    def of_rows(self, start: Array, count: int) -> "Reach":
        """The reach of `count` rows of the batch from `start` on."""

        def part(table: Array) -> Array:
            one = len(table) == 1
            return table if one else dynamic_slice_in_dim(table, start, count)

        tables = (self.query_positions, self.key_positions, self.key_mask)
        queries, keys, mask, ready = jax.tree.map(part, (*tables, self.ready))
        return self._replace(
            query_positions=queries, key_positions=keys, key_mask=mask, ready=ready
        )

    def of_block(self, query: Array, queries: int, key: Array, keys: int) -> "Reach":
        """The reach of queries from slot `query` and keys from `key` on; not ready."""
        return self._replace(
            query_positions=dynamic_slice_in_dim(
                self.query_positions, query, queries, 1
            ),
            key_positions=dynamic_slice_in_dim(self.key_positions, key, keys, 1),
            key_mask=dynamic_slice_in_dim(self.key_mask, key, keys, 1),
            first_query=query,
            first_key=key,
            ready=None,
        )


def scores_of(lined: Array, k: Array, reach: Reach, spec: ModelSpec) -> Array:
    """softcap(scale q k') + bias + added, in float32.

    Args:
      lined: [B, K, H / K * T, D_head], the queries of each group's heads in line, so
        that a group is one matrix product and nothing of the size of the scores is ever
        transposed.
      k: [B, K, S, D_head].
      reach: of the same queries and keys.
      spec: attention_scale, attention_softcap.

    Returns:
      [B, K, H / K * T, S] float32.
    """
    scores = jnp.einsum(
        "bkqd,bksd->bkqs",
        lined,
        k,
        precision=precision_of(lined),
        preferred_element_type=jnp.float32,
    )
    scores = softcap(scores * spec.attention_scale, spec.attention_softcap)
    bias, added = reach.bias, reach.added
    split = scores.reshape(*scores.shape[:2], -1, *bias.shape[1:])
    split = split + bias[:, None, None]
    if added is not None:
        split = split + added.reshape(-1, *split.shape[1:3], *added.shape[2:])
    return split.reshape(scores.shape)


def lined_sinks(sinks: Array, groups: int, time: int) -> Array:
    """Sinks [H] repeated for queries in line (`scores_of`): [K, H / K * T] float32."""
    return jnp.repeat(sinks.astype(jnp.float32).reshape(groups, -1), time, axis=1)
