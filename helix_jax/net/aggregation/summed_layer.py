"""The layer that the sum of several providers' answers belongs to."""

import dataclasses
from collections.abc import Mapping

from helix_jax.errors import RunError
from helix_jax.private import Layer, shared_scales
from helix_jax.private.layer import power_above


def summed_layer(offers: Mapping[str, Layer], shared: Mapping[str, bool]) -> Layer:
    """What a client reads the sum with: the providers' layer, their errors added.

    Args:
      offers: provider's name -> what it publishes of its layer.
      shared: provider's name -> whether it was told its scales.

    Returns:
      Layer.

    Raises:
      RunError: there are fewer than two, they cannot be added, or not at these scales;
        says which to set.
    """
    if len(offers) < 2:
        raise RunError(
            f"a sum needs two providers or more, got {len(offers)}: a single answer "
            "would be opened unchanged."
        )
    layers = list(offers.values())
    if any(layer.policy.name == "label" for layer in layers):
        raise RunError(
            "answers of the policy 'label' cannot be added; use another policy."
        )
    try:
        query_bits, result_bits = shared_scales(layers)
    except ValueError as wrong:
        said = "; ".join(f"{name} has {_told(one)}" for name, one in offers.items())
        raise RunError(
            f"these layers cannot be added: {said}. Set the same input_norm, profile "
            "and policy, for kernels of one shape."
        ) from wrong
    if not all(shared.values()) or len({layer.binding for layer in layers}) > 1:
        raise RunError(
            "the providers' scales differ, or leave no room for a sum: set query_bits "
            f"= {query_bits} and result_bits = {result_bits} of the head in the "
            "settings of each."
        )
    return dataclasses.replace(
        layers[0], error=power_above(sum(layer.error for layer in layers))
    )


def _told(layer: Layer) -> str:
    plan = layer.plan
    return (
        f"{plan.width} x {plan.classes} in {plan.tiles} tiles, input_norm "
        f"{layer.input_norm:g}, {layer.profile.name}, {layer.policy}"
    )
