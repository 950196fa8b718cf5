"""A prompt read by the target itself, or taken over through a map of caches."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.caches import CacheMap, LayerMaps, cache_form, map_cache
from helix_jax.models import KeyValueCache, Model, apply_model, empty_cache


def random_map(source: Model, target: Model, layers: int) -> CacheMap:
    """A random map with the shape of a fitted one."""
    x, y = cache_form(source.spec), cache_form(target.spec)
    count = min(layers or x.layers, x.layers)
    rng = np.random.default_rng(0)

    def part() -> LayerMaps:
        own = [rng.permutation(x.layers)[:count] for _ in range(y.layers)]
        shape = (y.layers, count * x.width, y.width)
        kernel = rng.normal(size=shape).astype(np.float32) / (count * x.width) ** 0.5
        return LayerMaps(
            jnp.asarray(np.array(own, np.int32)),
            jnp.asarray(kernel),
            jnp.zeros((y.layers, y.width)),
        )

    return CacheMap(part(), part(), x, y)


@partial(jax.jit, static_argnames=("spec", "slots"))
def read_natively(params: Any, tokens: jax.Array, *, spec: Any, slots: int):
    """The last token's logits after a whole prompt, and its cache."""
    cache = empty_cache(spec, 1, slots, params["embed"].dtype)
    cache = apply_model(params, spec, tokens[:, :-1], cache=cache).cache
    output = apply_model(params, spec, tokens[:, -1:], logits=True, cache=cache)
    return output.logits[:, -1], output.cache


@partial(jax.jit, static_argnames=("spec", "slots", "opening"))
def read_mapped(
    params: Any,
    cache_map: CacheMap,
    source: KeyValueCache,
    tokens: jax.Array,
    *,
    spec: Any,
    slots: int,
    opening: int,
):
    """The last token's logits after a mapped cache, and the cache."""
    cache = empty_cache(spec, 1, slots, params["embed"].dtype)
    if opening:
        cache = apply_model(params, spec, tokens[:, :opening], cache=cache).cache
    places = jnp.arange(opening, tokens.shape[1] - 1, dtype=jnp.int32)[None]
    cache = map_cache(cache_map, source, cache, places)
    output = apply_model(params, spec, tokens[:, -1:], logits=True, cache=cache)
    return output.logits[:, -1], output.cache
