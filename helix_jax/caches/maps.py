"""Maps between the caches of two models: affine, from layers of one to each of another.

    k_hat_j = [k_i for i in layers_j] W_j + b_j         and the values likewise

for each target layer j, where the position is removed from keys.

Reference: a ridge map between key-value caches: arXiv 2608.03893; source layers chosen
  on held-out moments, separately for keys and values, and first tokens that the target
  reads itself: ours.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax.caches.form import CacheForm, cache_form, require_cache, require_form
from helix_jax.caches.states import cache_states, write_states
from helix_jax.models import KeyValueCache, ModelSpec
from helix_jax.models.layers import precision_of
from helix_jax.types import Array


@struct.dataclass
class LayerMaps:
    """An affine map to each target layer, of keys or of values.

    Attributes:
      layers: [L', k] int32, from 0, the source layers of each target layer.
      kernel: [L', k K D_head, K' D_head'].
      bias: [L', K' D_head'].
    """

    layers: Array
    kernel: Array
    bias: Array

    def __call__(self, states: Array) -> Array:
        """[L, ..., K D_head] states of all source layers -> [L', ..., K' D_head']."""

        def one(own: tuple[Array, Array, Array]) -> Array:
            layers, kernel, bias = own
            x = jnp.moveaxis(states[layers], 0, -2)
            x = x.reshape(*x.shape[:-2], -1)
            return jnp.dot(x, kernel, precision=precision_of(x)) + bias

        return jax.lax.map(one, (self.layers, self.kernel, self.bias))


@struct.dataclass
class CacheMap:
    """A map from a source's cache to a target's.

    Attributes:
      keys, values: of keys without their position, and of values.
      source, target: forms of the two caches.
    """

    keys: LayerMaps
    values: LayerMaps
    source: CacheForm = struct.field(pytree_node=False)
    target: CacheForm = struct.field(pytree_node=False)

    def check(self, source: ModelSpec, target: ModelSpec) -> None:
        """Raise unless the map is between caches of these models.

        Raises:
          FingerprintError: layers, heads, widths or rotary frequencies differ; each
            difference is named.
          UnsupportedError: as `cache_form`.
        """
        require_form("source", self.source, cache_form(source))
        require_form("target", self.target, cache_form(target))

    def require_shapes(self) -> None:
        """Raise ValueError unless the arrays have the shapes of both forms."""
        for name, part in (("keys", self.keys), ("values", self.values)):
            count = part.layers.shape[1] if part.layers.ndim == 2 else 0
            wanted = {
                "layers": (self.target.layers, count),
                "kernel": (
                    self.target.layers,
                    count * self.source.width,
                    self.target.width,
                ),
                "bias": (self.target.layers, self.target.width),
            }
            for field, shape in wanted.items():
                found = getattr(part, field).shape
                if not count or found != shape:
                    raise ValueError(
                        f"CacheMap: {field} of the {name} need shape {list(shape)}, "
                        f"got {list(found)}."
                    )


def map_cache(
    cache_map: CacheMap,
    cache: KeyValueCache,
    into: KeyValueCache,
    places: Array,
    mask: Array | None = None,
) -> KeyValueCache:
    """The target's cache, extended by tokens that only the source has read.

    Pure, to be jitted by its caller. It is compiled once for each number of tokens, so
    pad `places` to a few lengths (`mask`).

    Args:
      cache_map: of the two models.
      cache: of the source, which has read a text in one pass.
      into: of the target, with room for T more tokens per row; its content is kept.
      places: [B, T] int, the slot of `cache` that stands for each of the target's
        tokens, see `prompts.token_places`.
      mask: [B, T] bool, False for padding; None: no padding.

    Returns:
      The target's cache, extended by T slots.

    Raises:
      ValueError: a cache has another form than the map's, rows differ in number, or
        there is no room.

    Reference: arXiv 2608.03893.
    """
    cache_map.require_shapes()
    require_cache("map_cache: source", cache, cache_map.source)
    require_cache("map_cache: target", into, cache_map.target)
    rows = {len(one) for one in (cache.mask, into.mask, places)}
    if len(rows) > 1:
        raise ValueError(
            "map_cache: cache, into and places need the same rows, got "
            f"{len(cache.mask)}, {len(into.mask)} and {len(places)}."
        )
    mask = jnp.ones(places.shape, bool) if mask is None else mask
    states = cache_states(cache, cache_map.source)
    states = jnp.take_along_axis(states, places[None, :, :, None], axis=2)
    return write_states(map_states(cache_map, states), cache_map.target, into, mask)


def map_states(cache_map: CacheMap, states: Array) -> Array:
    """[2 L, ..., K D_head] source states -> [2 L', ..., K' D_head'] of a target."""
    layers = cache_map.source.layers
    keys, values = states[:layers], states[layers:]
    return jnp.concatenate([cache_map.keys(keys), cache_map.values(values)])


def identity_map(source: CacheForm, target: CacheForm) -> CacheMap | None:
    """The source's own keys and values, if both caches have the same shape."""
    if (source.layers, source.width) != (target.layers, target.width):
        return None
    layers = np.arange(source.layers, dtype=np.int32)[:, None]
    kernel = np.tile(np.eye(source.width, dtype=np.float32), (source.layers, 1, 1))
    bias = np.zeros((source.layers, source.width), np.float32)
    part = LayerMaps(*map(jnp.asarray, (layers, kernel, bias)))
    return CacheMap(part, part, source, target)


def mean_map(cache_map: CacheMap, means: Array) -> CacheMap:
    """The uninformed map: every token has the mean keys and values.

    Args:
      cache_map: of the same two models.
      means: [2 L', K' D_head'] of the target's states.
    """
    parts = []
    for part, bias in zip(
        (cache_map.keys, cache_map.values), jnp.split(jnp.asarray(means), 2)
    ):
        bias = bias.astype(part.bias.dtype)
        kernel = jnp.zeros(
            (len(bias), cache_map.source.width, cache_map.target.width), bias.dtype
        )
        parts.append(LayerMaps(part.layers[:, :1], kernel, bias))
    return dataclasses.replace(cache_map, keys=parts[0], values=parts[1])
