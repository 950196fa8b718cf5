"""Maps as artefact folders that refuse other models."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.maps import (
    AffineMap,
    LowRankMap,
    MlpMap,
    ResidualMap,
    StateMap,
)
from helix_jax.arguments import takes
from helix_jax.artefacts import load_artefact, save_artefact
from helix_jax.errors import ArtefactError
from helix_jax.fingerprint import check_same
from helix_jax.linalg import wide

KIND = "affine_map"
KINDS = {
    KIND: AffineMap,
    "low_rank_map": LowRankMap,
    "mlp_map": MlpMap,
    "residual_map": ResidualMap,
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
) -> Path:
    """Write a map as an artefact folder.

    Args:
      folder: where.
      map: the map, of any kind.
      source: fingerprint record of the source store.
      target: fingerprint record of the target store.
      penalty: the one it was fitted with; None where the method has none.
      split: the rows it was fitted on, such as "fit".

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
    return save_artefact(folder, form["kind"], config, arrays)


@takes(folder=kinds.PATH)
@wide
def load_map(
    folder: str | os.PathLike,
    *,
    source: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
) -> tuple[StateMap, dict[str, Any]]:
    """Read a map, refusing one that was fitted for other models.

    Args:
      folder: written by `save_map`.
      source: fingerprint record that the source must have; None accepts any.
      target: fingerprint record that the target must have; None accepts any.

    Returns:
      The map, and its fingerprints {source, target, penalty, split}.

    Raises:
      ArtefactError: missing, damaged, or not a map.
      FingerprintError: fitted from another source or target; names both.
    """
    config, arrays = load_artefact(folder, KINDS)
    try:
        fingerprints = config["fingerprints"]
        sides = {side: fingerprints[side] for side in ("source", "target")}
        built = _build(config.get("form", {"kind": config["kind"]}), arrays)
        widths = config["dx"], config["dy"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(
            f"{folder} is damaged: its config.json and its arrays do not make a map "
            f"({type(error).__name__}: {error}); fit it again."
        ) from error
    if built.widths != widths:
        raise ArtefactError(
            f"{folder} is damaged: its arrays map {built.widths}, its config.json says "
            f"{widths}; fit it again."
        )
    for side, expected in (("source", source), ("target", target)):
        if expected is not None:
            check_same(
                f"the {side} of the map in {folder}",
                sides[side],
                f"the {side} here",
                expected,
                remedy="Fit a new map for these states, or load the one made for them.",
            )
    return built, fingerprints


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


def _build(form: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> StateMap:
    made = KINDS[form["kind"]]
    if made is not ResidualMap:
        return made(**{name: jnp.asarray(value) for name, value in arrays.items()})
    parts = {
        part: _build(
            form[part],
            {
                name.removeprefix(f"{part}."): value
                for name, value in arrays.items()
                if name.startswith(f"{part}.")
            },
        )
        for part in ("base", "delta")
    }
    return ResidualMap(**parts)
