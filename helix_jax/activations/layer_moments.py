"""Moments of several layers of both sides from one pass, and those of any two."""

import itertools
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


def layer_moments(pairs: TokenPairs, layers: Layers, *, limit: int) -> LayerMoments:
    """Moments of all layers of the pairs, in one pass.

    A matrix of (layers x width)^2 float64 is held for each side: take some layers of a
    large model, not all.

    Args:
      pairs: of sides that give these layers.
      layers: of the source and of the target.
      limit: of pairs; those of the block that reaches it are all taken.
    """
    blocks = itertools.islice(pairs, -(-limit // pairs.block_rows))
    joint = accumulate(
        (np.concatenate(block.x, axis=1), np.concatenate(block.y, axis=1))
        for block in blocks
    )
    return LayerMoments(joint, layers)
