"""How near mapped keys and values are to native ones: a confidence for each layer.

The maps to each target layer, of keys and of values, get the confidence of
`alignment.confidence`: the main directions of the source's states come from the moments
of the fit split, a regression and its margins from prompts of the select split, which
both models read.
"""

from collections.abc import Iterator, Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import AffineMap
from helix_jax.alignment.confidence import (
    calibrate_confidence,
    lack_of,
    main_directions,
)
from helix_jax.caches.fit import PARTS, CacheMoments
from helix_jax.caches.maps import CacheMap, LayerMaps
from helix_jax.caches.prompts import Prompts
from helix_jax.caches.reading import read_native, read_source
from helix_jax.caches.states import cache_states
from helix_jax.linalg import spectrum_of
from helix_jax.map_confidence import Confidence
from helix_jax.models import KeyValueCache, Model
from helix_jax.progress import bar
from helix_jax.text.hashing import document_of
from helix_jax.types import Array

COSINE = "centred_cosine"
LayerConfidences = Mapping[str, Sequence[Confidence]]  # "keys", "values" -> [L']


def layer_directions(
    moments: CacheMoments, cache_map: CacheMap
) -> dict[str, list[Confidence]]:
    """What the confidence of each target layer's maps needs from the fit rows.

    Args:
      moments: of the fit split.
      cache_map: whose source layers are used.

    Returns:
      "keys", "values" -> L' confidences that are not calibrated yet.
    """
    found: dict[str, list[Confidence]] = {part: [] for part in PARTS}
    for part in PARTS:
        own, spectra = getattr(moments, part), {}
        chosen = np.asarray(getattr(cache_map, part).layers).tolist()
        for layer, layers in enumerate(bar(chosen, f"main directions of {part}")):
            joint = own.of_layers(layers, (layer,))
            key = tuple(layers)
            if key not in spectra:
                spectra[key] = spectrum_of(joint.cov_xx)
            found[part].append(main_directions(joint, spectrum_x=spectra[key]))
    return found


def calibrate_layers(
    directions: LayerConfidences,
    cache_map: CacheMap,
    models: tuple[Model, Model],
    prompts: Prompts,
    *,
    batch: int,
) -> dict[str, list[Confidence]] | None:
    """The confidence of each target layer's maps, on prompts that both models read.

    Args:
      directions: from `layer_directions`.
      cache_map: with these source layers.
      models: source and target.
      prompts: of the select split.
      batch: prompts at a time.

    Returns:
      "keys", "values" -> L' confidences; None if there are too few documents.
    """
    mapped = prompts.places.shape[1]
    documents = np.repeat([document_of(name) for name in prompts.ids], mapped).tolist()
    if lack_of(documents):
        return None
    rows: dict[str, list[np.ndarray]] = {"x": [], "y": []}
    for some, count in prompts.batches(batch):
        cache = read_source(models[0], some)
        own = read_native(models[1], some, room=0)
        y = cache_states(own, cache_map.target)
        y = y[:, :, some.opening : some.opening + mapped]
        for name, states in (("x", states_at_places(cache, cache_map, some)), ("y", y)):
            rows[name].append(np.asarray(states)[:, :count])
    x, y = (np.concatenate(rows[name], axis=1) for name in "xy")
    y = y.reshape(len(y), -1, y.shape[-1])
    found: dict[str, list[Confidence]] = {part: [] for part in PARTS}
    for part, layer, affine, own_x in layer_rows(cache_map, x):
        own_y = y[PARTS.index(part) * cache_map.target.layers + layer]
        one = calibrate_confidence(
            directions[part][layer], affine, (own_x, own_y), documents
        )
        found[part].append(one)
    return found


def layer_rows(
    cache_map: CacheMap, x: np.ndarray
) -> Iterator[tuple[str, int, AffineMap, np.ndarray]]:
    """(part, target layer, its map, its rows [B T, k K D_head]) of source states."""
    for number, part in enumerate(PARTS):
        maps: LayerMaps = getattr(cache_map, part)
        own = x[number * cache_map.source.layers :]
        layers = np.asarray(maps.layers).tolist()
        for layer, chosen in enumerate(layers):
            rows = np.concatenate([own[one] for one in chosen], axis=-1)
            affine = AffineMap(maps.kernel[layer], maps.bias[layer])
            yield part, layer, affine, rows.reshape(-1, rows.shape[-1])


def states_at_places(
    cache: KeyValueCache, cache_map: CacheMap, prompts: Prompts
) -> Array:
    """[2 L, B, T, K D_head] source states that stand for the mapped tokens."""
    states = cache_states(cache, cache_map.source)
    return jnp.take_along_axis(
        states, jnp.asarray(prompts.places)[None, :, :, None], axis=2
    )
