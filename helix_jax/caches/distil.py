"""A map of caches trained on the target's own predictions: the stronger arm.

To each kernel of a fitted map a product of two thin matrices is added, W + A B, and to
each bias a vector, so that over the continuations of the fit split

    KL( target | its own cache  ||  target | mapped cache )

of the next token is minimised. B starts at zero, so that training starts at the fitted
map; the best result on the select split is kept. The target is frozen. Memory holds a
batch of prompts and their caches, and the source's states of all prompts.

Reference: distillation: Hinton, Vinyals, Dean 2015, arXiv 1503.02531; thin products: Hu
  et al. 2021 (LoRA), arXiv 2106.09685; of maps between caches: ours.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from helix_jax.alignment import Descent, kl_loss
from helix_jax.caches.form import cache_form
from helix_jax.caches.maps import CacheMap, LayerMaps, map_states
from helix_jax.caches.measures import continuation_tokens
from helix_jax.caches.prompts import Prompts
from helix_jax.caches.reading import read_native, read_source
from helix_jax.caches.states import cache_states, write_states
from helix_jax.errors import RunError
from helix_jax.generation.heads import Head, head_of
from helix_jax.generation.stitch import native
from helix_jax.models import KeyValueCache, Model, ModelSpec, apply_model, empty_cache
from helix_jax.training.snapshot import load_snapshot, save_snapshot
from helix_jax.types import Array


@struct.dataclass
class Delta:
    """The trained additions to the maps of keys, or of values.

    Attributes:
      left, right: [L', dx, r] and [L', r, dy], whose product is added to the kernel.
      bias: [L', dy].
    """

    left: Array
    right: Array
    bias: Array


class Lesson(NamedTuple):
    """A batch of B prompts as the training sees them.

    Attributes:
      states: [2 L, B, T, K D_head] float32, the source's, one for each mapped token.
      opening: [B, t] int32, tokens that the target reads first.
      read: [B, n] int32, tokens that it reads after the mapped ones.
      wanted: [B, C, D] its own last states of the continuation, before the head.
    """

    states: np.ndarray
    opening: np.ndarray
    read: np.ndarray
    wanted: np.ndarray


class Training(NamedTuple):
    """A training between two epochs; a pytree.

    Attributes:
      delta: of keys and of values, as trained so far.
      optimizer: optax state.
      best: the delta that is best on the select split.
      loss: [] its KL there, in nats.
      epoch: [] int32, epochs done.
    """

    delta: tuple[Delta, Delta]
    optimizer: Any
    best: tuple[Delta, Delta]
    loss: Array
    epoch: Array


def make_lessons(
    models: tuple[Model, Model], prompts: Prompts, *, batch: int
) -> list[Lesson]:
    """The source's reading and the target's own predictions for some prompts."""
    source, target = models
    form, lessons = cache_form(source.spec), []
    for some, _ in prompts.batches(batch):
        states = cache_states(read_source(source, some), form)
        places = jnp.asarray(some.places)[None, :, :, None]
        read, following = continuation_tokens(some)
        cache = read_native(target, some, room=read.shape[1])
        wanted = _last_states(target.params, cache, read, spec=target.spec)
        lessons.append(
            Lesson(
                np.asarray(jnp.take_along_axis(states, places, axis=2)),
                some.target[:, : some.opening],
                np.asarray(read),
                np.asarray(wanted[:, -following.shape[1] :]),
            )
        )
    return lessons


def train_map(
    start: CacheMap,
    target: Model,
    fit: Sequence[Lesson],
    select: Sequence[Lesson],
    *,
    rank: int,
    key: Array,
    settings: Descent,
    snapshot: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[CacheMap, Training]:
    """Train a fitted map; see the top of this file.

    Args:
      start: the fitted map.
      target: the model that continues.
      fit, select: lessons, all of one shape.
      rank: r of the product added to each kernel.
      key: two jax.random keys [2], of A's initial values and of the order of the
        lessons.
      settings: learning rate, epochs, decay and patience; a lesson is a step.
      snapshot: file to which the training is saved after each epoch; None: none.
      on_step: called with the number of steps done and of all steps.

    Returns:
      The map with the best delta in its kernels, and the final state of the training.

    Raises:
      RunError: the loss is not finite, or the snapshot is damaged or has another shape.
    """
    optimizer = settings.optimizer(len(fit) * settings.batch)
    key_keys, key_values = jax.random.split(key[0])
    delta = (_begin(key_keys, start.keys, rank), _begin(key_values, start.values, rank))
    frozen = (start, target.params, head_of(native(target).target))
    spec, zero = target.spec, jnp.zeros((), jnp.int32)
    first = jnp.asarray(_mean_loss(delta, frozen, select, spec))
    now = Training(delta, optimizer.init(delta), delta, first, zero)
    if snapshot is not None and snapshot.exists():
        now = Training(*load_snapshot(snapshot, now))
    while int(now.epoch) < settings.epochs:
        delta, state = now.delta, now.optimizer
        order = jax.random.permutation(
            jax.random.fold_in(key[1], now.epoch), len(fit)
        ).tolist()
        for number, place in enumerate(order, start=1):
            delta, state, loss = _step(
                delta, state, frozen, fit[place], spec=spec, optimizer=optimizer
            )
            if not np.isfinite(float(loss)):
                raise RunError(
                    "train_map: the loss is no longer finite; use a smaller "
                    f"learning rate than {settings.learning_rate}."
                )
            if on_step is not None:
                done = int(now.epoch) * len(fit) + number
                on_step(done, settings.epochs * len(fit))
        found = jnp.asarray(_mean_loss(delta, frozen, select, spec))
        better = bool(found < now.loss)
        now = Training(
            delta,
            state,
            delta if better else now.best,
            found if better else now.loss,
            now.epoch + 1,
        )
        if snapshot is not None:
            save_snapshot(snapshot, now)
    return with_delta(start, now.best), now


def with_delta(cache_map: CacheMap, delta: tuple[Delta, Delta]) -> CacheMap:
    """The map with the trained additions in its kernels and biases."""
    parts = [
        LayerMaps(part.layers, part.kernel + own.left @ own.right, part.bias + own.bias)
        for part, own in zip((cache_map.keys, cache_map.values), delta)
    ]
    return dataclasses.replace(cache_map, keys=parts[0], values=parts[1])


_Deltas = tuple[Delta, Delta]  # of keys and of values
_Frozen = tuple[CacheMap, Mapping, Head]  # the fitted map; the target's weights, head


def _begin(key: Array, part: LayerMaps, rank: int) -> Delta:
    layers, dx, dy = part.kernel.shape
    left = jax.random.normal(key, (layers, dx, rank), jnp.float32) / dx**0.5
    right = jnp.zeros((layers, rank, dy), jnp.float32)
    return Delta(left, right, jnp.zeros((layers, dy), jnp.float32))


@partial(jax.jit, static_argnames="spec")
def _last_states(
    params: Mapping, cache: KeyValueCache, tokens: Array, *, spec: ModelSpec
) -> Array:
    """[B, T, D] before the final norm, of tokens after a cache."""
    output = apply_model(params, spec, tokens, final_norm=False, cache=cache)
    return output.hidden[0]


def _loss(delta: _Deltas, frozen: _Frozen, lesson: Lesson, spec: ModelSpec) -> Array:
    """Mean KL of a lesson, in nats."""
    start, params, head = frozen
    opening, read = jnp.asarray(lesson.opening), jnp.asarray(lesson.read)
    tokens = lesson.states.shape[2]
    slots = opening.shape[1] + tokens + read.shape[1]
    cache = empty_cache(spec, len(read), slots, params["embed"].dtype)
    if opening.shape[1]:
        cache = apply_model(params, spec, opening, cache=cache).extended
    states = map_states(with_delta(start, delta), jnp.asarray(lesson.states))
    mask = jnp.ones((len(read), tokens), bool)
    cache = write_states(states, start.target, cache, mask)
    wanted = lesson.wanted.reshape(-1, lesson.wanted.shape[-1])
    found = _last_states(params, cache, read, spec=spec)
    found = found[:, -lesson.wanted.shape[1] :].reshape(wanted.shape)
    return jnp.mean(kl_loss(head)(found, jnp.asarray(wanted)))


@partial(jax.jit, static_argnames=("spec", "optimizer"))
def _step(
    delta: _Deltas,
    state: optax.OptState,
    frozen: _Frozen,
    lesson: Lesson,
    *,
    spec: ModelSpec,
    optimizer: optax.GradientTransformation,
) -> tuple[_Deltas, optax.OptState, Array]:
    loss, gradients = jax.value_and_grad(_loss)(delta, frozen, lesson, spec)
    updates, state = optimizer.update(gradients, state, delta)
    return optax.apply_updates(delta, updates), state, loss


@partial(jax.jit, static_argnames="spec")
def _loss_of(delta: _Deltas, frozen: _Frozen, lesson: Lesson, spec: ModelSpec) -> Array:
    return _loss(delta, frozen, lesson, spec)


def _mean_loss(
    delta: _Deltas, frozen: _Frozen, lessons: Sequence[Lesson], spec: ModelSpec
) -> float:
    return float(
        np.mean([float(_loss_of(delta, frozen, one, spec)) for one in lessons])
    )
