"""The time that a layer computes on a mesh, and the time that its devices communicate.

A layer has N tokens on each device. It takes c seconds of computation per token, r
seconds per token of collectives that the next product waits for (all-reduces), g
seconds to gather the next layer's kernels, and w seconds to read them from memory:

    seconds = max((c + r) N, g, w)        share of the peak = c N / seconds

A mixture of experts reads an expert's kernels for each block of tokens that it takes
(`models/experts.py`), b seconds per token of a large batch: the formula then has
max(c, b) in place of c, except in the share. Experts are taken to be chosen evenly.

So with `tensor` the share is at most c / (c + r), whatever the batch, and with `fsdp`
it grows with the batch until N = g / c.

Links: the axes in use share the links of a TPU evenly, as on a torus with wrap-around
  links (a v5e or v6e slice has them if a side is 16). GPUs of one machine use NVLink;
  an axis that spans machines sends through the network adapters of its devices in each,
  the last axes being the closest (`mesh.AXES`). Latency, what XLA adds, and reading of
  states are left out: the result is a lower bound.

Reference: bytes of a ring all-reduce: Patarasuk and Yuan 2009,
  doi:10.1016/j.jpdc.2008.09.002.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from helix_jax.activations.chips import NODE, Chip
from helix_jax.activations.planning import flops_per_token
from helix_jax.models import ModelSpec
from helix_jax.models.mesh import AXES
from helix_jax.models.traffic import (
    block_bytes,
    forward_traffic,
    layer_bytes,
    ring_bytes,
)

LARGE = 2**20  # tokens of a device whose blocks of experts are nearly full


class LayerTime(NamedTuple):
    """Seconds of one layer, averaged over all layers.

    Attributes:
      computing: c, per token of a device, at the peak speed.
      reducing: r, per token of a device, of collectives that are waited for.
      gathering: g, of its kernels.
      reading: w, of its kernels.
      blocks: b, per token of a device, of reading experts for each block of tokens.
    """

    computing: float
    reducing: float
    gathering: float
    reading: float
    blocks: float = 0.0

    @property
    def token(self) -> float:
        """Seconds per token of a large batch."""
        return max(self.computing, self.blocks) + self.reducing

    def seconds(self, tokens: float) -> float:
        """Seconds of a layer with this many tokens on each device."""
        return max(self.token * tokens, self.gathering, self.reading)

    def share(self, tokens: float) -> float:
        """The largest share of the peak speed that this many tokens can reach."""
        return self.computing * tokens / self.seconds(tokens)

    def tokens_for(self, share: float) -> float | None:
        """Tokens on each device that reach a share of the peak; None if none do."""
        if self.computing < share * self.token:
            return None
        return share * max(self.gathering, self.reading) / self.computing


def layer_time(
    spec: ModelSpec, sizes: Mapping[str, int], chip: Chip, *, dtype: str, length: int
) -> LayerTime:
    """The times of a layer on a mesh of an accelerator.

    Args:
      spec: the architecture.
      sizes: of the mesh's axes.
      chip: from CHIPS.
      dtype: of the weights.
      length: tokens of a text, for its attention.
    """
    traffic = forward_traffic(spec, sizes, tokens=LARGE, dtype=dtype)
    waited = ahead = 0.0
    for one in traffic:
        sent = one.share * one.times * ring_bytes(one, sizes[one.axis])
        seconds = sent / axis_speed(chip, sizes, one.axis)
        if one.ahead:
            ahead += seconds
        else:
            waited += seconds / LARGE
    flops = flops_per_token(spec, length) / sizes.get("tensor", 1)
    return LayerTime(
        flops / spec.num_layers / chip.flops(dtype),
        waited / spec.num_layers,
        ahead / spec.num_layers,
        layer_bytes(spec, sizes, dtype) / chip.read_bytes,
        block_bytes(spec, sizes, dtype) / chip.read_bytes,
    )


def axis_speed(chip: Chip, sizes: Mapping[str, int], axis: str) -> float:
    """Bytes per second that a device sends along an axis."""
    if chip.network_bytes is None:
        return chip.link_bytes / sum(size > 1 for size in sizes.values())
    closer = math.prod(sizes.get(name, 1) for name in AXES[AXES.index(axis) + 1 :])
    inside = max(1, min(sizes[axis], NODE // closer))
    if inside == sizes[axis]:
        return chip.link_bytes
    return min(chip.link_bytes, inside * chip.network_bytes)
