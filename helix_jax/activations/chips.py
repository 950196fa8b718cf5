"""Accelerators by name: memory, speed and links, as published by their makers.

Reference: cloud.google.com/tpu/docs/v5e, /v5p and /v6e (links: half of the bandwidth in
both directions); NVIDIA's data sheets of A100 80GB SXM, H100 SXM and H200 SXM (dense,
without sparsity; half of NVLink's both directions) and of the DGX machines with eight
of them (one network adapter per GPU).
"""

from typing import NamedTuple

# A TPU computes float32 products at the highest precision in six bfloat16 passes.
_PASSES = 6
NODE = 8  # GPUs of one machine, linked by NVLink


class Chip(NamedTuple):
    """One accelerator.

    Attributes:
      memory_bytes: of the device.
      usable: share that JAX takes; on GPUs XLA_PYTHON_CLIENT_MEM_FRACTION's default.
      bfloat16_flops: operations per second at its peak.
      float32_flops: the same in float32, at the precision that models run in.
      read_bytes: per second, from its memory.
      link_bytes: sent per second over all its links within its slice or machine.
      network_bytes: sent per second to other machines; None: a slice has none.
    """

    memory_bytes: float
    usable: float
    bfloat16_flops: float
    float32_flops: float
    read_bytes: float
    link_bytes: float
    network_bytes: float | None = None

    @property
    def room(self) -> float:
        """Bytes that a program may use."""
        return self.usable * self.memory_bytes

    def flops(self, dtype: str) -> float:
        """Peak operations per second of models whose weights have this dtype."""
        return self.float32_flops if dtype == "float32" else self.bfloat16_flops


CHIPS = {
    "v5e": Chip(16e9, 0.95, 197e12, 197e12 / _PASSES, 819e9, 200e9),
    "v5p": Chip(95e9, 0.95, 459e12, 459e12 / _PASSES, 2765e9, 600e9),
    "v6e": Chip(32e9, 0.95, 918e12, 918e12 / _PASSES, 1638e9, 400e9),
    "A100": Chip(80e9, 0.75, 312e12, 19.5e12, 2039e9, 300e9, 25e9),
    "H100": Chip(80e9, 0.75, 989e12, 67e12, 3350e9, 450e9, 50e9),
    "H200": Chip(141e9, 0.75, 989e12, 67e12, 4800e9, 450e9, 50e9),
}
