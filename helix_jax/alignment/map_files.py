"""Maps as artefact folders that refuse other models, local or on the hub."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.map_cards import MapCard, map_card
from helix_jax.alignment.maps import (
    AffineMap,
    LowRankMap,
    MlpMap,
    ResidualMap,
    ShiftMap,
    StateMap,
)
from helix_jax.arguments import takes
from helix_jax.artefacts import README, save_artefact
from helix_jax.fingerprint import check_same
from helix_jax.linalg import wide
from helix_jax.map_confidence import Confidence
from helix_jax.maps_numpy import NumpyMap, read_map

KIND = "affine_map"
KINDS = {
    KIND: AffineMap,
    "low_rank_map": LowRankMap,
    "mlp_map": MlpMap,
    "residual_map": ResidualMap,
    "shift_map": ShiftMap,
}


@takes(folder=kinds.PATH, map=kinds.MAP)
def save_map(
    folder: str | os.PathLike,
    map: StateMap,
    *,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    penalty: float | None,
    split: str,
    card: MapCard | None = None,
    confidence: Confidence | str = "",
) -> Path:
    """Write a map as an artefact folder, with a card.

    Args:
      folder: where to write it.
      map: the map, of any kind.
      source: fingerprint record of the source store.
      target: fingerprint record of the target store.
      penalty: the one it was fitted with; None if the method has none.
      split: the rows it was fitted on, such as "fit".
      card: further facts about it: data, sizes, numbers, licences.
      confidence: from `fit_confidence`; or, in words, why its rows have none.

    Returns:
      The folder.

    Raises:
      ValueError: the map holds NaN or infinity.
    """
    arrays = _arrays(map)
    for name, part in arrays.items():
        checks.require_finite("save_map", name, part)
    fingerprints = {
        "source": dict(source),
        "target": dict(target),
        "penalty": None if penalty is None else float(penalty),
        "split": split,
    }
    dx, dy = map.widths
    form = _form(map)
    config = {"dx": dx, "dy": dy, "fingerprints": fingerprints}
    if form["kind"] != KIND:
        config["form"] = form
    if card is not None:
        config["card"] = card.record()
    calibrated = None if isinstance(confidence, str) else confidence
    if calibrated is not None:
        own = calibrated.arrays()
        arrays |= {f"confidence.{name}": value for name, value in own.items()}
    elif confidence:
        config["uncalibrated"] = confidence
    text = map_card({"kind": form["kind"], **config}, confidence=calibrated)
    return save_artefact(folder, form["kind"], config, arrays, texts={README: text})


@takes(folder=kinds.PATH)
@wide
def load_map(
    folder: str | os.PathLike,
    *,
    source: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    revision: str | None = None,
) -> tuple[StateMap, dict[str, Any]]:
    """Read a map, refusing one that was fitted for other models.

    Args:
      folder: written by `save_map`, or "hub:OWNER/NAME" of one that `push_map` pushed.
      source: fingerprint record that the source must have; None accepts any.
      target: fingerprint record that the target must have; None accepts any.
      revision: branch, tag or commit, of the hub.

    Returns:
      The map, and its fingerprints {source, target, penalty, split}.

    Raises:
      ArtefactError: missing, damaged, not a map, or not available from the hub.
      FingerprintError: fitted from another source or target; names both.
    """
    found = read_map(folder, revision=revision)
    fingerprints = found.config["fingerprints"]
    for side, expected in (("source", source), ("target", target)):
        if expected is not None:
            check_same(
                f"the {side} of the map in {folder}",
                fingerprints[side],
                f"the {side} here",
                expected,
                remedy="Fit a new map for these states, or load the one made for them.",
            )
    return _build(found.map), fingerprints


def _form(map: StateMap) -> dict[str, Any]:
    """The kinds of a map and of the maps that it is made of."""
    kinds = {made: kind for kind, made in KINDS.items()}
    form: dict[str, Any] = {"kind": kinds[type(map)]}
    if isinstance(map, ResidualMap):
        form |= {"base": _form(map.base), "delta": _form(map.delta)}
    return form


def _arrays(map: StateMap) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(map)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in leaves
    }


def _build(found: NumpyMap) -> StateMap:
    parts = {
        name: _build(part) if isinstance(part, NumpyMap) else jnp.asarray(part)
        for name, part in found.parts.items()
    }
    return KINDS[found.kind](**parts)


def as_numpy(map: StateMap) -> NumpyMap:
    """The same map for numpy."""
    kinds = {made: kind for kind, made in KINDS.items()}
    parts = {
        name: as_numpy(part) if hasattr(part, "widths") else np.asarray(part)
        for name, part in vars(map).items()
    }
    return NumpyMap(kinds[type(map)], parts)
