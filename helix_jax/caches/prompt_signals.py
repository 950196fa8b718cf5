"""What is known of a prompt before its mapped cache is used.

    predicted_cosine   of mapped with native keys and values about their mean, by the
                       confidence of each layer's map, over tokens and layers
    outside            share of these that are outside the calibration
    leverage           log energy of the source's keys and values along the main
                       directions of the fit rows, in their standard deviations
    source_nats        the source's own loss on the prompt, per token
    source_tokens      tokens that the source has read
    entropy_nats       of the target's first prediction from the mapped cache
    check_nats         the target's loss on the last tokens of the prompt that are
                       mapped, from the mapped cache of those before: it reads these few

Only for the last signal has the target read any of the prompt.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.caches.maps import CacheMap
from helix_jax.caches.measures import continuation_logits
from helix_jax.caches.prompt_confidence import (
    COSINE,
    LayerConfidences,
    layer_rows,
    states_at_places,
)
from helix_jax.caches.prompts import Prompts
from helix_jax.caches.reading import mapped_cache, read_opening
from helix_jax.generation.heads import Head, head_of
from helix_jax.generation.metrics import negative_log_p
from helix_jax.generation.stitch import native
from helix_jax.map_confidence import features
from helix_jax.models import KeyValueCache, Model, ModelSpec, apply_model, empty_cache
from helix_jax.progress import Progress
from helix_jax.types import Array

CHECKED = 8  # most tokens of a prompt that the target reads for `check_nats`
FREE = (
    "predicted_cosine",
    "outside",
    "leverage",
    "source_nats",
    "source_tokens",
    "entropy_nats",
)
CHECK = "check_nats"
_POSITIONS = 32  # whose logits are held at once


def read_signals(
    models: tuple[Model, Model],
    prompts: Prompts,
    cache_map: CacheMap,
    confidences: LayerConfidences | None,
    *,
    batch: int,
    title: str = "signals of prompts",
) -> dict[str, np.ndarray]:
    """The signals of each prompt; see the top of this file.

    Args:
      models: source and target.
      prompts: N of them.
      cache_map: between their caches.
      confidences: from `calibrate_layers`; None: leave out what they predict.
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
        x = np.asarray(states_at_places(cache, cache_map, prompts))
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
    for part, layer, affine, own_x in layer_rows(cache_map, x):
        own, y_hat = confidences[part][layer], np.asarray(affine(own_x))
        predicted, _, outside = own.judge(COSINE, own_x, y_hat, coverage=0.5)
        energy = features(own, own_x, y_hat)[:, 1]
        each = (predicted, outside, energy)
        sums.append([one.reshape(batch, -1).mean(axis=1) for one in each])
    means = np.mean(np.array(sums, np.float64), axis=0)
    return dict(zip(("predicted_cosine", "outside", "leverage"), means))


def _read_source(model: Model, prompts: Prompts) -> tuple[KeyValueCache, np.ndarray]:
    """The source's cache of some prompts, and its loss [B] in nats per token."""
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
    batch, slots = tokens.shape
    cache = empty_cache(spec, batch, slots, params["embed"].dtype)
    found = apply_model(params, spec, tokens, mask, final_norm=False, cache=cache)
    return found.extended, found.hidden[0]


@jax.jit
def _losses(head: Head, states: Array, following: Array) -> Array:
    """[B, S] of states [B, S, D]; S is a multiple of _POSITIONS, see `make_prompts`."""
    blocks = states.reshape(-1, _POSITIONS, states.shape[-1])
    tokens = following.reshape(-1, _POSITIONS)
    found = jax.lax.map(
        lambda one: negative_log_p(head(one[0]), one[1]), (blocks, tokens)
    )
    return found.reshape(following.shape)
