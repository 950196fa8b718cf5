"""Accounting of the differential privacy that Gaussian noise gives.

Two data sets of n rows are neighbours if they differ in one row (bounded differential
privacy), so n is public. Noise of standard deviation sigma on a vector that replacing
one row moves by at most Delta is rho-zCDP with

    rho = Delta^2 / (2 sigma^2),

and the rhos of several releases add up, even if later ones are chosen in view of
earlier ones. The same holds for discrete Gaussian noise on integers, which is what the
protocols draw: `discrete_gaussian`.

Reference: Bun and Steinke 2016, arXiv 1605.02065, proposition 1.6 and lemma 1.7;
  Canonne, Kamath, Steinke 2020, arXiv 2004.00010, theorem 14 (discrete noise in
  several dimensions).
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

_LEAST, _MOST = 1e-12, 1e6  # limits of rho


@dataclasses.dataclass(frozen=True)
class Privacy:
    """A limit on what an owner's rows reveal: (epsilon, delta)-differential privacy.

    Attributes:
      epsilon: positive and finite; for no privacy, use None in place of this record.
      delta: above 0, and below 1 / n for n rows.
      share: of the total rho that one release spends; several releases add up.
    """

    epsilon: float
    delta: float
    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that guarantee nothing."""
        if not 0 < self.share <= 1:
            raise ValueError(f"privacy: share needs 0 to 1, got {self.share}.")
        most_rho(self.epsilon, self.delta)

    @property
    def total_rho(self) -> float:
        """rho of all releases together."""
        return most_rho(self.epsilon, self.delta)

    @property
    def rho(self) -> float:
        """rho of one release."""
        return self.share * self.total_rho

    def require_rows(self, rows: int) -> None:
        """Refuse a delta that would allow revealing one of n rows completely.

        Raises:
          ValueError: delta is 1 / n or more.
        """
        if not self.delta * rows < 1:
            raise ValueError(
                f"privacy: delta {self.delta:g} allows one of {rows} rows to be "
                f"revealed completely; it needs to be well below {1 / rows:.2g}."
            )


def zcdp_delta(rho: float, epsilon: float) -> float:
    """A delta for which rho-zCDP implies (epsilon, delta)-differential privacy.

        delta = inf over alpha > 1 of e^((alpha - 1)(alpha rho - epsilon))
                (1 - 1 / alpha)^alpha / (alpha - 1)

    Args:
      rho: of zCDP, positive.
      epsilon: not negative.

    Returns:
      An upper bound, at most 1; valid for discrete noise too.

    Raises:
      ValueError: rho or epsilon is out of range.

    Reference: Canonne, Kamath, Steinke 2020, arXiv 2004.00010, section 2.3,
      corollary 13.
    """
    _require("zcdp_delta", rho, epsilon)

    def log_delta(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return (
            (order - 1) * (order * rho - epsilon)
            + order * math.log1p(-1 / order)
            - math.log(order - 1)
        )

    # Every order gives a bound; the best order is near (epsilon + rho) / (2 rho).
    near = math.log(max((epsilon + rho) / (2 * rho) - 1, 1e-3))
    found = optimize.minimize_scalar(
        log_delta, bounds=(near - 6, near + 6), method="bounded"
    )
    return math.exp(min(found.fun, log_delta(near), 0.0))


def gaussian_delta(rho: float, epsilon: float) -> float:
    """The exact delta of continuous Gaussian noise, with mu = sqrt(2 rho).

        delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)

    For comparison only: it needs a sigma about 7% smaller than `zcdp_delta` does, but
    there is no such theorem for discrete noise in several dimensions.

    Args:
      rho: of zCDP, positive.
      epsilon: not negative.

    Raises:
      ValueError: rho or epsilon is out of range.

    Reference: Balle and Wang 2018, arXiv 1805.06530, theorem 8.
    """
    _require("gaussian_delta", rho, epsilon)
    mu = math.sqrt(2 * rho)
    left = special.log_ndtr(mu / 2 - epsilon / mu)
    right = epsilon + special.log_ndtr(-mu / 2 - epsilon / mu)
    return float(-np.exp(left) * np.expm1(min(right - left, 0.0)))


def most_rho(
    epsilon: float,
    delta: float,
    *,
    delta_of: Callable[[float, float], float] = zcdp_delta,
) -> float:
    """The largest rho for which rho-zCDP is (epsilon, delta)-differentially private.

    Args:
      epsilon: positive and finite.
      delta: above 0 and below 1.
      delta_of: `zcdp_delta`, or `gaussian_delta` for continuous noise.

    Returns:
      rho; the noise then has sigma = Delta / sqrt(2 rho).

    Raises:
      ValueError: epsilon or delta is out of range, or they need too much noise.
    """
    if not (0 < epsilon < math.inf and 0 < delta < 1):
        raise ValueError(
            "privacy: expected a finite epsilon above 0 and a delta above 0 and below "
            f"1, got {epsilon:g} and {delta:g}."
        )
    low, high = _LEAST, _MOST
    if delta_of(low, epsilon) > delta:
        raise ValueError(
            f"privacy: epsilon {epsilon:g} and delta {delta:g} need too much noise "
            "to be useful; raise them."
        )
    while high / low > 1 + 1e-12:  # low is always private
        middle = math.sqrt(low * high)
        private = delta_of(middle, epsilon) <= delta
        low, high = (middle, high) if private else (low, middle)
    return low


def noise_multiplier(rho: float) -> float:
    """sigma / Delta of rho-zCDP noise."""
    return 1 / math.sqrt(2 * rho)


def _require(who: str, rho: float, epsilon: float) -> None:
    if not (0 < rho < math.inf and 0 <= epsilon < math.inf):
        raise ValueError(
            f"{who}: needs a positive rho and an epsilon of 0 or more, got {rho:g} and "
            f"{epsilon:g}."
        )
