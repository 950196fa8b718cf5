"""Intervals from leaving out whole groups of documents, one group at a time.

For scores of pairs of rows (CKA, RSA, nearest neighbours) the bootstrap is biased: a
document that is drawn twice is its own perfect neighbour. Leaving out never doubles a
row. With theta of all rows, theta_g without group g and m their mean over G groups,

    error^2 = (G - 1) / G  sum_g (theta_g - m)^2,    theta +- t_{G-1} error

Reference: Tukey 1958, "Bias and confidence in not-quite large samples"; in groups:
  Shao and Tu 1995, "The jackknife and bootstrap", section 2.1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import wide, wide_dtype
from helix_jax.stats.documents import document_codes
from helix_jax.stats.interval import Interval
from helix_jax.stats.seeds import t_quantile
from helix_jax.types import Array


@takes(key=kinds.KEY)
def document_groups(
    documents: Sequence[str] | Array, *, groups: int = 20, key: Array | None = None
) -> np.ndarray:
    """Divide rows into groups of whole documents, at random and as equal as possible.

    Args:
      documents: [N] document of each row.
      groups: G; no more than there are documents.
      key: jax.random key; None is jax.random.key(0).

    Returns:
      [N] int64 in [0, G).

    Raises:
      ValueError: fewer than two groups, or fewer documents than groups.
    """
    codes, count = document_codes("document_groups", documents, len(documents))
    if not 2 <= groups <= count:
        raise ValueError(
            f"document_groups: groups needs to be 2 to {count}, the number of "
            f"documents, got {groups}."
        )
    key = jax.random.key(0) if key is None else key
    order = np.asarray(jax.random.permutation(key, count))
    group = np.empty(count, np.int64)
    group[order] = np.arange(count) % groups
    return group[codes]


@wide
def jackknife_interval(
    value: Array, left_out: Array, *, level: float = 0.95
) -> Interval:
    """Interval of a score from its values with each group of documents left out.

    Args:
      value: [...] the score of all rows.
      left_out: [G, ...] the score without each group; groups about equally large.
      level: coverage, for scores that are smooth in the rows.

    Returns:
      Interval of arrays [...].

    Raises:
      ValueError: shapes differ, or fewer than two groups.
    """
    shape = np.shape(left_out)
    if len(shape) < 1 or shape[1:] != np.shape(value):
        raise ValueError(
            f"jackknife_interval: left_out needs shape [groups, "
            f"{', '.join(map(str, np.shape(value)))}], got {list(shape)}."
        )
    checks.require_rows("jackknife_interval", shape[0], 2, "one per group")
    value, left_out = (
        jnp.asarray(numeric.numbers("jackknife_interval", name, z), wide_dtype())
        for name, z in (("value", value), ("left_out", left_out))
    )
    spread = jnp.sum((left_out - jnp.mean(left_out, axis=0)) ** 2, axis=0)
    error = jnp.sqrt((shape[0] - 1) / shape[0] * spread)
    half = t_quantile(level, shape[0] - 1) * error
    return Interval(value, value - half, value + half)
