"""Extract a classifier from its answers: encryption does not hide what results reveal.

    logits, rounded   y = x W + b + noise: least squares
    label             argmax of x W + b: logistic regression, nearly without penalty

Reference: Tramer et al. 2016, arXiv 1609.02943, section 4.1 (equations from logits) and
  6 (labels).
"""

import numpy as np

from helix_jax.alignment import AffineMap, fit_ridge, from_batch, select_by_gcv
from helix_jax.probes import fit_probes

_PENALTIES = np.logspace(-16, 2, 55)  # of the largest sum of squares
_LABEL_PENALTY = 1e-4  # of the mean variance of a dimension


def solve_logits(
    x: np.ndarray, results: np.ndarray, *, noisy: bool = False
) -> AffineMap:
    """Fit the affine map from queries to their results.

    Args:
      x: [Q, d] float, queries.
      results: [Q, k] float, decrypted.
      noisy: whether the answers' policy adds noise; if so, ridge with a penalty chosen
        by generalised cross-validation replaces the exact least-norm solution.

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


def solve_labels(x: np.ndarray, labels: np.ndarray, classes: int) -> AffineMap:
    """Fit a classifier that gives queries their labels.

    Args:
      x: [Q, d] float, queries.
      labels: [Q] int.
      classes: k.

    Returns:
      AffineMap [d, k] of logits up to a factor; classes that never occur rank last.
    """
    if len(np.unique(labels)) < 2:  # nothing to tell apart
        return AffineMap(np.zeros((x.shape[1], classes)), np.eye(classes)[labels[0]])
    path = fit_probes(
        np.asarray(x, np.float64),
        labels,
        num_classes=classes,
        penalties=_LABEL_PENALTY,
        tolerance=1e-4,
    )
    probe = path.probe
    return AffineMap(np.asarray(probe.kernel[0]), np.asarray(probe.bias[0]))


def differences(affine: AffineMap) -> np.ndarray:
    """[d + 1, k - 1] kernel and bias of every class minus those of the first."""
    both = np.concatenate([np.asarray(affine.kernel), np.asarray(affine.bias)[None]])
    return both[:, 1:] - both[:, :1]


def agreement(stolen: AffineMap, true: AffineMap, x: np.ndarray) -> np.ndarray:
    """[n] bool, whether both name the same class for rows x [n, d]."""
    first, second = (
        (x @ np.asarray(affine.kernel) + np.asarray(affine.bias)).argmax(axis=1)
        for affine in (stolen, true)
    )
    return first == second
