"""Moments of several layers of both sides from one pass, and parts of them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.alignment import Moments, accumulate, from_batch, merge, select_columns
from helix_jax.errors import CorpusError

Layers = tuple[tuple[int, ...], tuple[int, ...]]  # of the source, of the target


class LayerMoments(NamedTuple):
    """Moments of some layers of each side, side by side.

    Attributes:
      joint: moments of rows [layers x width] of each side.
      layers: of the source and of the target, in the order of the columns.
    """

    joint: Moments
    layers: Layers

    def of_pair(self, source_layer: int, target_layer: int) -> Moments:
        """Moments of one layer of each side.

        Raises:
          ValueError: a layer that is not included.
        """
        return self.of_layers((source_layer,), (target_layer,))

    def of_layers(self, source: Sequence[int], target: Sequence[int]) -> Moments:
        """Moments of some layers of each side, side by side in this order.

        Raises:
          ValueError: a layer that is not included.
        """
        return select_columns(self.joint, *self.columns(source, target))

    def columns(
        self, source: Sequence[int], target: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Columns of some layers of the source, and of the target, each [n] int."""
        found = []
        for layers, of_side, columns_of_side in zip(
            (source, target), self.layers, self.joint.cov_xy.shape
        ):
            width = columns_of_side // len(of_side)
            first = [of_side.index(layer) * width for layer in layers]
            found.append((np.array(first)[:, None] + np.arange(width)).reshape(-1))
        return found[0], found[1]


def parted_layer_moments(
    pairs: TokenPairs, layers: Layers, *, parts: int, limit: int, skip: int = 0
) -> tuple[LayerMoments, ...]:
    """Moments of states of several kinds, such as keys and values, in one pass.

    Products are in float32, of centred blocks, and sums in float64: with so many
    columns the products are nearly all of the cost.

    Args:
      pairs: of sides that give these layers of every kind, one kind after the other.
      layers: of the source and of the target.
      parts: number of kinds.
      limit: of pairs; the block that reaches it is taken whole.
      skip: as for `layer_rows`.

    Returns:
      LayerMoments of each kind, between its states of both sides.
    """
    totals: list[Moments] = []
    for block in itertools.islice(pairs, -(-limit // pairs.block_rows)):
        few = pairs.block_rows - len(block.text_ids)  # pad, to avoid recompilation
        kept = np.minimum(block.position_x, block.position_y) >= skip
        weights = np.pad(kept.astype(np.float32), (0, few))
        missing = ((0, 0), (0, few), (0, 0))
        sides = [np.split(np.pad(z, missing), parts) for z in (block.x, block.y)]
        for part, (x, y) in enumerate(zip(*sides)):
            batch = from_batch(
                np.concatenate(x, axis=1),
                np.concatenate(y, axis=1),
                weights=weights,
                product_dtype="float32",
            )
            if part < len(totals):
                totals[part] = merge(totals[part], batch)
            else:
                totals.append(batch)
            jax.block_until_ready(totals[part])
    if not totals:
        raise CorpusError("the texts give no pair of tokens.")
    return tuple(LayerMoments(total, layers) for total in totals)


def layer_moments(
    pairs: TokenPairs, layers: Layers, *, limit: int, skip: int = 0
) -> LayerMoments:
    """Moments of all layers of the pairs, in one pass.

    A matrix of (layers x width)^2 float64 is held for each side: choose some layers of
    a large model, not all.

    Args:
      pairs: of sides that give these layers.
      layers: of the source and of the target.
      limit: of pairs; the block that reaches it is taken whole.
      skip: as for `layer_rows`.
    """
    return LayerMoments(accumulate(layer_rows(pairs, limit=limit, skip=skip)), layers)


def layer_rows(
    pairs: TokenPairs, *, limit: int, skip: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of all layers of each side, side by side, block by block.

    Args:
      pairs: of sides that give some layers.
      limit: of pairs, including skipped ones; the block that reaches it is taken whole.
      skip: tokens to leave out at the beginning of a text, on either side; the norm of
        the first one's states is often hundreds of times that of all others.
    """
    for block in itertools.islice(pairs, -(-limit // pairs.block_rows)):
        kept = np.minimum(block.position_x, block.position_y) >= skip
        x, y = (np.concatenate(side[:, kept], axis=1) for side in block[:2])
        yield x, y
