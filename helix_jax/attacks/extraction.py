"""A classifier from its answers: no encryption hides what results say.

    logits, rounded   y = x W + b + noise: least squares
    order             a = s (x W + b) + t with s, t unknown and new for every query

Of "order", differences to the first class rid of t: a' = s x D, D [d + 1, k - 1], and a
known direction of x D is k - 2 linear equations, (I - a a' / |a|^2) D' x = 0. They are
homogeneous in D, whose solution is the smallest right singular vector: all differences
of logits up to one factor, from about (d + 1) (k - 1) / (k - 2) queries. The factor
follows from the range of s, which is public. Of two classes a query leaves one
inequality: a / 2^12 <= x D <= a / 2^4, and D is sought in the middle of the polytope.

An honest query cannot tell t. A client that writes its entries one tile further, where
the layout has none, can: the result of class i is then s (x w_(i - 1)) + s b_i + t, and
that of class 0, which has no row before it, s b_0 + t.

Reference: Tramer et al. 2016, arXiv 1609.02943, section 4.1 (equations from logits);
  the attack on "order": ours.
"""

import numpy as np
from scipy.optimize import linprog

from helix_jax.alignment import AffineMap, fit_ridge, from_batch, select_by_gcv
from helix_jax.attacks.raw_answers import rewrite_query
from helix_jax.private import Client, Layer
from helix_jax.private.policies import ORDER_HIGH_BITS, ORDER_LOW_BITS

_PENALTIES = np.logspace(-16, 2, 55)  # of the largest sum of squares
_LOW, _HIGH = 2.0**ORDER_LOW_BITS, 2.0**ORDER_HIGH_BITS


def solve_logits(
    x: np.ndarray, results: np.ndarray, *, noisy: bool = False
) -> AffineMap:
    """The affine map through queries and their results.

    Args:
      x: [Q, d] float, queries.
      results: [Q, k] float, decrypted.
      noisy: the answers' policy adds noise: ridge, its penalty by generalised
        cross-validation, in place of the exact solution of least norm.

    Returns:
      AffineMap [d, k].

    Reference: see `select_by_gcv`.
    """
    if not noisy:
        ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        both = np.linalg.lstsq(ones, results, rcond=None)[0]
        return AffineMap(both[:-1], both[-1])
    moments = from_batch(x, results)
    largest = np.linalg.norm(x - x.mean(axis=0), ord=2) ** 2
    path = fit_ridge(moments, penalties=largest * _PENALTIES, relative=False)
    affine = select_by_gcv(path, moments).fit.map
    return AffineMap(np.asarray(affine.kernel), np.asarray(affine.bias))


def solve_order(x: np.ndarray, results: np.ndarray) -> AffineMap:
    """A classifier from answers that show the order.

    Args:
      x: [Q, d] float, queries.
      results: [Q, k] float, decrypted, k at least 2.

    Returns:
      AffineMap [d, k] whose first class is zero: differences of logits are what such
      answers determine.

    Raises:
      ValueError: there is one class.
    """
    if results.shape[1] < 2:
        raise ValueError("solve_order: one class has no order.")
    known = results[:, 1:] - results[:, :1]
    (count, width), classes = x.shape, results.shape[1]
    if classes > 2 and count * (classes - 2) < (width + 1) * (classes - 1):
        # Too few equations. Differences vary less from query to query than s does:
        # take them as equally long, and fit.
        size = np.linalg.norm(known, axis=1)
        typical = np.median(size) / np.sqrt(_LOW * _HIGH)
        units = known / np.maximum(size, 1e-300)[:, None] * typical
        units = np.concatenate([np.zeros((count, 1)), units], axis=1)
        return solve_logits(x, units, noisy=True)
    ones = np.concatenate([x, np.ones((count, 1))], axis=1)
    # In an orthonormal basis of the queries, so that embeddings of unequal spread
    # cost nothing.
    left, spread, right = np.linalg.svd(ones, full_matrices=False)
    keep = spread > spread[0] * 1e-10
    left, spread, right = left[:, keep], spread[keep], right[keep]
    if classes == 2:
        solved = _one_difference(left, known[:, 0])[:, None]
    else:
        solved = _many_differences(left, known)
    both = right.T @ (solved / spread[:, None])
    both = np.concatenate([np.zeros((len(both), 1)), both], axis=1)
    return AffineMap(both[:-1], both[-1])


