"""Which rows of an index are embedded again first, and the resulting indexes.

| order     | first                                                       |
|-----------|-------------------------------------------------------------|
| random    | any row, by several draws                                   |
| predicted | the largest residual, predicted from the old embedding      |
| true      | the largest true residual, unknown before embedding again   |
| shuffled  | control: as random, through a map of shuffled pairs          |
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from helix_jax.activations import Pair
from helix_jax.alignment import AffineMap
from helix_jax.stats import Interval
from helix_jax.transfer.mixed import CALIBRATIONS, Parts, open_parts
from helix_jax.transfer.pair_fit import PairFit
from helix_jax.transfer.residuals import predicted_residuals, rank_agreement
from helix_jax.transfer.search import Migration
from helix_jax.transfer.ways import Way


class Plan(NamedTuple):
    """A mixed index.

    Attributes:
      parts: its two spaces.
      orders: [S, N] rows, the first to be embedded again first.
      percent: of the rows that are embedded again.
    """

    parts: Parts
    orders: np.ndarray
    percent: int


class Renewal(NamedTuple):
    """One way across, and orders of the rows of an index.

    Attributes:
      way: of the maps.
      map, shuffled: of the fit split's pairs, and of wrong pairs.
      predicted, true: [N] residual of each row.
      random: [S, N] permutations of the rows.
    """

    way: Way
    map: AffineMap
    shuffled: AffineMap
    predicted: np.ndarray
    true: np.ndarray
    random: np.ndarray

    @property
    def orders(self) -> Mapping[str, np.ndarray]:
        """Name -> [S, N] orders; see the top of this file."""
        return {
            "random": self.random,
            "predicted": np.argsort(-self.predicted)[None],
            "true": np.argsort(-self.true)[None],
            "shuffled": self.random,
        }

    def agreement(self, test: Migration, *, resamples: int) -> Interval:
        """Rank correlation of predicted and true residuals on the test split's rows."""
        rows = test.wanted
        sides = self.predicted[rows], self.true[rows]
        return rank_agreement(*sides, test.documents, resamples=resamples)

    def plans(
        self,
        test: Migration,
        select: Migration,
        shares: Sequence[int],
        calibration: str,
    ) -> dict[str, Plan]:
        """The indexes of every order and share, and of every calibration.

        Args:
          test: the index and its queries.
          select: rows and queries of the select split alone.
          shares: percent embedded again.
          calibration: of all plans except those named after a calibration.

        Returns:
          ORDER_SHARE -> Plan; CALIBRATION -> Plan, random and of the largest share.
        """
        sides = test, select
        parts = {c: open_parts(self.way, self.map, *sides, c) for c in CALIBRATIONS}
        control = open_parts(self.way, self.shuffled, *sides, calibration)
        by_order = {
            f"{order}_{share}": Plan(
                control if order == "shuffled" else parts[calibration], rows, share
            )
            for order, rows in self.orders.items()
            for share in shares
        }
        return by_order | {
            name: Plan(own, self.random, max(shares)) for name, own in parts.items()
        }


def fit_renewal(
    way: Way, fitted: PairFit, test: Migration, *, seed: int, draws: int
) -> Renewal:
    """Fit the map of a way and its control, and put the rows of an index in order.

    Args:
      way: of the maps.
      fitted: of pairs (new, old).
      test: the index.
      seed: of the shuffle and of the first random order.
      draws: random orders.

    Raises:
      TypeError: the pairs are a stream.
    """
    pair = fitted.pairs["fit"]
    if not isinstance(pair, Pair):
        raise TypeError(
            "fit_renewal: residuals are taken by halves of stored rows; fit the map on "
            "stores, not on a stream."
        )
    fit = way.fit(fitted.moments)
    centre = test.centre_new if way.backward else test.centre_old
    generators = [np.random.default_rng(seed + n) for n in range(draws)]
    return Renewal(
        way,
        fit.map,
        way.fit_shuffled(pair, key=jax.random.key(seed), penalty=float(fit.penalty)),
        predicted_residuals(
            pair, fitted.moments["select"], test.old, way=way, centre=centre
        ),
        way.residuals(fit.map, test.new, test.old, centre),
        np.stack([one.permutation(len(test.old)) for one in generators]),
    )
