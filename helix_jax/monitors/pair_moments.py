"""Moments of the token states of two models at some layers, true and shuffled."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.activations.layer_moments import (
    LayerMoments,
    Layers,
    layer_moments,
    layer_rows,
)
from helix_jax.alignment import Moments, accumulate_with_shuffled
from helix_jax.generation.token_sides import TokenSides
from helix_jax.monitors.text_states import SKIPPED
from helix_jax.progress import Progress
from helix_jax.types import Array, Text

SHUFFLED = "shuffled"


class PairMoments(NamedTuple):
    """Moments of some layers of each side.

    Attributes:
      splits: "fit", "select" and "test", and "shuffled": of the fit split's rows in
        pairs that do not belong together.
    """

    splits: Mapping[str, LayerMoments]

    def of_pair(self, source_layer: int, target_layer: int) -> dict[str, Moments]:
        """The moments of one layer of each side, of every split and shuffled."""
        return {
            name: own.of_pair(source_layer, target_layer)
            for name, own in self.splits.items()
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name, for a file."""
        return {
            f"{name}.{field}": np.asarray(value)
            for name, own in self.splits.items()
            for field, value in own.joint._asdict().items()
        }

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, np.ndarray], layers: Layers
    ) -> "PairMoments":
        """Moments from what `arrays` returned."""
        splits = dict.fromkeys(name.partition(".")[0] for name in arrays)
        return cls(
            {
                name: LayerMoments(
                    Moments(*(arrays[f"{name}.{field}"] for field in Moments._fields)),
                    layers,
                )
                for name in splits
            }
        )


def read_pair_moments(
    sides: TokenSides,
    texts: Mapping[str, Sequence[Text]],
    layers: Layers,
    *,
    limits: Mapping[str, int],
    max_tokens: int,
    key: Array,
) -> PairMoments:
    """Moments of raw residual streams without first tokens, in one pass per split.

    Args:
      sides: both models.
      texts: by split, "fit", "select" and "test".
      layers: of the source and of the target.
      limits: token pairs of each split.
      max_tokens: longer texts are truncated.
      key: jax.random key of the shuffled pairs.
    """
    splits = {}
    for split, some in texts.items():
        with Progress(f"token states, {split} split", unit="texts read") as shown:
            pairs = sides.pairs(
                some,
                shown,
                layers=layers,
                normed=(False, False),
                max_tokens=max_tokens,
                block_rows=min(4096, limits[split]),
            )
            settings = {"limit": limits[split], "skip": SKIPPED}
            if split == "fit":
                rows = layer_rows(pairs, **settings)
                both = accumulate_with_shuffled(rows, key=key)
                splits[split], splits[SHUFFLED] = (
                    LayerMoments(joint, layers) for joint in both
                )
            else:
                splits[split] = layer_moments(pairs, layers, **settings)
    return PairMoments(splits)
