"""Stitches from every layer of the source to every layer of the target.

    moments = read_layer_moments(sides, texts, shown, layers, limit=N, max_tokens=T)
    score_layers(sides, pair, ridge, {split: moments.of_pair(*pair)}, texts, ...)

States are taken before the final norm.

Reference: stitching in the middle: Bansal et al. 2021, arXiv 2106.07682.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from helix_jax.activations.layer_moments import LayerMoments, Layers, layer_moments
from helix_jax.alignment import FitResult, Moments, evaluate_map, mean_map
from helix_jax.generation.metrics import teacher_forced
from helix_jax.generation.scores import generation_scores
from helix_jax.generation.stitch import stitch
from helix_jax.generation.token_sides import TokenSides
from helix_jax.progress import Progress, stage
from helix_jax.stats import Interval
from helix_jax.types import Array, Text


def read_layer_moments(
    sides: TokenSides,
    texts: Sequence[Text],
    shown: Progress,
    layers: Layers,
    *,
    limit: int,
    max_tokens: int,
) -> LayerMoments:
    """Moments of the token states of all layers, from one pass through both models.

    Args:
      sides: both models.
      texts: to read.
      shown: progress, which counts them.
      layers: of the source and of the target.
      limit: of token pairs, as for `layer_moments`.
      max_tokens: longer texts are truncated.
    """
    pairs = sides.pairs(
        texts,
        shown,
        layers=layers,
        normed=(False, False),
        max_tokens=max_tokens,
        block_rows=min(8192, limit),
    )
    return layer_moments(pairs, layers, limit=limit)


def score_layers(
    sides: TokenSides,
    pair: tuple[int, int],
    ridge: FitResult,
    moments: Mapping[str, Moments],
    texts: Sequence[Text],
    *,
    key: Array,
    max_tokens: int,
    resamples: int,
) -> dict[str, float | Interval]:
    """All measures of a stitch between two layers.

    Args:
      sides: both models.
      pair: layers of the source and of the target.
      ridge: the map between them.
      moments: of the two layers, on the "fit" and "test" splits.
      texts: of the test split, scored teacher-forced.
      key: jax.random key of the controls.
      max_tokens: longer texts are truncated.
      resamples: of the bootstrap over documents.

    Returns:
      The numbers of `generation_scores`, test/r2, fit/pairs and fit/penalty.
    """
    source_layer, target_layer = pair
    parts = stitch(
        *sides.models,
        ridge.map,
        source_layer=source_layer,
        target_layer=target_layer,
        source_norm=False,
        target_norm=False,
    )
    with Progress("scoring a pair of layers", unit="texts read") as shown:
        scored = teacher_forced(
            parts,
            sides.models[1],
            *sides.tokenizers,
            partial(shown.over, texts),
            controls={"mean": mean_map(moments["fit"])},
            key=key,
            max_tokens=max_tokens,
            one_shape=True,
        )
    with stage("intervals over documents"):
        scores = generation_scores(scored, resamples=resamples, by_position=False)
    return scores | {
        "test/r2": float(evaluate_map(ridge.map, moments["test"]).r2),
        "fit/pairs": int(moments["fit"].count),
        "fit/penalty": float(ridge.penalty),
    }
