"""What a provider publishes about its linear layer: sizes, scales, policy.

Numbers are integers under encryption: a query entry is round(x 2^query_bits), a weight
round(w 2^kernel_bits), a result is the sum of their products, read back as multiples of
2^-result_bits, result_bits = query_bits + kernel_bits. By Cauchy and Schwarz a result
is at most |x|_2 |w|_2 + |b|, and that times 2^result_bits must stay below q / 2. The
split balances the two errors: rounding of the weights against noise and flood.

|x|_2 may be input_norm and, for rounding, NORM_MARGIN of it more. Everything that is
bounded here is bounded for such queries: results, errors, and the noise of "rounded".
The flood hides errors of encryption, on which the size of a query has no influence.
"""

import dataclasses
import math
import struct
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import answer_words, flooding, packing, sampling, wire
from helix_jax.private.packing import Plan
from helix_jax.private.policies import Policy
from helix_jax.private.profiles import Profile
from helix_jax.private.weights import measure_kernel
from helix_jax.types import Array

NORM_MARGIN = 2.0**-5
"""Share of input_norm by which any query may exceed it, see `norm_margin`."""
MAX_INPUT_NORM = 1e30
MAX_RESULT_BITS = 1000  # above log2 q where results are small
_PAYLOAD = struct.Struct("<HHddBB")


