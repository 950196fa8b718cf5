"""Maps between the token states of two models, fitted on pairs of their tokens.

    ridge   the closed form, from the moments of the pairs
    kl      trained from ridge to minimise KL(target || mapped) of the next token, both
            read through the target's frozen head
    mlp     trained likewise, with a small network added to ridge

Reference: ridge: arXiv 2603.18908; kl and mlp: ours.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.alignment import (
    AffineMap,
    GradientFit,
    Moments,
    Selection,
    StateMap,
    accumulate_with_shuffled,
    affine_rates,
    fit_confidence,
    fit_gradient,
    fit_ridge,
    kl_loss,
    mean_map,
    random_orthogonal_map,
    residual_affine,
    residual_mlp,
    ridge_at,
    to_affine,
)
from helix_jax.alignment.confidence import lack_of
from helix_jax.choices import TOKEN_MAPS
from helix_jax.errors import CorpusError
from helix_jax.generation.heads import Head
from helix_jax.map_confidence import Confidence
from helix_jax.progress import stage
from helix_jax.text.hashing import document_of
from helix_jax.types import Array

Rows = tuple[np.ndarray, np.ndarray]
CALIBRATION = 8192  # pairs of the select split that confidences are calibrated on


class PairSample(NamedTuple):
    """The data kept from the pairs of a split.

    Attributes:
      moments: of the pairs.
      shuffled: of pairs whose targets were permuted within each block.
      rows: x [N, dx] and y [N, dy] float32 of the pairs whose tokens end at the same
        character, or None.
      text_ids: [n] of the first pairs, at most CALIBRATION.
      first: x [n, dx] and y [n, dy] of these.
    """

    moments: Moments
    shuffled: Moments
    rows: Rows | None
    text_ids: np.ndarray
    first: Rows


class TokenMap(NamedTuple):
    """A fitted map.

    Attributes:
      map: of the requested method.
      ridge: the ridge map and its penalty, from which the others start.
      controls: uninformed maps by name.
      moments: of the fit pairs.
      descent: the training of kl or mlp; None for ridge.
      trained_pairs: pairs that it was trained on.
      confidence: of mapped rows, calibrated on the first pairs of the select split; or
        why there is none.
    """

    map: StateMap
    ridge: Selection
    controls: dict[str, AffineMap]
    moments: Moments
    descent: GradientFit | None
    trained_pairs: int
    confidence: Confidence | str

    @property
    def numbers(self) -> dict[str, float]:
        """Numbers of the fit, for a summary."""
        fit = self.ridge.fit
        numbers = {
            "fit/pairs": int(self.moments.count),
            "fit/penalty": float(fit.penalty),
            "fit/condition": float(fit.condition),
            "fit/select_r2": float(np.asarray(self.ridge.r2)[int(self.ridge.index)]),
        }
        if self.descent is None:
            return numbers
        return numbers | {
            "fit/select_kl_nats": float(self.descent.loss),
            "fit/epochs": int(self.descent.epoch),
            "fit/trained_pairs": self.trained_pairs,
        }


def fit_token_map(
    ridge: Selection,
    fit: PairSample,
    select: PairSample,
    *,
    method: str = "ridge",
    head: Head | None = None,
    hidden: int = 1024,
    key: Array,
    descend: Callable[..., GradientFit] = fit_gradient,
) -> TokenMap:
    """Fit the map of a method, which starts from ridge, and the controls.

    Args:
      ridge: of the moments of both samples, see `select_penalty`.
      fit: pairs of the fit split; with their rows for kl and mlp.
      select: the same, of the select split.
      method: one of TOKEN_MAPS.
      head: of the target, which reads mapped states; for kl and mlp.
      hidden: width of the network of mlp.
      key: three jax.random keys [3], of the rotation among the controls, of the
        network's start and of the order of the rows.
      descend: `fit_gradient` with its settings.

    Raises:
      ValueError: as `refine_map`.
    """
    with stage("fitting the controls"):
        controls = token_controls(fit, penalty=float(ridge.fit.penalty), key=key[0])
    fitted: StateMap = ridge.fit.map
    descent: GradientFit | None = None
    if method != "ridge":
        fitted, descent = refine_map(
            ridge.fit.map,
            fit,
            select,
            method=method,
            head=head,
            hidden=hidden,
            key=key[1:],
            descend=descend,
        )
    documents = [document_of(text_id) for text_id in select.text_ids.tolist()]
    confidence: Confidence | str
    if lacking := lack_of(documents):
        confidence = f"a calibration on the select split {lacking}"
    else:
        confidence = fit_confidence(fitted, fit.moments, select.first, documents)
    trained = 0 if descent is None or fit.rows is None else len(fit.rows[0])
    return TokenMap(fitted, ridge, controls, fit.moments, descent, trained, confidence)


def sample_pairs(
    pairs: TokenPairs, limit: int, *, key: Array, keep_rows: bool
) -> PairSample:
    """Read the first pairs of a stream, once.

    Args:
      pairs: of one layer of each side.
      limit: pairs to read.
      key: jax.random key of the shuffled pairs.
      keep_rows: keep the rows whose tokens end at the same character, up to
        N (dx + dy) floats, which kl and mlp read again; otherwise memory holds one
        block.

    Raises:
      CorpusError: the texts give no pair.
    """
    first: list[tuple[np.ndarray, ...]] = []
    kept: list[Rows] = []

    def passing() -> Iterator[Rows]:
        left, wanted = limit, min(limit, CALIBRATION)
        for block in pairs:
            x, y = block.x[0][:left], block.y[0][:left]
            if wanted > 0:
                first.append((block.text_ids[:wanted], x[:wanted], y[:wanted]))
            if keep_rows:
                same = block.end_x[:left] == block.end_y[:left]
                kept.append((x[same], y[same]))
            yield x, y
            left, wanted = left - len(x), wanted - len(x)
            if left <= 0:
                return
        if not first:
            raise CorpusError("the texts give no pair of tokens.")

    moments = accumulate_with_shuffled(passing(), key=key)
    ids, x, y = map(np.concatenate, zip(*first))
    rows = None
    if keep_rows:
        x_kept, y_kept = map(np.concatenate, zip(*kept))
        rows = x_kept, y_kept
    return PairSample(*moments, rows, ids, (x, y))


def token_controls(
    fit: PairSample, *, penalty: float, key: Array
) -> dict[str, AffineMap]:
    """The uninformed controls.

    Args:
      fit: pairs of the fit split.
      penalty: relative, as chosen for the true pairs.
      key: jax.random key of the rotation.

    Returns:
      "mean", "shuffled" (ridge on pairs that do not belong together), "random" (a
      rotation).
    """
    return {
        "mean": mean_map(fit.moments),
        "shuffled": ridge_at(fit_ridge(fit.shuffled, penalties=penalty), 0).map,
        "random": random_orthogonal_map(fit.moments, key=key),
    }


def refine_map(
    ridge: AffineMap,
    fit: PairSample,
    select: PairSample,
    *,
    method: str,
    head: Head | None,
    hidden: int,
    key: Array,
    descend: Callable[..., GradientFit] = fit_gradient,
) -> tuple[StateMap, GradientFit]:
    """Train a map, starting from ridge, to match the predictions of the target's head.

    The rows are pairs whose tokens end at the same character. Where the source has read
    further than the target, it knows a part of the next token, and the target's
    prediction cannot be matched: 5% of the pairs of Gemma 3 270M and SmolLM2 are of
    this kind, and they had 30% of ridge's divergence.

    Args:
      ridge: the map to start from.
      fit: pairs to fit on, with their rows.
      select: pairs that the best epoch is chosen on, with their rows.
      method: "kl" or "mlp".
      head: of the target, which reads mapped states.
      hidden: width of the network of "mlp".
      key: two jax.random keys [2], of the network's start and of the order of the rows.
      descend: `fit_gradient` with its settings.

    Returns:
      The map, which is affine for "kl", and the descent.

    Raises:
      ValueError: the method is unknown, a sample has no rows, or there is no head.
    """
    if method not in TOKEN_MAPS[1:]:
        raise ValueError(f"refine_map: method must be kl or mlp, got {method!r}.")
    if fit.rows is None or select.rows is None:
        raise ValueError("refine_map: needs the rows; sample pairs with keep_rows.")
    if head is None:
        raise ValueError(
            f"refine_map: {method} needs the target's head; give head=head_of(target)."
        )
    start = (
        residual_affine(ridge)
        if method == "kl"
        else residual_mlp(key[0], fit.moments, ridge, hidden=hidden)
    )
    descent = descend(
        start,
        fit.rows,
        select.rows,
        loss=kl_loss(head),
        key=key[1],
        rates=affine_rates(fit.moments) if method == "kl" else None,
    )
    return to_affine(descent.map) if method == "kl" else descent.map, descent
