"""The public description of a provider's linear layer: sizes, scales, policy.

Encrypted numbers are integers: a query entry is round(x 2^query_bits), a weight is
round(w 2^kernel_bits), and a result is the sum of their products, read back as a
multiple of 2^-result_bits, where result_bits = query_bits + kernel_bits. `scales.py`
chooses these bits for a provider.
"""

import dataclasses
import hashlib
import math
import struct
from collections.abc import Sequence
from functools import cached_property

import jax.numpy as jnp
import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import packing, wire
from helix_jax.private.packing import Plan
from helix_jax.private.policies import Policy
from helix_jax.private.profiles import Profile

MAX_INPUT_NORM = 1e30
MAX_RESULT_BITS = 1000  # above log2 q where results are small
_PAYLOAD = struct.Struct("<HHddBB")


def norm_margin(dtype: np.dtype) -> float:
    """The fraction of input_norm by which |x|_2 may exceed it in this dtype.

    A vector that was scaled to a norm has that norm only up to the rounding of its
    entries, of its norm and of the quotient. The margin is at least 2^-10, twice the
    largest effect of rounding to float16, so that float16 vectors that were widened
    later are covered. A narrow dtype also computes coarsely, so its margin is four
    times its eps: 2^-8 for float16, 2^-5 for bfloat16.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        return 2.0**-10
    return max(2.0**-10, 4 * float(jnp.finfo(dtype).eps))


def power_above(value: float) -> float:
    """The smallest power of two >= a non-negative value; zero for zero."""
    mantissa, exponent = math.frexp(value)
    if not value < 2.0**1023:
        return math.inf
    return math.ldexp(0.5 if mantissa == 0.5 else 1.0, exponent) if value else 0.0


@dataclasses.dataclass(frozen=True)
class Layer:
    """The public description of a linear layer.

    Attributes:
      profile: parameters of the ring.
      plan: how numbers are packed into ciphertexts.
      result_bits: log2 of the scale of results.
      query_bits: log2 of the scale of queries.
      input_norm: largest |x|_2 of a query, up to `norm_margin`.
      error: bound on the difference between a result and x W + b, before any noise
        that the policy adds. It is a power of two, so that it reveals little about the
        weights' norms. It holds for all results of a query together with probability
        1 - 2^-40, for every query that a client can encrypt, including those within
        the margin.
      policy: what an answer reveals of the results.
    """

    profile: Profile
    plan: Plan
    result_bits: int
    query_bits: int
    input_norm: float
    error: float
    policy: Policy

    @cached_property
    def binding(self) -> bytes:
        """16-byte hash of all that is needed to read a query and its answer.

        Both messages carry it. Layers whose answers may be added have the same one.
        """
        error = dataclasses.replace(self, error=0.0)
        return hashlib.sha256(error.to_bytes()).digest()[:16]

    def to_bytes(self) -> bytes:
        """The message that a client reads."""
        payload = _PAYLOAD.pack(
            self.result_bits,
            self.query_bits,
            self.input_norm,
            self.error,
            self.policy.code,
            self.policy.bits,
        )
        sizes = (self.plan.width, self.plan.classes, self.plan.tiles)
        none = bytes(16)
        return wire.write(
            "layer", self.profile, key=none, number=none, sizes=sizes, payload=payload
        )

    @classmethod
    def from_bytes(cls, data: bytes, profile: Profile) -> "Layer":
        """Read and check a provider's description.

        Raises:
          ProtocolError: it is malformed or out of bounds.
        """
        message = wire.read(data, "layer", profile, bytes(16), number=wire.UNBOUND)
        width, classes, tiles, _ = message.sizes
        wire.expect_sizes(message, (width, classes, tiles), _PAYLOAD.size)
        result, query, norm, error, code, bits = _PAYLOAD.unpack(message.payload)
        try:
            plan = packing.plan_tiles(width, classes, profile, tiles)
            policy = Policy.from_code(code, bits)
        except ValueError as wrong:
            raise ProtocolError(f"layer: {wrong}") from wrong
        most = profile.modulus.bit_length()
        if not (
            0 < query <= result <= MAX_RESULT_BITS
            and 0 < norm < MAX_INPUT_NORM
            and 0 <= error < math.inf
            and math.log2(norm) + query < most
        ):
            raise ProtocolError(
                f"layer: scales of {query} and {result} bits, inputs of norm {norm} "
                f"and errors of {error} do not fit a modulus of {most} bits."
            )
        return cls(profile, plan, result, query, norm, error, policy)


def shared_scales(layers: Sequence[Layer]) -> tuple[int, int]:
    """Scales at which several providers' answers to one query can be added.

    Args:
      layers: one per provider, of equal sizes.

    Returns:
      (query_bits, result_bits), with room for the sum.

    Raises:
      ValueError: there are none, or their sizes, profiles or input norms differ.
    """
    alike = {(one.profile, one.plan, one.input_norm, one.policy) for one in layers}
    if len(alike) != 1:
        raise ValueError(
            "shared_scales: layers need one profile, plan, input_norm and policy, got "
            f"{len(alike)} different ones."
        )
    result_bits = min(one.result_bits for one in layers)
    return (
        min(one.query_bits for one in layers),
        result_bits - math.ceil(math.log2(len(layers))),
    )
