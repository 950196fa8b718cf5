"""Whether a head reads the same from two representations, judged by its outputs alone.

Two sets of logits of one head, such as the target's head on its own states and on
mapped source states, are compared row by row. With p, q the softmax of both and
m = (p + q) / 2,

    JS = H(m) - (H(p) + H(q)) / 2,      agreement = [argmax p = argmax q]

Both are means over rows, so their intervals are bootstraps over documents, and shuffled
pairs give their nulls.
"""

import jax
import jax.numpy as jnp

from helix_jax import checks
from helix_jax.alignment.rows import row_cosine
from helix_jax.linalg import first_argmax, wide, wide_dtype
from helix_jax.types import Array


@wide
def row_agreement(logits_a: Array, logits_b: Array) -> Array:
    """Whether both have the same largest logit; ties go to the first class.

    Args:
      logits_a: [N, C] float.
      logits_b: [N, C] float.

    Returns:
      [N] 0 or 1.

    Raises:
      ValueError: shapes differ, or NaN.
    """
    a, b = _require("row_agreement", logits_a, logits_b)
    return (first_argmax(a) == first_argmax(b)).astype(wide_dtype())


@wide
def row_divergence(logits_a: Array, logits_b: Array) -> Array:
    """Jensen-Shannon divergence of the two softmax distributions of each row.

    Args:
      logits_a: [N, C] float.
      logits_b: [N, C] float.

    Returns:
      [N] in nats, 0 to log 2.

    Raises:
      ValueError: shapes differ, or NaN.

    Reference: Lin 1991, "Divergence measures based on the Shannon entropy",
      equation 4.1.
    """
    a, b = _require("row_divergence", logits_a, logits_b)
    log_p, log_q = jax.nn.log_softmax(a), jax.nn.log_softmax(b)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    # 0 log 0 is 0, where a logit is far below the largest.
    left = jnp.where(p > 0, p * (log_p - log_m), 0)
    right = jnp.where(q > 0, q * (log_q - log_m), 0)
    return jnp.clip(jnp.sum(left + right, axis=1) / 2, 0, jnp.log(2.0))


@wide
def centred_row_cosine(mapped: Array, y: Array, centre: Array) -> Array:
    """Cosine of each mapped row with its target row, both about a centre.

    Args:
      mapped: [N, dy] float, mapped source states.
      y: [N, dy] float, target states.
      centre: [dy], the mean of the target's fit rows.

    Returns:
      [N] in [-1, 1]; 0 where a row is at the centre.

    Raises:
      ValueError: shapes differ, or NaN.
    """
    a, b = _require("centred_row_cosine", mapped, y)
    checks.require_shape("centred_row_cosine", "centre", centre, a.shape[1:])
    return row_cosine(a - centre, b - centre)


def _require(who: str, a: Array, b: Array) -> tuple[Array, Array]:
    checks.require_pair(who, a, b)
    checks.require_width(who, "the second", b.shape[1], a.shape[1])
    for name, array in (("the first", a), ("the second", b)):
        checks.require_finite(who, name, array)
    return tuple(jnp.asarray(z).astype(wide_dtype()) for z in (a, b))
