"""The time a layer computes on a mesh, and the time its devices communicate.

For a layer with N tokens on each device, c seconds of computation a token, r seconds of
collectives a token that the next product waits for (all-reduces), g seconds to gather
the next layer's kernels, or w to read them from memory:

    seconds = max((c + r) N, g, w)        share of the peak = c N / seconds

A mixture of experts reads an expert's kernels for each block of tokens that it takes
(`models/experts.py`), b seconds a token of a large batch: max(c, b) instead of c,
except in the share. Experts count as evenly chosen.

So by `tensor` the share is c / (c + r) at most, whatever the batch, and by `fsdp` it
grows with the batch until N = g / c.

Links: the axes in use share those of a TPU evenly, as on a torus with wrap-around
links (a v5e or v6e slice has them where a side is 16). GPUs of one machine use NVLink;
an axis that leaves the machine sends through the network adapters of its devices there,
the last axes being the closest (`mesh.AXES`). Latency, what XLA adds, and reading of
states are left out: the result is a lower bound.

Reference: the ring's bytes: Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002.
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

LARGE = 2**20  # tokens of a device, whose blocks of experts are all but full


class LayerTime(NamedTuple):
    """Seconds of one layer, averaged over all.

    Attributes:
      computing: at the peak, a token of a device: c.
      reducing: of collectives that are waited for, a token of a device: r.
      gathering: of its kernels: g.
      reading: of its kernels: w.
      blocks: of reading experts for each block of tokens, a token of a device: b.
    """

    computing: float
    reducing: float
    gathering: float
    reading: float
    blocks: float = 0.0

    @property
    def token(self) -> float:
        """Seconds of a token of a batch that is large enough."""
        return max(self.computing, self.blocks) + self.reducing

    def seconds(self, tokens: float) -> float:
        """Of a layer with so many tokens on each device."""
        return max(self.token * tokens, self.gathering, self.reading)

    def share(self, tokens: float) -> float:
        """Share of the peak that is reached at most."""
        return self.computing * tokens / self.seconds(tokens)

    def tokens_for(self, share: float) -> float | None:
        """Tokens on each device for a share of the peak; None if no number suffices."""
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
    """Bytes a second that a device sends along an axis."""
    if chip.network_bytes is None:
        return chip.link_bytes / sum(size > 1 for size in sizes.values())
    closer = math.prod(sizes.get(name, 1) for name in AXES[AXES.index(axis) + 1 :])
    inside = max(1, min(sizes[axis], NODE // closer))
    if inside == sizes[axis]:
        return chip.link_bytes
    return min(chip.link_bytes, inside * chip.network_bytes)