def norm_margin(dtype: np.dtype) -> float:
    """Share of input_norm by which |x|_2 may exceed it in this dtype.

    A vector that was scaled to a norm has it up to the rounding of its entries, of its
    norm and of the quotient. 2^-10 is twice what rounding to float16 can do, so that it
    covers vectors of float16 that were widened since; of a narrow dtype itself, whose
    arithmetic is as coarse, four times its eps: 2^-8 for float16, 2^-5 for bfloat16.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        return 2.0**-10
    return max(2.0**-10, 4 * float(jnp.finfo(dtype).eps))


@dataclasses.dataclass(frozen=True)
class Layer:
    """The public description of a linear layer.

    Attributes:
      profile: parameters of the ring.
      plan: where numbers lie.
      result_bits: log2 of the scale of results.
      query_bits: log2 of the scale of queries.
      input_norm: largest |x|_2 of a query, but for `norm_margin`.
      error: a result is this near to x W + b, but for policies that add to it; holds
        for all results of a query together with probability 1 - 2^-40, for every query
        that a client encrypts, those within the margin too.
      policy: what an answer shows of the results.
    """

    profile: Profile
    plan: Plan
    result_bits: int
    query_bits: int
    input_norm: float
    error: float
    policy: Policy

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
        message = wire.read(data, "layer", profile, key=bytes(16))
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


@dataclasses.dataclass(frozen=True)
class Scales:
    """How the bits of q are spent.

    Attributes:
      query_bits, kernel_bits: log2 of the two scales.
      flood_bits: log2 R of the flood; 0 where there is none.
      error: see `Layer`.
    """

    query_bits: int
    kernel_bits: int
    flood_bits: int
    error: float

    @property
    def result_bits(self) -> int:
        """log2 of the scale of results."""
        return self.query_bits + self.kernel_bits


def choose_scales(
    kernel: Array,
    bias: np.ndarray,
    *,
    input_norm: float,
    plan: Plan,
    profile: Profile,
    policy: Policy,
    shared: tuple[int, int] | None = None,
) -> Scales:
    """The scales of least error, or those that several providers share.

    Args:
      kernel: [d, k] real, read in blocks of columns.
      bias: [k] float64.
      input_norm: largest |x|_2.
      plan: of the layer.
      profile: of the ring.
      policy: "order" and "rounded" need room of their own.
      shared: (query_bits, result_bits) from `shared_scales`, instead of one's own.

    Raises:
      ValueError: the weights are too large, or too unequal, for the modulus.
    """
    width, degree = plan.width, plan.degree
    input_norm = input_norm * (1 + NORM_MARGIN)
    sizes = measure_kernel(kernel)
    columns = np.sqrt(sizes.squares)
    reach = input_norm * max(columns.max(), 1e-30) + np.abs(bias).max()
    # Half of q, less 1/16 for floods and noise.
    room = math.log2(profile.modulus) - 1 - 0.1 - policy.extra_bits
    result_bits = min(math.floor(room - math.log2(reach)), MAX_RESULT_BITS)
    norms = packing.answer_norms(sizes.sums, plan, order=1)
    lengths = packing.answer_norms(sizes.squares, plan, order=2)
    if profile.guarded:
        # The flood's standard deviation, R / sqrt 3, over 2^result_bits.
        per_query = sampling.ERROR_BOUND * float(np.linalg.norm(norms))
        per_query *= 2.0**profile.statistical_bits
    else:
        per_query = math.sqrt(sampling.ERROR_VARIANCE) * lengths.max()
    per_kernel = input_norm / math.sqrt(12)
    per_query = max(per_query, 1e-30)
    query_bits = round((result_bits + math.log2(per_query / per_kernel)) / 2)
    query_bits = max(min(query_bits, result_bits - 1), 1)
    largest = max(sizes.largest, 1e-30)
    most = math.floor(60 - math.log2(largest))
    kernel_bits = min(result_bits - query_bits, most)
    query_bits = min(result_bits - kernel_bits, 100)
    if shared is not None:
        if shared[1] > query_bits + kernel_bits or shared[1] - shared[0] > most:
            raise ValueError(
                f"shared results of {shared[1]} bits are more than the "
                f"{query_bits + kernel_bits} of this layer; take shared_scales of all."
            )
        query_bits, kernel_bits = shared[0], shared[1] - shared[0]
    if min(kernel_bits, query_bits) <= 0:
        raise ValueError(
            f"the layer's results reach {reach:.3g}, too much for the {room:.0f} bits "
            f"of profile {profile.name!r}: scale inputs or weights down, or declare a "
            "smaller input_norm."
        )
    result_bits = query_bits + kernel_bits
    weights = width * plan.rows  # of an answer, each rounded by at most 1/2
    bits = 0
    if profile.guarded:
        shift = flooding.shift_bound(norms * 2.0**kernel_bits + weights, degree)
        shift *= 2.0**policy.scale_bits
        bits = flooding.flood_bits(shift, profile.statistical_bits)
        bits = max(bits, policy.flood_bits(reach, result_bits))
    elif policy.name != "logits":
        raise ValueError(
            f"policy {policy.name!r} needs a guarded profile; {profile.name!r} hides "
            "nothing."
        )
    if 2.0 ** (bits + 1) > profile.modulus / policy.flood_share:
        raise ValueError(
            f"the flood needs {bits + 2} bits of the {profile.modulus.bit_length()} of "
            f"profile {profile.name!r}: classes are too many or weights too unequal."
        )
    rounding = math.sqrt(width) * input_norm * 2.0 ** (-kernel_bits - 1)
    # Rounding of the query (of its weights' integers too) and of the bias.
    noise = (math.sqrt(width) * columns.max() * 2.0**kernel_bits + width) / 2 + 1
    # Errors of the query: sums of fair bits, so sub-Gaussian of their variance.
    length = lengths.max() * 2.0**kernel_bits + math.sqrt(weights)
    noise += _tail(plan) * math.sqrt(sampling.ERROR_VARIANCE) * length
    if profile.guarded:
        noise += 2.0 ** (bits + 1) + sampling.ERROR_BOUND * (2 * degree + 1)
    # Shorter words: each number of an answer is off by at most half a word, those of
    # c1 against a ternary secret: sub-Gaussian of variance proxy (1/4)(2/3) N.
    noise += profile.modulus * 2.0**-50  # phases are opened as float64
    if profile.rounded:
        word = profile.modulus / answer_words.WORD
        noise += word * (0.5 + _tail(plan) * math.sqrt(degree / 6))
    error = float(rounding + noise * 2.0**-result_bits)
    return Scales(query_bits, kernel_bits, bits, error)


def _tail(plan: Plan) -> float:
    """Standard deviations that one sub-Gaussian term of any result exceeds with
    probability below 2^-41."""
    return math.sqrt(2 * (math.log(2 * plan.classes) + 41 * math.log(2)))


def shared_scales(layers: Sequence[Layer]) -> tuple[int, int]:
    """Scales at which several providers' answers to one query can be added.

    Args:
      layers: one of each provider, of equal sizes.

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
