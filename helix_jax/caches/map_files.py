"""Cache maps as artefact folders that refuse other models, layers and rotary bases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from helix_jax import checks
from helix_jax.artefacts import load_artefact, save_artefact
from helix_jax.caches.form import cache_form, model_record
from helix_jax.caches.maps import CacheMap, LayerMaps
from helix_jax.errors import ArtefactError
from helix_jax.fingerprint import check_same
from helix_jax.models import Model

KIND = "cache_map"
_FIELDS = ("layers", "kernel", "bias")


def save_cache_map(
    folder: str | os.PathLike,
    cache_map: CacheMap,
    source: Model,
    target: Model,
    *,
    made_of: Mapping[str, Any],
) -> Path:
    """Write a map with the models that it was fitted for.

    Args:
      folder: to write to; replaced as a whole.
      cache_map: between caches of the two.
      source, target: the models.
      made_of: JSON-able, its other inputs: corpus, split, pairs, penalties.

    Returns:
      The folder.

    Raises:
      FingerprintError: the map belongs to other models.
      ValueError: it holds NaN or infinity, or arrays of other shapes.
    """
    cache_map.check(source.spec, target.spec)
    cache_map.require_shapes()
    arrays = {
        f"{part}.{field}": getattr(getattr(cache_map, part), field)
        for part in ("keys", "values")
        for field in _FIELDS
    }
    for name, array in arrays.items():
        if not name.endswith("layers"):
            checks.require_finite("save_cache_map", name, array)
    fingerprints = {
        "source": model_record(source),
        "target": model_record(target),
        "made_of": dict(made_of),
    }
    return save_artefact(folder, KIND, {"fingerprints": fingerprints}, arrays)


def load_cache_map(
    folder: str | os.PathLike, source: Model, target: Model
) -> tuple[CacheMap, dict[str, Any]]:
    """Read a map for two models.

    Args:
      folder: written by `save_cache_map`.
      source, target: the models.

    Returns:
      The map, and its fingerprints {source, target, made_of}.

    Raises:
      ArtefactError: the folder is missing, damaged, or not a map of caches.
      FingerprintError: the map was fitted for other models, or for caches of other
        layers, shapes or rotary frequencies; each difference is named.
    """
    config, arrays = load_artefact(folder, KIND)
    forms = cache_form(source.spec), cache_form(target.spec)
    try:
        made_of = config["fingerprints"]
        records = {side: dict(made_of[side]) for side in ("source", "target")}
        keys, values = (
            LayerMaps(*(jnp.asarray(arrays[f"{part}.{field}"]) for field in _FIELDS))
            for part in ("keys", "values")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(
            f"{folder} is damaged: its config.json and its arrays do not make a map "
            f"of caches ({type(error).__name__}: {error}); fit it again."
        ) from error
    for (side, record), model in zip(records.items(), (source, target)):
        here = model_record(model)
        check_same(
            f"the {side} of the map in {folder}",
            _flat(record),
            f"the {side} here",
            _flat(here),
            remedy="Fit a map for these two models with experiments.caches.",
        )
    cache_map = CacheMap(keys, values, *forms)
    try:
        cache_map.require_shapes()
    except ValueError as error:
        raise ArtefactError(f"{folder} is damaged: {error} Fit it again.") from error
    return cache_map, made_of


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with each entry of the cache's form under its own name."""
    cache = record.get("cache")
    if not isinstance(cache, Mapping):
        return dict(record)
    own = {f"cache {name}": value for name, value in cache.items()}
    return {name: value for name, value in record.items() if name != "cache"} | own
