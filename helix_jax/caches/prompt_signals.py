"""What can be known of a prompt before its mapped cache is trusted.

    predicted_cosine   of mapped with native keys and values about their mean, by the
                       confidence of each layer's map, over tokens and layers
    outside            share of these that are unlike all rows of the calibration
    leverage           log energy of the source's keys and values along the main
                       directions of the fit rows, in their standard deviations
    source_nats        the source's own loss on the prompt, a token
    source_tokens      tokens that the source has read
    entropy_nats       of the target's first prediction from the mapped cache
    check_nats         the target's loss on the last tokens of the prompt that are
                       mapped, from the mapped cache of those before: it reads these few

The target has not read the prompt for any of them, but for the last.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
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
from helix_jax.caches.measures import continuation_logits
from helix_jax.caches.prompts import Prompts
from helix_jax.caches.reading import mapped_cache, read_native, read_opening
from helix_jax.caches.states import cache_states
from helix_jax.generation.heads import Head, head_of
from helix_jax.generation.metrics import negative_log_p
from helix_jax.generation.stitch import native
from helix_jax.linalg import spectrum_of
from helix_jax.map_confidence import Confidence, features
from helix_jax.models import KeyValueCache, Model, ModelSpec, apply_model, empty_cache
from helix_jax.progress import Progress, bar
from helix_jax.text.hashing import document_of
from helix_jax.types import Array

COSINE = "centred_cosine"
CHECKED = 8  # tokens of a prompt that the target reads for `check_nats`, at most
FREE = ("predicted_cosine", "outside", "leverage", "source_nats", "source_tokens")
FREE = (*FREE, "entropy_nats")
CHECK = "check_nats"
_POSITIONS = 32  # whose logits are held at once
LayerConfidences = Mapping[str, Sequence[Confidence]]  # "keys", "values" -> [L']


def layer_directions(
    moments: CacheMoments, cache_map: CacheMap
) -> dict[str, list[Confidence]]:
    """What the confidence of each target layer's maps needs of the fit rows.

    Args:
      moments: of the fit split.
      cache_map: whose source layers count.

    Returns:
      "keys", "values" -> L' confidences that predict nothing yet.
    """
    found = {}
    for part in PARTS:
        own, spectra, found[part] = getattr(moments, part), {}, []
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
      directions: of `layer_directions`.
      cache_map: with these source layers.
      models: source and target.
      prompts: of the select split.
      batch: prompts at a time.

    Returns:
      "keys", "values" -> L' confidences; None where there are too few documents.
    """
    mapped = prompts.places.shape[1]
    documents = np.repeat([document_of(name) for name in prompts.ids], mapped).tolist()
    if lack_of(documents):
        return None
    rows: dict[str, list[np.ndarray]] = {"x": [], "y": []}
    for some, count in prompts.batches(batch):
        cache, _ = _read_source(models[0], some)
        own = read_native(models[1], some, room=0)
        y = cache_states(own, cache_map.target)
        y = y[:, :, some.opening : some.opening + mapped]
        for name, states in (("x", _at_places(cache, cache_map, some)), ("y", y)):
            rows[name].append(np.asarray(states)[:, :count])
    x, y = (np.concatenate(rows[name], axis=1) for name in "xy")
    y = y.reshape(len(y), -1, y.shape[-1])
    found = {part: [] for part in PARTS}
    for part, layer, affine, own_x in _layers_of(cache_map, x):
        own_y = y[PARTS.index(part) * cache_map.target.layers + layer]
        one = calibrate_confidence(
            directions[part][layer], affine, (own_x, own_y), documents
        )
        found[part].append(one)
    return found


def read_signals(
    models: tuple[Model, Model],
    prompts: Prompts,
    cache_map: CacheMap,
    confidences: LayerConfidences | None,
    *,
    batch: int,
    title: str = "signals of prompts",
) -> dict[str, np.ndarray]:
    """The signals of each prompt, see the head of this file.

    Args:
      models: source and target.
      prompts: N of them.
      cache_map: between their caches.
      confidences: of `calibrate_layers`; None leaves out what they predict.
      batch: prompts at a time.
      title: of the progress.

    Returns:
      name -> [N] float64, of FREE and CHECK.
    """
    parts = []
    with Progress(title, total=len(prompts.ids), unit="prompts") as shown:
        for some, count in prompts.batches(batch):
            found = _signals(models, some, cache_map, confidences)
            parts.append({name: np.asarray(v)[:count] for name, v in found.items()})
            shown.update(count)
    return {
        name: np.concatenate([part[name] for part in parts]).astype(np.float64)
        for name in parts[0]
    }


