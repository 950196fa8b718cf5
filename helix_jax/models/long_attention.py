"""Attention over long texts: by blocks of queries and keys, in bounded memory.

For a block of queries, over blocks of keys j, with scores s_j and running maximum m:

    m' = max(m, max s_j)
    z  <- z exp(m - m') + sum exp(s_j - m')
    a  <- a exp(m - m') + exp(s_j - m') v_j;        the result is a / z

Blocks without any allowed pair (after the query, out of its window, padding) are
skipped.

Reference: Rabe and Staats 2021, arXiv 2112.05682, algorithm 1; the running softmax:
Milakov and Gimelshein 2018, arXiv 1805.02867.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.models.layers import precision_of
from helix_jax.models.scores import MASKED, Reach, lined_sinks, score_bias, scores_of
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

QUERIES, KEYS = 128, 256  # at most, in a block


class _Sums(NamedTuple):
    """Sums over the keys so far for each query: [B, K, G t], mixed [B, K, G t, D]."""

    largest: Array
    total: Array
    mixed: Array


def attend_by_blocks(
    q: Array,
    tables: tuple[Array, Array],
    reach: Reach,
    spec: ModelSpec,
    *,
    layer: Array,
    row: Array,
    sinks: Array | None = None,
) -> Array:
    """Attention of the rows of q, without holding the score matrix.

    Args:
      q: [B, H, T, D_head], some rows of a batch.
      tables: keys and values, [L, rows, K, S, D_head] each.
      reach: of the same B rows.
      spec: attention_scale, attention_softcap.
      layer: [] int, the layer of the tables to read.
      row: [] int, the first of the B rows in the tables.
      sinks: [H] float, as for `attend`.

    Returns:
      [B, H, T, D_head] in the dtype of the values.
    """
    batch, heads, time, width = q.shape
    groups, slots = tables[0].shape[2:4]
    blocks = -(-time // QUERIES)
    queries, keys = -(-time // blocks), min(KEYS, slots)
    # Queries are padded to whole blocks; keys, which may be a cache, are not copied.
    extra = blocks * queries - time
    q = jnp.pad(q, ((0, 0), (0, 0), (0, extra), (0, 0)))
    positions = jnp.pad(reach.query_positions, ((0, 0), (0, extra)), mode="edge")
    reach = reach._replace(query_positions=positions)
    first = jnp.zeros((), jnp.int32)

    def read(table: Array, start: Array) -> Array:
        place = (layer.astype(jnp.int32), row, first, start, first)
        shape = (1, batch, groups, keys, width)
        return jax.lax.dynamic_slice(table, place, shape)[0]

    def block_of_queries(query: Array) -> Array:
        own = jax.lax.dynamic_slice_in_dim(q, query, queries, 2)
        lined = own.reshape(batch, groups, -1, width)

        def block_of_keys(sums: _Sums, begin: Array) -> tuple[_Sums, None]:
            start = jnp.minimum(begin, slots - keys)
            seen = reach.of_block(query, queries, start, keys)
            # The last block starts earlier if it would run past the end.
            allowed = seen.allowed & (start + jnp.arange(keys) >= begin)

            def add(sums: _Sums) -> _Sums:
                known = seen._replace(ready=(score_bias(allowed), seen.added))
                k, v = (read(table, start) for table in tables)
                return _add(sums, lined, k, v, known, spec)

            return jax.lax.cond(jnp.any(allowed), add, lambda same: same, sums), None

        shape = lined.shape[:3]
        sums = _Sums(
            jnp.full(shape, MASKED, jnp.float32),
            jnp.zeros(shape, jnp.float32),
            jnp.zeros(lined.shape, jnp.float32),
        )
        if sinks is not None:
            own = lined_sinks(sinks, groups, queries)
            sums = sums._replace(
                largest=jnp.broadcast_to(own, shape), total=sums.total + 1
            )
        begins = jnp.arange(0, slots, keys, dtype=jnp.int32)
        sums, _ = jax.lax.scan(block_of_keys, sums, begins)
        # A query without any key has a total of 0.
        mixed = sums.mixed / jnp.where(sums.total > 0, sums.total, 1)[..., None]
        return mixed.astype(tables[1].dtype).reshape(batch, heads, queries, width)

    starts = jnp.arange(blocks, dtype=jnp.int32) * queries
    mixed = jax.lax.map(block_of_queries, starts)
    mixed = jnp.moveaxis(mixed, 0, 2).reshape(batch, heads, -1, width)
    return mixed[:, :, :time]


def _add(
    sums: _Sums, lined: Array, k: Array, v: Array, reach: Reach, spec: ModelSpec
) -> _Sums:
    """The sums with one more block of keys; lined: [B, K, G t, D]."""
    scores = scores_of(lined, k, reach, spec)
    largest = jnp.maximum(sums.largest, scores.max(-1))
    weights = jnp.exp(scores - largest[..., None])
    shrunk = jnp.exp(sums.largest - largest)
    mixed = jnp.einsum(
        "bkqs,bksd->bkqd",
        weights.astype(v.dtype),
        v,
        precision=precision_of(v),
        preferred_element_type=jnp.float32,
    )
    return _Sums(
        largest,
        sums.total * shrunk + weights.sum(-1),
        sums.mixed * shrunk[..., None] + mixed,
    )
