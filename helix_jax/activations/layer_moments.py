"""Moments of several layers of both sides from one pass, and those of any two."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.alignment import Moments, accumulate, select_columns

Layers = tuple[tuple[int, ...], tuple[int, ...]]  # of the source, of the target


class LayerMoments(NamedTuple):
    """Moments of some layers of each side, beside each other.

    Attributes:
      joint: of rows [layers x width] of each side.
      layers: of the source and of the target, in the order of the columns.
    """

    joint: Moments
    layers: Layers

    def of_pair(self, source_layer: int, target_layer: int) -> Moments:
        """Moments of one layer of each side.

        Raises:
          ValueError: a layer that was not taken.
        """
        columns = []
        for layer, of_side, columns_of_side in zip(
            (source_layer, target_layer), self.layers, self.joint.cov_xy.shape
        ):
            width, place = columns_of_side // len(of_side), of_side.index(layer)
            columns.append(slice(place * width, (place + 1) * width))
        return select_columns(self.joint, *columns)


def layer_moments(
    pairs: TokenPairs, layers: Layers, *, limit: int, skip: int = 0
) -> LayerMoments:
    """Moments of all layers of the pairs, in one pass.

    A matrix of (layers x width)^2 float64 is held for each side: take some layers of a
    large model, not all.

    Args:
      pairs: of sides that give these layers.
      layers: of the source and of the target.
      limit: of pairs; those of the block that reaches it are all taken.
      skip: as for `layer_rows`.
    """
    return LayerMoments(accumulate(layer_rows(pairs, limit=limit, skip=skip)), layers)


def layer_rows(
    pairs: TokenPairs, *, limit: int, skip: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of all layers of each side beside each other, block by block.

    Args:
      pairs: of sides that give some layers.
      limit: of pairs, those that are skipped among them; those of the block that
        reaches it are all taken.
      skip: tokens at the beginning of a text that are left out, on either side: the
        first one's states are often hundreds of times as long as all others.
    """
    for block in itertools.islice(pairs, -(-limit // pairs.block_rows)):
        kept = np.minimum(block.position_x, block.position_y) >= skip
        yield tuple(np.concatenate(side[:, kept], axis=1) for side in block[:2])
