"""The origin of states: a model and one of its layers, with checks for mismatches."""

from collections.abc import Mapping
from typing import Any

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.fingerprint import check_same
from helix_jax.models import Model, resolve_layers

Place = Mapping[str, Any]  # JSON-able: model, weights, layer


@takes(model=kinds.MODEL, layer=kinds.COUNT)
def place_of(model: Model, layer: int) -> dict[str, Any]:
    """The raw residual stream of a model at a layer.

    Args:
      model: the model.
      layer: 0 is the embedding, i the output of block i, -1 the last.

    Returns:
      model, weights and the layer, counted from the embedding.

    Raises:
      ValueError: the model has no such layer.
    """
    (layer,) = resolve_layers(model.spec, (layer,))
    record = model.fingerprint
    return {"model": record["model"], "weights": record["weights"], "layer": layer}


def require_place(what: str, own: Place, where: str, wanted: Place) -> None:
    """Raise FingerprintError unless states are those that something was made for.

    Args:
      what: the thing, for the message.
      own: the place that it was made for.
      where: the place where it is used, for the message.
      wanted: the place there.
    """
    check_same(
        what,
        own,
        where,
        wanted,
        remedy="Find the direction, or fit the maps, for this model and layer.",
    )
