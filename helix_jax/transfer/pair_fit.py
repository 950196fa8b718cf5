"""One ridge map between two stores, with controls that do not know the pairing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from helix_jax.activations import Pair, PairStream
from helix_jax.alignment import (
    AffineMap,
    MapCard,
    Moments,
    Selection,
    accumulate,
    evaluate_map,
    fit_confidence,
    fit_ridge,
    fit_shuffled,
    identity_map,
    mean_map,
    random_orthogonal_map,
    ridge_at,
    save_map,
    score_confidence,
    select_by_gcv,
    select_penalty,
)
from helix_jax.alignment.confidence import lack_of
from helix_jax.errors import RunError
from helix_jax.map_confidence import Confidence
from helix_jax.progress import bar, stage
from helix_jax.similarity import linear_cka
from helix_jax.stats import Interval
from helix_jax.text.hashing import document_of, hashed_order
from helix_jax.types import Array


class KeptRows(NamedTuple):
    """Some pairs of a stream, chosen by a hash of their ids.

    Attributes:
      ids: [N] of the texts.
      rows: x [N, dx] and y [N, dy].
    """

    ids: list[str]
    rows: tuple[np.ndarray, np.ndarray]


class PairFit(NamedTuple):
    """The ridge map of some pairs; dictionaries are by split.

    Attributes:
      pairs, moments: of "fit", "select" and "test".
      chosen: the map whose penalty is best on the select split.
      shuffled: moments of the fit split's rows, wrongly paired; None: computed from the
        rows on request.
      kept: some rows of the select and test splits, if the pairs are streams.
    """

    pairs: Mapping[str, Pair | PairStream]
    moments: Mapping[str, Moments]
    chosen: Selection
    shuffled: Moments | None = None
    kept: Mapping[str, KeptRows] = {}

    @property
    def map(self) -> AffineMap:
        """The chosen map."""
        return self.chosen.fit.map

    def controls(self, seed: int) -> dict[str, AffineMap]:
        """Controls that do not know the pairing: shuffled, random, mean.

        With equal widths there is also identity, the unchanged source states.
        """
        rotation, shuffle = jax.random.split(jax.random.key(seed))
        penalty, moments = float(self.chosen.fit.penalty), self.moments["fit"]
        with stage("fitting the controls"):
            if self.shuffled is None:
                x, y = self.pairs["fit"].read()
                of_shuffled = fit_shuffled(x, y, key=shuffle, penalty=penalty)
            else:
                path = fit_ridge(self.shuffled, penalties=penalty)
                of_shuffled = ridge_at(path, 0).map
            controls = {
                "shuffled": of_shuffled,
                "random": random_orthogonal_map(moments, key=rotation),
                "mean": mean_map(moments),
            }
        dx, dy = self.map.widths
        if dx == dy:
            controls["identity"] = identity_map(dx, dy)
        return controls

    def confidence(self, *, constant: bool = False) -> Confidence | str:
        """The confidence of mapped rows, calibrated on the select split.

        Args:
          constant: the control, see `fit_confidence`.

        Returns:
          Confidence; if there are too few rows for one, the reason in words.
        """
        documents, rows = self._rows("select")
        if lacking := lack_of(documents):
            return f"a calibration on the select split {lacking}"
        return fit_confidence(
            self.map, self.moments["fit"], rows, documents, constant=constant
        )

    def score_confidence(self, own: Confidence, **settings: Any) -> dict[str, Interval]:
        """The evaluation of a confidence on the test split, see `score_confidence`."""
        documents, rows = self._rows("test")
        return score_confidence(own, self.map, rows, documents, **settings)

    def _rows(self, split: str) -> tuple[list[str], tuple[Array, Array]]:
        """Documents, x and y: the rows kept of a stream, or else all rows."""
        pair = self.pairs[split]
        own = self.kept[split] if isinstance(pair, PairStream) else pair
        rows = own.rows if isinstance(own, KeptRows) else own.read()
        return [document_of(text_id) for text_id in own.ids], rows

    def save(
        self,
        folder: Path,
        *,
        card: MapCard | None = None,
        confidence: Confidence | str = "",
    ) -> Path:
        """Write the map to a folder, with its provenance; see `save_map`."""
        return save_map(
            folder,
            self.map,
            source=self.pairs["fit"].x.fingerprint,
            target=self.pairs["fit"].y.fingerprint,
            penalty=float(self.chosen.fit.penalty),
            split="fit",
            card=card,
            confidence=confidence,
        )

    def numbers(self) -> dict[str, float]:
        """Numbers of the fit itself."""
        chosen, test = self.chosen, self.moments["test"]
        return {
            "fit/r2": float(evaluate_map(self.map, test).r2),
            "fit/rows": int(self.moments["fit"].count),
            "fit/penalty": float(chosen.fit.penalty),
            "fit/penalty_at_edge": int(chosen.at_edge),
            "fit/condition": float(chosen.fit.condition),
            "fit/rank": int(chosen.fit.rank),
            "fit/select_r2": float(np.asarray(chosen.r2)[int(chosen.index)]),
            "similarity/linear_cka": float(linear_cka(test)),
        }


def fit_pairs(pairs: Mapping[str, Pair]) -> PairFit:
    """Take the moments of every split, and fit.

    Raises:
      RunError: the map is not to be trusted.
    """
    moments = {split: pair_moments(pair) for split, pair in pairs.items()}
    return PairFit(pairs, moments, choose_map(moments))


def pair_moments(pair: Pair) -> Moments:
    """Moments of a pair of stores, streamed."""
    total = -(-len(pair.x) // 8192)
    return accumulate(bar(pair.rows(), "moments", total=total, unit="blocks"))


def choose_map(moments: Mapping[str, Moments]) -> Selection:
    """The ridge map of the fit split whose penalty is best on the select split.

    Raises:
      RunError: the map is not to be trusted.
    """
    with stage("fitting ridge, every penalty"):
        chosen = select_penalty(fit_ridge(moments["fit"]), moments["select"])
        chosen = jax.block_until_ready(chosen)
    return _trusted(chosen)


def gcv_map(moments: Moments) -> AffineMap:
    """The ridge map whose penalty generalised cross-validation chooses.

    Raises:
      RunError: the map is not to be trusted.
    """
    with stage("fitting ridge, every penalty"):
        chosen = jax.block_until_ready(select_by_gcv(fit_ridge(moments), moments))
    return _trusted(chosen).fit.map


def _trusted(chosen: Selection) -> Selection:
    if chosen.fit.failure:
        raise RunError(chosen.fit.failure)
    return chosen


def fit_few(pair: Pair, select: Moments, count: int, *, seed: int) -> AffineMap:
    """The ridge map of `count` rows of a pair, chosen by a hash of their ids.

    Args:
      pair: of the fit split.
      select: moments that the penalty is chosen on.
      count: of rows.
      seed: of the choice.
    """
    rows = hashed_order(pair.ids, salt=f"few-shot {seed}")[:count]
    moments = accumulate(pair.select(np.sort(rows)).rows())
    return select_penalty(fit_ridge(moments), select).fit.map
