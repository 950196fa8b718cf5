"""Retrieval by cosine: the rank of the one relevant row, counted block by block.

    rank_i = 1 + #{j != r_i : <q_i, z_j> >= <q_i, z_{r_i}>};  recall@k = mean(rank <= k)

A tie counts against the relevant row, so that identical rows do not count as a success.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, numeric
from helix_jax.linalg import product, unit_rows
from helix_jax.similarity.gains import rank_gains
from helix_jax.similarity.neighbours import nearest_rows
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.types import Array

QUERY_BLOCK, INDEX_BLOCK = 256, 8192


def relevant_ranks(queries: Array, index: Array, relevant: Array) -> np.ndarray:
    """Rank of each query's relevant row among all rows of an index.

    Args:
      queries: [Q, D] float.
      index: [N, D] float; compared by inner product, so take `unit_rows` for cosine.
      relevant: [Q] int, the row of the index that each query looks for.

    Returns:
      [Q] int, from 1 (best) to N.

    Raises:
      ValueError: widths that differ, a relevant row that does not exist, NaN.
    """
    queries, index = (
        np.asarray(numeric.numbers("relevant_ranks", name, z, rank=2), np.float32)
        for name, z in (("queries", queries), ("index", index))
    )
    relevant = numeric.whole_numbers(
        "relevant_ranks",
        "relevant",
        relevant,
        rows=len(queries),
        below=len(index),
        remedy=f"Name a row from 0 to {len(index) - 1} of the index for each query.",
    )
    checks.require_width("relevant_ranks", "index", index.shape[1], queries.shape[1])
    for name, rows in (("queries", queries), ("index", index)):
        checks.require_finite("relevant_ranks", name, rows)
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        block = _padded(queries[rows], QUERY_BLOCK)
        wanted = _padded(index[relevant[rows]], QUERY_BLOCK)
        own_rows = _padded(relevant[rows], QUERY_BLOCK)
        counts = np.zeros(QUERY_BLOCK, np.int64)
        for first in range(0, len(index), INDEX_BLOCK):
            part = index[first : first + INDEX_BLOCK]
            counts += np.asarray(
                _better(
                    block,
                    wanted,
                    own_rows,
                    _padded(part, INDEX_BLOCK),
                    first,
                    first + len(part),
                )
            )
        ranks[rows] = 1 + counts[: len(ranks[rows])]
    return ranks


class Search(NamedTuple):
    """Queries and the rows of an index, compared by inner product.

    Attributes:
      queries: [Q, D] float32.
      index: [N, D] float32.
    """

    queries: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # a tuple has a method of this name

    def ranks(self, relevant: Array) -> np.ndarray:
        """[Q] rank of each query's relevant row, see `relevant_ranks`."""
        return relevant_ranks(self.queries, self.index, relevant)

    def nearest(self, count: int) -> np.ndarray:
        """[Q, count] int, rows of the index, best first."""
        found = nearest_rows(
            self.queries, self.index, neighbours=count, product_dtype=jnp.float32
        )
        return np.asarray(found.rows)


def cosine_search(queries: Array, index: Array, *, centre: Array) -> Search:
    """Queries and rows whose inner products are cosines about a centre.

    Args:
      queries: [Q, D] float.
      index: [N, D] float.
      centre: [D], such as the mean of other rows of the index's space.
    """
    rows = (unit_rows(np.asarray(z, np.float32) - centre) for z in (queries, index))
    return Search(*map(np.asarray, rows))


class RetrievalScores(NamedTuple):
    """How well queries find their one relevant row.

    Attributes:
      recall: k -> recall@k, with its interval over documents.
      ndcg: nDCG@depth where only that row is relevant, likewise.
      mean_reciprocal_rank: [] of all queries.
    """

    recall: dict[int, Interval]
    ndcg: Interval
    mean_reciprocal_rank: float


def score_ranks(
    ranks: np.ndarray,
    documents: Sequence[str],
    *,
    cutoffs: Sequence[int],
    depth: int = 10,
    resamples: int = 2000,
) -> RetrievalScores:
    """Recall at every cutoff, nDCG and the mean reciprocal rank.

    Args:
      ranks: [Q] int, from `relevant_ranks`; [S, Q] of several draws: a query counts
        with its mean over them.
      documents: [Q] document of each query.
      cutoffs: every k.
      depth: of the nDCG.
      resamples: of the bootstrap.

    Raises:
      ValueError: as `bootstrap_interval`.
    """
    ranks = np.atleast_2d(ranks)

    def over_documents(worth: np.ndarray) -> Interval:
        return bootstrap_interval(worth.mean(0), documents, resamples=resamples)

    return RetrievalScores(
        {k: over_documents(ranks <= k) for k in cutoffs},
        over_documents(rank_gains(ranks, depth=depth)),
        float(np.mean(1 / ranks)),
    )


def with_width(rows: np.ndarray, width: int) -> np.ndarray:
    """Rows [N, D] cut or zero-padded to [N, width]: the control without a map."""
    rows = rows[:, :width]
    return np.pad(rows, [(0, 0), (0, width - rows.shape[1])])


@jax.jit
def _better(
    queries: Array, wanted: Array, own: Array, part: Array, first: Array, stop: Array
) -> Array:
    """[Q] how many rows of a part of the index come before the wanted one."""
    scores = product(queries, part.T)
    threshold = jnp.sum(queries * wanted, axis=1, keepdims=True)
    # The product and the sum round differently: a duplicate of the wanted row must tie.
    slack = 8 * jnp.finfo(queries.dtype).eps * jnp.linalg.norm(queries, axis=1)
    number = first + jnp.arange(part.shape[0])
    before = scores >= threshold - slack[:, None]
    other = (number[None, :] != own[:, None]) & (number < stop)[None, :]
    return jnp.sum(before & other, axis=1)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    missing = [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(rows, missing)
