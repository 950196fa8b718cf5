"""A linear layer in the form that its provider uses: checked, scaled, transformed."""

import math
from typing import NamedTuple

import numpy as np

from helix_jax.private import evaluation, flooding, packing, residues
from helix_jax.private.labels import shares
from helix_jax.private.layer import MAX_INPUT_NORM, Layer, power_above
from helix_jax.private.policies import Policy
from helix_jax.private.profiles import Profile
from helix_jax.private.scales import Scales, choose_scales
from helix_jax.private.self_test import require_exact
from helix_jax.private.weights import Weights
from helix_jax.types import Array


class PreparedLayer(NamedTuple):
    """What answers are computed from.

    Attributes:
      layer: its public description.
      scales: of its numbers.
      weights: transformed, part by part.
      bias: [A, L, r] int64, residues; transformed where the profile does not round.
    """

    layer: Layer
    scales: Scales
    weights: Weights
    bias: np.ndarray

    @property
    def answer_bits(self) -> float:
        """Bits of the weights that one query's answer can carry; 0 for public weights.

        The bound holds whatever the client has encrypted: see `flooding`, and `shares`
        for labels.
        """
        profile = self.layer.profile
        if not profile.guarded:
            return 0.0
        if self.layer.policy.name == "label":
            return math.log2(self.layer.plan.classes)
        bits = flooding.carried_bits(self.scales.flood_bits, profile)
        return self.layer.plan.classes * bits


def check_layer(kernel: Array, bias: Array | None) -> tuple[Array, np.ndarray]:
    """Weights [d, k] that can be read in slices, and biases [k].

    Raises:
      ValueError: their shapes do not fit, or biases are not finite.
      TypeError: biases are not real numbers.
    """
    if not hasattr(kernel, "shape"):
        kernel = np.asarray(kernel)
    if len(kernel.shape) != 2:
        raise ValueError(
            f"Provider: kernel needs shape [d, k], got {list(kernel.shape)}."
        )
    bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias)
    if bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"Provider: bias needs shape [{kernel.shape[1]}], got {list(bias.shape)}."
        )
    return kernel, packing.check_rows("Provider: bias", bias[None], kernel.shape[1])[0]


def prepare_layer(
    kernel: Array,
    bias: np.ndarray,
    *,
    input_norm: float,
    profile: Profile,
    policy: str | None,
    minimise: str,
    tiles: int | None,
    shared: tuple[int, int] | None,
    weights_bytes: int,
    scales: Scales | None,
) -> PreparedLayer:
    """Choose scales and transform weights.

    Args:
      kernel, bias: from `check_layer`.
      profile: of the ring.
      input_norm, policy, minimise, tiles, shared, weights_bytes, scales: as in
        `Provider`.

    Raises:
      ValueError: a value or a size is not allowed.
      RuntimeError: the device computes wrongly, see `self_test`.
    """
    if not 0 < input_norm < MAX_INPUT_NORM:
        raise ValueError(
            f"Provider: input_norm must be positive and below {MAX_INPUT_NORM:g}, "
            f"got {input_norm}."
        )
    parsed = Policy.of(profile) if policy is None else Policy.parse(policy)
    require_exact(profile)
    width, classes = kernel.shape
    if tiles is None:
        plan = packing.plan_layer(width, classes, profile, minimise=minimise)
    else:
        plan = packing.plan_tiles(width, classes, profile, tiles)
    scales = scales or choose_scales(
        kernel,
        bias,
        input_norm=input_norm,
        plan=plan,
        profile=profile,
        policy=parsed,
        shared=shared,
    )
    layer = Layer(
        profile,
        plan,
        scales.result_bits,
        scales.query_bits,
        float(input_norm),
        power_above(scales.error),
        parsed,
    )
    if parsed.name == "label":
        _check_labels(layer)
    weights = Weights(kernel, scales.kernel_bits, plan, profile, weights_bytes)
    # All parts of answers have the same shape, so they share one compiled function.
    used = np.zeros((len(weights) * plan.part, plan.rows))
    used.reshape(-1)[: plan.classes] = bias
    own = residues.scaled_residues(used, scales.result_bits, profile)
    if not profile.rounded:
        own = evaluation.transform_bias(own, plan=plan, profile=profile)
    return PreparedLayer(layer, scales, weights, own)


def _check_labels(layer: Layer) -> None:
    """Refuse layers that are too small or too large for labels."""
    shares.count_transfers(layer, 1)
    if layer.plan.classes < 2:
        raise ValueError("Provider: labels need 2 classes or more, got 1.")
