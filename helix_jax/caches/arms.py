"""Every arm on every prompt: how the target continues, and what its attention reads."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from helix_jax.caches.attention import (
    attention_outputs,
    in_place_of,
    layer_cosines,
    native_streams,
)
from helix_jax.caches.choices import Choices, right_choices
from helix_jax.caches.maps import CacheMap
from helix_jax.caches.measures import (
    ContinuationRows,
    continuation_tokens,
    joined_rows,
    score_caches,
)
from helix_jax.caches.prompts import Prompts
from helix_jax.caches.reading import (
    mapped_cache,
    read_native,
    read_opening,
    read_part,
    read_source,
    shuffled_cache,
)
from helix_jax.generation.prompt import leading_tokens
from helix_jax.models import KeyValueCache, Model
from helix_jax.progress import Progress
from helix_jax.text.hashing import document_of

ATTENDED = 16  # tokens after the prompt at which attention is compared


class ArmRows(NamedTuple):
    """Measurements of N prompts.

    Attributes:
      rows: how the target continues, by arm.
      cosines: arm -> [N, L] of attention outputs with the native ones.
    """

    rows: ContinuationRows
    cosines: dict[str, np.ndarray]


def arm_caches(
    models: tuple[Model, Model],
    prompts: Prompts,
    maps: Mapping[str, CacheMap],
    *,
    shuffled: str,
    special: int,
) -> dict[str, KeyValueCache]:
    """The target's cache of some prompts, by arm.

    Args:
      models: source and target.
      prompts: B of them, two or more.
      maps: arm -> map.
      shuffled: the map whose caches are given to other prompts.
      special: tokens that the target's tokenizer puts before a text.
    """
    source, target = models
    room = prompts.closing + prompts.continuation.shape[1]
    read = read_source(source, prompts)
    opening = read_opening(target, prompts, room=room)
    caches = {
        "native": read_native(target, prompts, room=room),
        "none": read_part(target, prompts.target[:, :special], prompts, room),
    }
    for arm, cache_map in maps.items():
        caches[arm] = mapped_cache(cache_map, read, opening, prompts)
    caches["shuffled"] = shuffled_cache(caches[shuffled])
    return caches


def measure_arms(
    models: tuple[Model, Model],
    target_tokenizer: Any,
    prompts: Prompts,
    maps: Mapping[str, CacheMap],
    *,
    shuffled: str,
    batch: int,
    title: str = "continuing from each cache",
) -> ArmRows:
    """Score every arm on every prompt.

    Args:
      models: source and target.
      target_tokenizer: of the target.
      prompts: N of them.
      maps: arm -> map; "native", "none" and "shuffled" are measured in addition.
      shuffled: the map whose caches are given to other prompts.
      batch: prompts at a time, 2 or more.
      title: of the progress.
    """
    target = models[1]
    special = len(leading_tokens(target_tokenizer))
    parts, cosines = [], []
    with Progress(title, total=len(prompts.ids), unit="prompts") as shown:
        for some, count in prompts.batches(batch):
            caches = arm_caches(models, some, maps, shuffled=shuffled, special=special)
            parts.append(score_caches(target, caches, some))
            own = {arm: cache for arm, cache in caches.items() if arm != "none"}
            cosines.append(_cosines(target, own, some))
            shown.update(count)
    names = [document_of(name) for name in prompts.ids]
    return ArmRows(
        joined_rows(parts, prompts, names),
        {
            arm: np.concatenate([part[arm] for part in cosines])[: len(names)]
            for arm in cosines[0]
        },
    )


def answer_choices(
    models: tuple[Model, Model],
    target_tokenizer: Any,
    choices: Choices,
    maps: Mapping[str, CacheMap],
    *,
    shuffled: str,
    batch: int,
) -> dict[str, np.ndarray]:
    """arm -> [N] bool, whether the target chooses correctly; as `measure_arms`."""
    special, parts = len(leading_tokens(target_tokenizer)), []
    total, done = len(choices.answers), 0
    with Progress("choosing after each cache", total=total, unit="texts") as shown:
        for some, count in choices.prompts.batches(batch):
            rows = np.arange(done, done + batch) % total
            own = choices._replace(prompts=some, answers=choices.answers[rows])
            caches = arm_caches(models, some, maps, shuffled=shuffled, special=special)
            parts.append(right_choices(models[1], caches, own))
            done += count
            shown.update(count)
    return {arm: np.concatenate([p[arm] for p in parts])[:total] for arm in parts[0]}


def _cosines(
    target: Model, caches: Mapping[str, KeyValueCache], prompts: Prompts
) -> dict[str, np.ndarray]:
    """arm -> [B, L] cosines of attention outputs with the native ones."""
    tokens = continuation_tokens(prompts)[0][:, :ATTENDED]
    params, spec = target.params, target.spec
    native = caches["native"]
    streams, whole = native_streams(params, native, tokens, spec=spec)
    outputs = attention_outputs(params, streams, whole, spec=spec)
    return {
        arm: np.asarray(
            layer_cosines(
                outputs,
                attention_outputs(
                    params, streams, in_place_of(whole, cache), spec=spec
                ),
            )
        )
        for arm, cache in caches.items()
        if arm != "native"
    }
