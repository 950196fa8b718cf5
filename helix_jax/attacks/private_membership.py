"""Membership attacks on maps with differential privacy, at a given epsilon.

As in `membership`, members are a random half of a pool that the adversary knows; its
shadow maps have the same noise. If noise makes a release (epsilon, delta)-
differentially private, no test for one row is better than a test between two Gaussians
mu = sqrt(2 rho) apart, whose AUC is

    Phi(mu / sqrt 2) = Phi(sqrt rho),

for continuous noise. Discrete noise of 2^20 steps is assumed to behave the same.

Reference: Dong, Roth, Su 2019, arXiv 1905.02383, theorem 2.7 and section 2.3.
"""

import math

import numpy as np
from scipy import stats

from helix_jax.attacks import membership
from helix_jax.private.accountant import Privacy
from helix_jax.private.curator import private_map


def private_membership(
    x: np.ndarray,
    y: np.ndarray,
    privacy: Privacy | None,
    *,
    own: Privacy | None = None,
    shadows: int,
    resamples: int,
    rng: np.random.Generator,
) -> membership.Roc:
    """ROC of the better of both scores, on maps of halves of a pool.

    Args:
      x: [M, d_x] float64, the pool, of norm 1 at most.
      y: [M, d_y] float64, the same.
      privacy, own: of each map, as for `private_map`.
      shadows: number of maps; each is attacked with the others.
      resamples: of the bootstrap over rows.
      rng: for halves and bootstrap; the noise comes from the operating system.
    """
    members = membership.draw_members(len(x), shadows, rng=rng)
    residuals = membership.residuals_of(
        lambda x, y: private_map(x, y, privacy, own=own), x, y, members
    )
    scores = (
        membership.loss_scores(residuals, members),
        membership.likelihood_scores(residuals),
    )
    curves = [
        membership.roc(one, members, rng=rng, resamples=resamples) for one in scores
    ]
    return max(curves, key=lambda curve: curve.auc.value)


def most_auc(privacy: Privacy | None, own: Privacy | None = None) -> float:
    """Upper bound on the AUC of any test of one row's membership."""
    if privacy is None:
        return 1.0
    rho = privacy.rho + (own.rho if own else 0.0)
    return float(stats.norm.cdf(math.sqrt(rho)))