def _signals(
    models: tuple[Model, Model],
    prompts: Prompts,
    cache_map: CacheMap,
    confidences: LayerConfidences | None,
) -> dict[str, np.ndarray]:
    source, target = models
    cache, nats = _read_source(source, prompts)
    found: dict[str, np.ndarray] = {}
    if confidences is not None:
        x = np.asarray(_at_places(cache, cache_map, prompts))
        found |= _confidence_signals(cache_map, confidences, x)
    found |= {"source_nats": nats, "source_tokens": prompts.source_mask.sum(axis=1)}
    room = prompts.closing
    opening = read_opening(target, prompts, room=room)
    closing = jnp.asarray(prompts.target[:, -prompts.closing :])
    logits = continuation_logits(
        target.params,
        mapped_cache(cache_map, cache, opening, prompts),
        closing,
        spec=target.spec,
    )
    log_p = jax.nn.log_softmax(logits[:, -1])
    found["entropy_nats"] = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    checked = min(CHECKED, prompts.places.shape[1] // 2)
    if checked:
        fewer = prompts._replace(places=prompts.places[:, :-checked])
        tokens = jnp.asarray(prompts.target[:, -(prompts.closing + checked) :])
        logits = continuation_logits(
            target.params,
            mapped_cache(cache_map, cache, opening, fewer),
            tokens[:, :-1],
            spec=target.spec,
        )
        flat = logits.reshape(-1, logits.shape[-1])
        lost = negative_log_p(flat, tokens[:, 1:].reshape(-1))
        found[CHECK] = lost.reshape(len(tokens), -1).mean(axis=1)
    return found


def _confidence_signals(
    cache_map: CacheMap, confidences: LayerConfidences, x: np.ndarray
) -> dict[str, np.ndarray]:
    """Means over tokens, parts and layers of source states [2 L, B, T, K D_head]."""
    batch, sums = x.shape[1], []
    for part, layer, affine, own_x in _layers_of(cache_map, x):
        own, y_hat = confidences[part][layer], np.asarray(affine(own_x))
        predicted, _, outside = own.judge(COSINE, own_x, y_hat, coverage=0.5)
        energy = features(own, own_x, y_hat)[:, 1]
        each = (predicted, outside, energy)
        sums.append([one.reshape(batch, -1).mean(axis=1) for one in each])
    means = np.mean(np.array(sums, np.float64), axis=0)
    return dict(zip(("predicted_cosine", "outside", "leverage"), means))


def _layers_of(cache_map: CacheMap, x: np.ndarray):
    """(part, target layer, its map, its rows [B T, k K D_head]) of source states."""
    for number, part in enumerate(PARTS):
        maps: LayerMaps = getattr(cache_map, part)
        own = x[number * cache_map.source.layers :]
        layers = np.asarray(maps.layers).tolist()
        for layer, chosen in enumerate(layers):
            rows = np.concatenate([own[one] for one in chosen], axis=-1)
            affine = AffineMap(maps.kernel[layer], maps.bias[layer])
            yield part, layer, affine, rows.reshape(-1, rows.shape[-1])


def _at_places(cache: KeyValueCache, cache_map: CacheMap, prompts: Prompts) -> Array:
    """[2 L, B, T, K D_head] source states that stand for the mapped tokens."""
    states = cache_states(cache, cache_map.source)
    return jnp.take_along_axis(
        states, jnp.asarray(prompts.places)[None, :, :, None], axis=2
    )


def _read_source(model: Model, prompts: Prompts) -> tuple[KeyValueCache, np.ndarray]:
    """The source's cache of some prompts, and its loss [B] in nats a token."""
    tokens, mask = jnp.asarray(prompts.source), jnp.asarray(prompts.source_mask)
    cache, states = _read(model.params, tokens, mask, spec=model.spec)
    following = jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)))
    nats = np.asarray(_losses(head_of(native(model).target), states, following))
    counted = np.asarray(mask)[:, 1:]
    lost = (nats[:, :-1] * counted).sum(axis=1)
    return cache, lost / np.maximum(counted.sum(axis=1), 1)


@partial(jax.jit, static_argnames="spec")
def _read(
    params: Mapping, tokens: Array, mask: Array, *, spec: ModelSpec
) -> tuple[KeyValueCache, Array]:
    cache = empty_cache(spec, *tokens.shape, params["embed"].dtype)
    found = apply_model(params, spec, tokens, mask, final_norm=False, cache=cache)
    return found.cache, found.hidden[0]


@jax.jit
def _losses(head: Head, states: Array, following: Array) -> Array:
    """[B, S] of states [B, S, D]; S is a multiple of _POSITIONS, see `make_prompts`."""
    blocks = states.reshape(-1, _POSITIONS, states.shape[-1])
    tokens = following.reshape(-1, _POSITIONS)
    found = jax.lax.map(
        lambda one: negative_log_p(head(one[0]), one[1]), (blocks, tokens)
    )
    return found.reshape(following.shape)
