"""Accelerators by name: memory and peak speed, as their makers publish them.

Reference: cloud.google.com/tpu/docs/v5e, /v5p and /v6e; NVIDIA's data sheets of A100
80GB SXM, H100 SXM and H200 SXM (dense, without sparsity).
"""

from typing import NamedTuple

# Of float32 products at the highest precision: a TPU takes six passes of bfloat16.
_PASSES = 6


class Chip(NamedTuple):
    """One accelerator.

    Attributes:
      memory_bytes: of the device.
      usable: share that JAX takes; on GPUs XLA_PYTHON_CLIENT_MEM_FRACTION's default.
      bfloat16_flops: operations a second at its peak.
      float32_flops: the same in float32, at the precision that models run in.
    """

    memory_bytes: float
    usable: float
    bfloat16_flops: float
    float32_flops: float

    @property
    def room(self) -> float:
        """Bytes that a program may use."""
        return self.usable * self.memory_bytes

    def flops(self, dtype: str) -> float:
        """Peak operations a second of models whose weights have this dtype."""
        return self.float32_flops if dtype == "float32" else self.bfloat16_flops


CHIPS = {
    "v5e": Chip(16e9, 0.95, 197e12, 197e12 / _PASSES),
    "v5p": Chip(95e9, 0.95, 459e12, 459e12 / _PASSES),
    "v6e": Chip(32e9, 0.95, 918e12, 918e12 / _PASSES),
    "A100": Chip(80e9, 0.75, 312e12, 19.5e12),
    "H100": Chip(80e9, 0.75, 989e12, 67e12),
    "H200": Chip(141e9, 0.75, 989e12, 67e12),
}
