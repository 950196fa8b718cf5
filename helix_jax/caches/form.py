"""The form of keys and values in a model's cache, and the rotation of its keys."""

import dataclasses
from typing import Any

from helix_jax.errors import FingerprintError, UnsupportedError
from helix_jax.fingerprint import check_same
from helix_jax.models import KeyValueCache, Model, ModelSpec, RopeSpec
from helix_jax.models.torch_engine import TorchSpec
from helix_jax.types import Array


@dataclasses.dataclass(frozen=True)
class CacheForm:
    """The form of one model's cache; hashable, so static under jit.

    Attributes:
      layers, kv_heads, head_width: L, K and D_head.
      rope: rotation of keys in layers without a window, or None.
      local_rope: rotation in layers with a window, if it differs.
      turns: for each layer, "none", "rope" or "local_rope".
    """

    layers: int
    kv_heads: int
    head_width: int
    rope: RopeSpec | None
    local_rope: RopeSpec | None
    turns: tuple[str, ...]

    @property
    def width(self) -> int:
        """Features of a layer's keys, or values, of one token: K D_head."""
        return self.kv_heads * self.head_width

    @property
    def record(self) -> dict[str, Any]:
        """The form as JSON, each entry comparable by itself."""
        record = dataclasses.asdict(self)
        turned = [name for name in ("rope", "local_rope") if record[name] is not None]
        for name in turned:
            record[name] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in record[name].items()
            }
        return record | {"turns": list(self.turns)}


def cache_form(spec: ModelSpec | TorchSpec) -> CacheForm:
    """The form of a model's cache.

    Sliding windows and grouped heads, including one for all queries, need no special
    treatment: a cache holds every token, and as many heads as there are keys for. If
    keys are not rotated (learned positions, a bias by distance, layers without
    rotation), they keep what they hold of the position.

    Raises:
      UnsupportedError: the model is an encoder, which has no cache; it normalises its
        keys after they are rotated, so that their position cannot be removed; or it is
        run by another engine than jax.
    """
    family = getattr(spec, "family", type(spec).__name__)
    if not isinstance(spec, ModelSpec):
        raise UnsupportedError(
            f"{family}: torch runs this model, and its cache is not kept as keys and "
            "values of heads; name a model of a native family (docs/models.md)."
        )
    if not spec.causal:
        raise UnsupportedError(
            f"{family} is an encoder and keeps no keys and values of a text; name a "
            "decoder."
        )
    if spec.rope is not None and spec.qk_norm_last and spec.qk_norm is not None:
        raise UnsupportedError(
            f"{family} normalises its keys after rotating them, so their "
            "position cannot be removed; name another decoder."
        )
    windows = spec.windows or (0,) * spec.num_layers
    rotates = spec.rope_layers or (True,) * spec.num_layers
    turns = []
    for window, turned in zip(windows, rotates):
        if spec.rope is None or not turned:
            turns.append("none")
        elif window and spec.local_rope is not None:
            turns.append("local_rope")
        else:
            turns.append("rope")
    return CacheForm(
        spec.num_layers,
        spec.num_kv_heads,
        spec.head_width,
        spec.rope,
        spec.local_rope,
        tuple(turns),
    )


def require_form(side: str, form: CacheForm, found: CacheForm) -> None:
    """Raise FingerprintError unless a model's cache has the form of a map's side."""
    if form != found:
        check_same(
            f"the {side} of the map",
            form.record,
            f"the {side} here",
            found.record,
            remedy="Fit a map for these two models with experiments.caches.",
        )
        raise FingerprintError(f"the {side} here has another form of cache.")


def require_cache(
    who: str, cache: KeyValueCache, form: CacheForm
) -> tuple[Array, Array]:
    """The keys and values of a cache; ValueError unless they have a form."""
    if isinstance(cache.keys, tuple) or isinstance(cache.values, tuple):
        raise ValueError(
            f"{who}: the cache has separate tables for its layers; give a stacked one, "
            "as empty_cache makes it."
        )
    wanted = (form.layers, form.kv_heads, form.head_width)
    for name, table in (("keys", cache.keys), ("values", cache.values)):
        shape = table.shape
        found = (shape[0], shape[2], shape[4]) if len(shape) == 5 else shape
        if found != wanted:
            raise ValueError(
                f"{who}: {name} need layers, heads and features "
                f"{list(wanted)}, got {list(found)} in an array {list(shape)}; give "
                "the cache of the model that the map was fitted for."
            )
    return cache.keys, cache.values


def model_record(model: Model) -> dict[str, Any]:
    """What a map depends on: the model's fingerprint and the form of its cache."""
    return {**model.fingerprint, "cache": cache_form(model.spec).record}
