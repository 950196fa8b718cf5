"""How the bits of the modulus are spent: scales of least error, the flood, the error.

By Cauchy and Schwarz a result is at most |x|_2 |w|_2 + |b|, and that times
2^result_bits must stay below q / 2. The split of result_bits balances the two errors:
rounding of the weights against noise and flood.

|x|_2 may exceed input_norm by the fraction NORM_MARGIN, for rounding. All bounds here
cover such queries: results, errors, and the noise of "rounded". The flood hides errors
of encryption, which do not depend on the size of a query.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from helix_jax.private import answer_words, encryption, flooding, packing, sampling
from helix_jax.private.layer import MAX_RESULT_BITS
from helix_jax.private.packing import Plan
from helix_jax.private.policies import LABEL_BITS, Policy
from helix_jax.private.profiles import Profile
from helix_jax.private.weights import measure_kernel
from helix_jax.types import Array

NORM_MARGIN = 2.0**-5
"""The fraction of input_norm by which any query may exceed it, see `norm_margin`."""


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


class _Sizes(NamedTuple):
    """What the scales depend on.

    Attributes:
      input_norm: largest |x|_2 of a query, including the margin.
      column: largest |w|_2 of a class.
      weight: largest |w|.
      reach: bound of any result.
      sums: [answers] largest sum of |w| in an answer.
      lengths: [answers] largest |w|_2 in an answer.
    """

    input_norm: float
    column: float
    weight: float
    reach: float
    sums: np.ndarray
    lengths: np.ndarray


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
    """Choose the scales with the least error, or take those that providers share.

    Args:
      kernel: [d, k] real, read in blocks of columns.
      bias: [k] float64.
      input_norm: largest |x|_2.
      plan: of the layer.
      profile: of the ring.
      policy: "rounded" needs extra room.
      shared: (query_bits, result_bits) from `shared_scales`, to use instead.

    Raises:
      ValueError: the weights are too large, or too unequal, for the modulus.
    """
    sizes = _measure(kernel, bias, input_norm * (1 + NORM_MARGIN), plan)
    split = _split(sizes, profile, policy, shared)
    flood_bits = _flood(sizes, split, plan, profile, policy)
    error = _error(sizes, split, flood_bits, plan, profile)
    if policy.name == "label":
        error += float(profile.modulus * 2.0 ** (-LABEL_BITS - sum(split)))
    return Scales(*split, flood_bits, error)


def _measure(kernel: Array, bias: np.ndarray, input_norm: float, plan: Plan) -> _Sizes:
    kernel_sizes = measure_kernel(kernel)
    column = np.sqrt(kernel_sizes.squares).max()
    return _Sizes(
        input_norm,
        column,
        max(kernel_sizes.largest, 1e-30),
        input_norm * max(column, 1e-30) + np.abs(bias).max(),
        packing.answer_norms(kernel_sizes.sums, plan, order=1),
        packing.answer_norms(kernel_sizes.squares, plan, order=2),
    )


def _split(
    sizes: _Sizes, profile: Profile, policy: Policy, shared: tuple[int, int] | None
) -> tuple[int, int]:
    """log2 of the scales of the query and of the weights.

    Raises:
      ValueError: results are too large for the modulus, or for the shared scales.
    """
    # Half of q, less about 1/16 for floods and noise.
    room = math.log2(profile.modulus) - 1 - 0.1 - policy.extra_bits
    result_bits = min(math.floor(room - math.log2(sizes.reach)), MAX_RESULT_BITS)
    if profile.guarded:
        # The flood's standard deviation, R / sqrt 3, over 2^result_bits.
        per_query = sampling.ERROR_BOUND * float(np.linalg.norm(sizes.sums))
        per_query *= 2.0**profile.statistical_bits
    else:
        per_query = math.sqrt(sampling.ERROR_VARIANCE) * sizes.lengths.max()
    per_kernel = sizes.input_norm / math.sqrt(12)
    per_query = max(per_query, 1e-30)
    query_bits = round((result_bits + math.log2(per_query / per_kernel)) / 2)
    query_bits = max(min(query_bits, result_bits - 1), 1)
    most = math.floor(60 - math.log2(sizes.weight))
    kernel_bits = min(result_bits - query_bits, most)
    query_bits = min(result_bits - kernel_bits, 100)
    if shared is not None:
        if shared[1] > query_bits + kernel_bits or shared[1] - shared[0] > most:
            raise ValueError(
                f"shared results of {shared[1]} bits are more than the "
                f"{query_bits + kernel_bits} of this layer; take shared_scales of all "
                "layers."
            )
        query_bits, kernel_bits = shared[0], shared[1] - shared[0]
    if min(kernel_bits, query_bits) <= 0:
        raise ValueError(
            f"the layer's results reach {sizes.reach:.3g}, too much for the {room:.0f} "
            f"bits of profile {profile.name!r}: scale inputs or weights down, or "
            "declare a smaller input_norm."
        )
    return query_bits, kernel_bits


def _flood(
    sizes: _Sizes, split: tuple[int, int], plan: Plan, profile: Profile, policy: Policy
) -> int:
    """log2 R of the flood that hides the errors of encryption; 0 if nothing is hidden.

    Raises:
      ValueError: there is no room for the flood, or the policy needs a guarded profile.
    """
    flood_bits = 0
    if policy.name == "label" and profile.guarded:
        return 0  # uniform offsets hide everything
    if profile.guarded:
        largest = sizes.sums * 2.0 ** split[1] + _rounded_weights(plan)
        shift = flooding.shift_bound(largest, profile)
        flood_bits = flooding.flood_bits(shift, profile.statistical_bits)
        flood_bits = max(flood_bits, policy.flood_bits(sizes.reach, sum(split)))
    elif policy.name != "logits":
        raise ValueError(
            f"policy {policy.name!r} needs a guarded profile; {profile.name!r} hides "
            "nothing."
        )
    noise = 2.0 ** (flood_bits + 1)
    if (
        noise > profile.modulus / policy.flood_share
        or sizes.reach * 2.0 ** sum(split) + noise > profile.modulus / 2
    ):
        raise ValueError(
            f"the flood needs {flood_bits + 2} bits of the "
            f"{profile.modulus.bit_length()} of profile {profile.name!r}: there are "
            "too many classes, or weights are too unequal."
        )
    return flood_bits


def _error(
    sizes: _Sizes, split: tuple[int, int], flood_bits: int, plan: Plan, profile: Profile
) -> float:
    """Bound on the distance of a result from x W + b, see `Layer.error`."""
    kernel_bits, result_bits = split[1], sum(split)
    root = math.sqrt(plan.width)
    rounding = root * sizes.input_norm * 2.0 ** (-kernel_bits - 1)
    # Rounding of the query, times the rounded weights, and of the bias.
    noise = (root * sizes.column * 2.0**kernel_bits + plan.width) / 2 + 1
    # Errors of the query: sums of fair bits, so sub-Gaussian with their variance.
    length = sizes.lengths.max() * 2.0**kernel_bits + math.sqrt(_rounded_weights(plan))
    noise += _tail(plan) * math.sqrt(sampling.ERROR_VARIANCE) * length
    if profile.guarded:
        noise += 2.0 ** (flood_bits + 1) + encryption.zeros_noise(plan.degree)
    noise += profile.modulus * 2.0**-50  # phases are opened as float64
    # Shorter words: each number of an answer is off by at most half a word. Those of
    # c1 multiply a ternary secret: sub-Gaussian with variance proxy (1/4)(2/3) N.
    if profile.rounded:
        word = profile.modulus / answer_words.WORD
        noise += word * (0.5 + _tail(plan) * math.sqrt(plan.degree / 6))
    return float(rounding + noise * 2.0**-result_bits)


def _rounded_weights(plan: Plan) -> int:
    """How many weights, each rounded by at most 1/2, an answer contains."""
    return plan.width * plan.rows


def _tail(plan: Plan) -> float:
    """The deviation, in standard deviations, that a sub-Gaussian term stays within.

    One term of all results exceeds it with probability below 2^-41.
    """
    return math.sqrt(2 * (math.log(2 * plan.classes) + 41 * math.log(2)))
