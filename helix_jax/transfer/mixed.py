"""An index with a share re-embedded: two spaces, one list of results.

Rows that the new model has embedded are compared with its query natively, all others
with the mapped query (or mapped themselves). Scores of the two parts are made
comparable by a linear function each,

    score_ij = slope <q_i, z_j> + offset,

chosen on pairs outside the test split, so that the whole is one inner product,
of (slope_new q_new, slope_old q_old, 1) with (z_new, 0, offset_new) or (0, z_old,
offset_old), which any index of inner products serves.

| calibration  | a score of a part becomes                                           |
|--------------|---------------------------------------------------------------------|
| raw          | the cosine as it is                                                 |
| standardised | its distance from the mean of non-relevant rows, in deviations      |
| log_odds     | the log-odds that the row is relevant, by logistic regression       |
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap
from helix_jax.probes import fit_probes
from helix_jax.similarity.retrieval import Search
from helix_jax.transfer.search import Migration
from helix_jax.transfer.ways import Way

PENALTY = 1e-9  # of the logistic regression, relative; two coefficients need none
MOST_ROWS = 500  # queries and rows that a calibration is chosen on, at most


class Calibration(NamedTuple):
    """score = slope cosine + offset."""

    slope: float
    offset: float


def _standardised(scores: np.ndarray, own: np.ndarray) -> Calibration:
    others = scores[~own]
    spread = float(others.std())
    return Calibration(1 / spread, -float(others.mean()) / spread)


def _log_odds(scores: np.ndarray, own: np.ndarray) -> Calibration:
    found = fit_probes(
        scores.reshape(-1, 1),
        own.reshape(-1).astype(np.int32),
        num_classes=2,
        penalties=PENALTY,
    )
    kernel, bias = (np.asarray(z)[0] for z in (found.probe.kernel, found.probe.bias))
    slope, offset = kernel[0, 1] - kernel[0, 0], bias[1] - bias[0]
    return Calibration(float(slope), float(offset))


CALIBRATIONS: Mapping[str, Callable[[np.ndarray, np.ndarray], Calibration]] = {
    "raw": lambda scores, own: Calibration(1.0, 0.0),
    "standardised": _standardised,
    "log_odds": _log_odds,
}


def calibrate_scores(name: str, search: Search) -> Calibration:
    """Choose a part's line on queries outside the test split.

    Args:
      name: of CALIBRATIONS.
      search: the i-th row of its index is the only match of its i-th query.

    Raises:
      ValueError: an unknown name, fewer than two queries, or not one row for each.
    """
    if name not in CALIBRATIONS:
        raise ValueError(
            f"calibrate_scores: unknown calibration {name!r}; there are "
            f"{', '.join(CALIBRATIONS)}."
        )
    if len(search.queries) != len(search.index) or len(search.queries) < 2:
        raise ValueError(
            "calibrate_scores: needs two or more queries and one row for each, in "
            f"order, got {len(search.queries)} and {len(search.index)}."
        )
    queries, index = (z[:MOST_ROWS].astype(np.float64) for z in search)
    scores = queries @ index.T
    return CALIBRATIONS[name](scores, np.eye(len(scores), dtype=bool))


class Parts(NamedTuple):
    """Both ways of comparing all queries with all rows, and their lines.

    Attributes:
      new: the new model's queries and rows.
      old: of the same queries and rows, through the map.
      of_new, of_old: calibrations.
    """

    new: Search
    old: Search
    of_new: Calibration
    of_old: Calibration

    def mix(self, renewed: np.ndarray) -> Search:
        """The search of an index with some rows embedded again.

        Args:
          renewed: [N] bool.

        Returns:
          Search of width D_new + D_old + 1, all scores divided by the larger slope,
          which keeps the order.
        """
        new, old = self.of_new, self.of_old
        scale = max(abs(new.slope), abs(old.slope))
        queries = np.concatenate(
            [
                np.float32(new.slope / scale) * self.new.queries,
                np.float32(old.slope / scale) * self.old.queries,
                np.ones((len(self.new.queries), 1), np.float32),
            ],
            axis=1,
        )
        chosen = renewed[:, None]
        index = np.concatenate(
            [
                np.where(chosen, self.new.index, 0),
                np.where(chosen, 0, self.old.index),
                np.where(chosen, new.offset / scale, old.offset / scale),
            ],
            axis=1,
            dtype=np.float32,
        )
        return Search(queries, index)


def renewed_rows(order: np.ndarray, share: float) -> np.ndarray:
    """[N] bool, the first share (0 to 1) of the rows in an order [N]."""
    renewed = np.zeros(len(order), bool)
    renewed[order[: round(share * len(order))]] = True
    return renewed


def open_parts(
    way: Way, map: AffineMap, test: Migration, select: Migration, calibration: str
) -> Parts:
    """Both spaces of an index, their lines chosen on the select split.

    Args:
      way: of the map.
      map: that way.
      test: the index and its queries.
      select: rows and queries of the select split alone.
      calibration: of CALIBRATIONS.
    """
    searches = (select.in_new(), way.search(select, map))
    lines = (calibrate_scores(calibration, search) for search in searches)
    return Parts(test.in_new(), way.search(test, map), *lines)


def mixed_ranks(
    parts: Parts, orders: np.ndarray, percent: float, wanted: np.ndarray
) -> np.ndarray:
    """Rank of each query's row in a mixed index, for each of some orders.

    Args:
      parts: of the index.
      orders: [S, N] rows, the first to be embedded again first.
      percent: of the rows that are embedded again.
      wanted: [Q] row that each query looks for.

    Returns:
      [S, Q] int, from 1; [1, Q] where no row is embedded again.
    """
    orders = orders if renewed_rows(orders[0], percent / 100).any() else orders[:1]
    masks = (renewed_rows(order, percent / 100) for order in orders)
    return np.stack([parts.mix(mask).ranks(wanted) for mask in masks])