def _many_differences(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """D [e, k - 1] with rows of x D along those of `known`."""
    size = np.linalg.norm(known, axis=1)
    unit = known / np.maximum(size, 1e-300)[:, None]
    count, rank, width = len(x), x.shape[1], unit.shape[1]
    # sum_q (x x') (x) (I - u u')
    total = np.einsum("ab,ij->aibj", x.T @ x, np.eye(width))
    outer = np.einsum("qi,qj->qij", unit, unit).reshape(count, -1)
    cross = np.einsum("qa,qb->qab", x, x).reshape(count, -1).T @ outer
    total -= cross.reshape(rank, rank, width, width).transpose(0, 2, 1, 3)
    total = total.reshape(rank * width, -1)
    solved = np.linalg.eigh(total)[1][:, 0].reshape(rank, width)
    along = np.einsum("qi,qi->q", x @ solved, unit)
    solved = solved * np.sign(along.sum() or 1.0)
    # s = |a| / |x D| fills [2^4, 2^12): the ends of what was seen fix the factor.
    ends = np.quantile(size / np.maximum(np.abs(along), 1e-300), [0.01, 0.99])
    return solved * np.sqrt(ends.prod() / (_LOW * _HIGH))


def _one_difference(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """D [e] in the middle of a / 2^12 <= x D <= a / 2^4 (a positive, else reversed).

    With s log-uniform every D of the polytope is equally likely.
    """
    signs = np.sign(known)[:, None]
    size = np.abs(known)
    scale = np.median(size) / np.sqrt(_LOW * _HIGH)
    radius = np.linalg.norm(x, axis=1, keepdims=True)
    upper = np.concatenate([signs * x, radius], axis=1)
    lower = np.concatenate([-signs * x, radius], axis=1)
    bounds = np.concatenate([size / _LOW, -size / _HIGH]) / scale
    objective = np.zeros(x.shape[1] + 1)
    objective[-1] = -1.0
    solution = linprog(
        objective,
        A_ub=np.concatenate([upper, lower]),
        b_ub=bounds,
        bounds=[(None, None)] * (len(objective) - 1) + [(None, None)],
    )
    if solution.x is None:  # noise has emptied the polytope
        return np.linalg.lstsq(x, known / np.sqrt(_LOW * _HIGH), rcond=None)[0]
    return solution.x[:-1] * scale


def differences(affine: AffineMap) -> np.ndarray:
    """[d + 1, k - 1] kernel and bias of every class less those of the first."""
    both = np.concatenate([np.asarray(affine.kernel), np.asarray(affine.bias)[None]])
    return both[:, 1:] - both[:, :1]


def agreement(stolen: AffineMap, true: AffineMap, x: np.ndarray) -> np.ndarray:
    """[n] bool, whether both name the same class for rows x [n, d]."""
    first, second = (
        (x @ np.asarray(affine.kernel) + np.asarray(affine.bias)).argmax(axis=1)
        for affine in (stolen, true)
    )
    return first == second


def shifted_query(client: Client, layer: Layer, x: np.ndarray) -> bytes:
    """An encryption of x [d] in the second m coefficients instead of the first.

    Raises:
      ValueError: the layer has more than one tile, or no room for another row.
    """
    plan = layer.plan
    if plan.tiles > 1 or (plan.rows + 1) * plan.tile > plan.degree:
        raise ValueError(
            f"shifted_query: {plan.tiles} tiles of {plan.tile} entries and {plan.rows} "
            f"rows leave no room in {plan.degree} coefficients."
        )
    packed = np.zeros((1, plan.degree))
    packed[0, plan.tile : plan.tile + plan.width] = x
    return rewrite_query(client, layer, packed)
