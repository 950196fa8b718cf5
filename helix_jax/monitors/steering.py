"""A model whose states are changed at one layer while it reads and writes.

    steered   h <- h + alpha s v / |v|     s: a length, see `dosed`
    ablated   h <- h - (h - m) V V'        V: orthonormal, m: mean of the states

Such a model is stitched to itself by a map: blocks 1..i, the map, blocks i+1..L and the
head. So `generate` writes its texts and `likelihood` gives its likelihoods; there is no
second decoder.

Reference: adding a vector: Turner et al. 2023, arXiv 2308.10248, section 2; ablation of
  a direction: Arditi et al. 2024, arXiv 2406.11717, section 2.4, here about the mean.
"""

from collections.abc import Sequence

import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment import LowRankMap, ResidualMap, ShiftMap, StateMap
from helix_jax.arguments import takes
from helix_jax.generation.stitch import Stitch, stitch
from helix_jax.models import Model
from helix_jax.types import Array


@takes(model=kinds.MODEL, edit=kinds.MAP, layer=kinds.COUNT)
def edited(model: Model, layer: int, edit: StateMap) -> Stitch:
    """A model whose states at a layer go through a map of their own space.

    Args:
      model: a decoder with a head.
      layer: of the residual stream, 0 the embedding, -1 the last.
      edit: from its width to its width, such as from `shift_by` or `ablation`.

    Returns:
      A stitch of the model with itself, for `generate`, `continuation_nats`, ...

    Raises:
      ValueError: a layer that does not exist, a map of another width, an encoder, or a
        model without a head.
    """
    width = model.spec.width
    checks.require_width("edited", "the edit's input", edit.widths[0], width)
    return stitch(
        model,
        model,
        edit,
        source_layer=layer,
        target_layer=layer,
        source_norm=False,
        target_norm=False,
    )


def shift_by(vector: Array) -> ShiftMap:
    """The map that adds a vector [D] to every state."""
    return ShiftMap(np.asarray(vector, np.float32))


def dosed(vector: Array, scale: float, alpha: float) -> np.ndarray:
    """A vector of length alpha * scale, in the direction of another.

    Args:
      vector: [D] float, not zero.
      scale: a length of that space, such as the distance between the mean states of a
        class and the rest. (A state's own length is no guide: most of it may be the
        same for all texts.)
      alpha: share of that.

    Returns:
      [D] float32.

    Raises:
      ValueError: a vector of zeros, or NaN, which has no direction.
    """
    vector = np.asarray(vector, np.float64)
    length = np.linalg.norm(vector)
    if not 0 < length < np.inf:
        raise ValueError(
            f"dosed: a vector of length {length:g} has no direction; was its map "
            "fitted, and does its class differ from the rest?"
        )
    return (alpha * scale / length * vector).astype(np.float32)


def ablation(directions: Sequence[Array], mean: Array) -> ResidualMap:
    """The map that sets the components along some directions to their mean.

    Args:
      directions: k vectors [D], not all zero; their span is ablated.
      mean: [D] of the states.

    Returns:
      ResidualMap of width D.

    Raises:
      ValueError: no directions, or another width.
    """
    mean = np.asarray(mean, np.float64)
    rows = np.atleast_2d(np.asarray(directions, np.float64))
    checks.require_width("ablation", "directions", rows.shape[1], len(mean))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    _, sizes, basis = np.linalg.svd(rows / np.where(lengths > 0, lengths, 1), False)
    # Zero columns where they span less, so that any k have the same shape.
    basis = np.where(sizes > 1e-9, basis.T, 0)  # [D, k]
    if not basis.any():
        raise ValueError("ablation: the directions are all zero; nothing to ablate.")
    back = (mean @ basis) @ basis.T
    nothing = ShiftMap(np.zeros(len(mean), np.float32))
    parts = (part.astype(np.float32) for part in (basis, -basis.T, back))
    return ResidualMap(nothing, LowRankMap(*parts))


def without(vector: Array, other: Array) -> np.ndarray:
    """The part of a vector [D] that is orthogonal to another one: [D] float64."""
    vector, other = (np.asarray(one, np.float64) for one in (vector, other))
    return vector - other * (vector @ other) / (other @ other)


def cosine(vector: Array, other: Array) -> float:
    """Cosine of two vectors [D]."""
    vector, other = (np.asarray(one, np.float64) for one in (vector, other))
    return float(vector @ other / (np.linalg.norm(vector) * np.linalg.norm(other)))


def random_vectors(count: int, width: int, *, seed: int) -> np.ndarray:
    """[count, width] float64 vectors of length one, of uniform direction: controls."""
    drawn = np.random.default_rng(seed).standard_normal((count, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
