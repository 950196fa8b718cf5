"""Maps fitted by gradient descent, for losses and shapes that have no closed form.

    start = residual_mlp(key, moments, ridge, hidden=512)
    fit = fit_gradient(start, (x, y), (x_select, y_select), loss=kl_loss(head),
                       key=key, settings=Descent())

`init` and `step` are the pure pieces. Only the delta of a `ResidualMap` is trained. The
rows of step k depend on the key and k, so a fit that is stopped and resumed from its
`GradientFit` ends with the same map.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from helix_jax import checks, kinds
from helix_jax.alignment.losses import Loss
from helix_jax.alignment.maps import ResidualMap, StateMap, apply_map
from helix_jax.arguments import takes
from helix_jax.devices import RowDevices
from helix_jax.types import Array


class GradientState(NamedTuple):
    """What the next step depends on.

    Attributes:
      map: as trained so far.
      optimizer: optax state.
      step: [] int32, steps done.
    """

    map: StateMap
    optimizer: Any
    step: Array


class GradientFit(NamedTuple):
    """A fit between two epochs, or at its end; a pytree.

    Attributes:
      state: where it stands.
      map: the best so far on the select rows.
      loss: [] its mean loss there.
      epoch: [] int32, epochs done.
      waited: [] int32, epochs since that best one.
    """

    state: GradientState
    map: StateMap
    loss: Array
    epoch: Array
    waited: Array


@dataclasses.dataclass(frozen=True)
class Descent:
    """How a map is trained: Adam, linear warm-up, cosine decay.

    Attributes:
      learning_rate: at its peak.
      batch: rows per step.
      epochs: passes over the rows, at most.
      warmup_steps: at most a tenth of all.
      final_fraction: of the learning rate at the end.
      weight_decay: decoupled, of the trained part; for a residual, towards its base.
      patience: epochs without improvement on the select rows before it stops.
    """

    learning_rate: float = 4e-3
    batch: int = 512
    epochs: int = 4
    warmup_steps: int = 100
    final_fraction: float = 0.02
    weight_decay: float = 0.0
    patience: int = 2

    def optimizer(
        self, rows: int, rates: StateMap | None = None
    ) -> optax.GradientTransformation:
        """The optimizer for this many rows per epoch; rates as for `fit_gradient`."""
        steps = max(2, self.epochs * (rows // self.batch))
        schedule = optax.warmup_cosine_decay_schedule(
            0.0,
            self.learning_rate,
            max(1, min(self.warmup_steps, steps // 10)),
            steps,
            self.final_fraction * self.learning_rate,
        )
        plain = optax.adamw(schedule, weight_decay=self.weight_decay)
        if rates is None:
            return plain
        return optax.chain(
            plain,
            optax.stateless(lambda steps, _: jax.tree.map(jnp.multiply, steps, rates)),
        )


def init(map: StateMap, optimizer: optax.GradientTransformation) -> GradientState:
    """The state before the first step, in float32."""
    map = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), map)
    trained, _ = _split(map)
    return GradientState(map, optimizer.init(trained), jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames="optimizer", donate_argnums=0)
def step(
    state: GradientState,
    x: Array,
    y: Array,
    loss: Loss,
    *,
    optimizer: optax.GradientTransformation,
) -> tuple[GradientState, dict[str, Array]]:
    """One step down the gradient of the mean loss over rows.

    Args:
      state: before; donated.
      x: [B, dx] float, source states.
      y: [B, dy] float, target states.
      loss: pytree callable, see `losses.py`; a plain function as
        `jax.tree_util.Partial(function)`.
      optimizer: as for `init`. Static.

    Returns:
      The state after, and {"loss", "gradient_norm"}.
    """
    trained, rebuild = _split(state.map)

    def mean_loss(trained: Any) -> Array:
        return jnp.mean(loss(apply_map(rebuild(trained), x), y))

    value, gradients = jax.value_and_grad(mean_loss)(trained)
    updates, inner = optimizer.update(gradients, state.optimizer, trained)
    trained = optax.apply_updates(trained, updates)
    info = {"loss": value, "gradient_norm": optax.global_norm(gradients)}
    return GradientState(rebuild(trained), inner, state.step + 1), info


@takes(
    start=kinds.MAP,
    fit=kinds.TWO_SIDES,
    select=kinds.TWO_SIDES,
    loss=kinds.FUNCTION,
    key=kinds.KEY,
)
def fit_gradient(
    start: StateMap,
    fit: tuple[Any, Any],
    select: tuple[Any, Any],
    *,
    loss: Loss,
    key: Array,
    settings: Descent = Descent(),
    rates: StateMap | None = None,
    resume: GradientFit | None = None,
    on_epoch: Callable[[GradientFit, dict[str, float]], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> GradientFit:
    """Train a map, and keep the best one on the select rows.

    Args:
      start: the first map, which counts as the best until another is better.
      fit: x [N, dx] and y [N, dy] float; numpy, including memory maps. Rows are
        shuffled.
      select: the same for the select split.
      loss: of rows, see `losses.py`.
      key: jax.random key of the order of the rows.
      settings: of the descent.
      rates: for each parameter of the trained part, a factor of its learning rate, as
        from `affine_rates`; None for one everywhere.
      resume: continue from here instead of `start`.
      on_epoch: called after each epoch with the fit and the numbers "fit_loss",
        "select_loss", for a log or a snapshot.
      on_step: called after each step with the number of steps done and the number in
        all epochs, for a progress bar.
      devices: devices that share the rows of every batch; their number divides the
        batch size. None for the default device alone. The map is the same up to
        rounding.

    Returns:
      GradientFit; `map` is the fitted one.

    Raises:
      ValueError: rows or widths that do not fit, NaN, fewer rows than a batch, or a
        loss that is not finite.

    Reference: Kingma and Ba 2015, arXiv 1412.6980; Loshchilov and Hutter 2017, arXiv
      1608.03983 (cosine) and 2019, arXiv 1711.05101 (weight decay).
    """
    for name, (x, y) in (("fit", fit), ("select", select)):
        checks.require_pair("fit_gradient", x, y)
        for side, rows, width in zip("xy", (x, y), start.widths):
            checks.require_width("fit_gradient", f"{name} {side}", rows.shape[1], width)
            checks.require_finite("fit_gradient", f"{name} {side}", rows)
    x, y = fit
    batch = settings.batch
    checks.require_rows("fit_gradient", len(x), batch, "one batch")
    if rates is not None:
        _require_rates(rates, start)
    optimizer = settings.optimizer(len(x), rates)
    loss = jax.tree_util.Partial(loss)
    place, copy = (lambda rows: rows), (lambda tree: tree)
    if devices is not None:
        shared = RowDevices(devices)
        place, copy = shared.place_rows, shared.place_copies
        loss = copy(loss)
    if resume is None:
        state = copy(init(start, optimizer))
        best = mean_loss(state.map, select, loss, batch, place)
        zero = jnp.zeros((), jnp.int32)
        resume = GradientFit(state, _copy(state.map), best, zero, zero)
    now = resume
    while int(now.epoch) < settings.epochs and int(now.waited) < settings.patience:
        order = np.asarray(
            jax.random.permutation(jax.random.fold_in(key, now.epoch), len(x))
        )
        state, losses = copy(_copy(now.state)), []
        for first in range(0, len(x) - batch + 1, batch):
            rows = order[first : first + batch]
            pair = place((x[rows], y[rows]))
            state, info = step(state, *pair, loss, optimizer=optimizer)
            losses.append(info["loss"])
            if on_step is not None:
                # Not far ahead of the device, so that progress is accurate.
                jax.block_until_ready(losses[max(0, len(losses) - 8)])
                done = int(now.epoch) * (len(x) // batch) + len(losses)
                on_step(done, settings.epochs * (len(x) // batch))
        found = mean_loss(state.map, select, loss, batch, place)
        numbers = {
            "fit_loss": float(jnp.mean(jnp.stack(losses))),
            "select_loss": float(found),
        }
        if not np.isfinite(numbers["fit_loss"]):
            raise ValueError(
                "fit_gradient: the loss is no longer finite; use a smaller "
                f"learning rate than {settings.learning_rate}."
            )
        better = bool(found < now.loss)
        now = GradientFit(
            state,
            _copy(state.map) if better else now.map,
            found if better else now.loss,
            now.epoch + 1,
            jnp.zeros((), jnp.int32) if better else now.waited + 1,
        )
        if on_epoch is not None:
            on_epoch(now, numbers)
    return now if devices is None else shared.gather(now)


def mean_loss(
    map: StateMap,
    rows: tuple[Any, Any],
    loss: Loss,
    batch: int,
    place: Callable[[Any], Any] = lambda rows: rows,
) -> Array:
    """Mean loss of a map over rows x [N, dx], y [N, dy], `batch` at a time.

    `place` puts the arrays of a batch on the devices.
    """
    x, y = rows
    total = 0.0
    for first in range(0, len(x), batch):
        part = slice(first, first + batch)
        count = len(x[part])
        padding = ((0, batch - count), (0, 0))
        padded = (np.pad(np.asarray(z[part]), padding) for z in (x, y))
        arrays = place((*padded, np.arange(batch) < count))
        total = total + _loss_sum(map, *arrays, loss)
    return total / len(x)


@jax.jit
def _loss_sum(map: StateMap, x: Array, y: Array, counts: Array, loss: Loss) -> Array:
    return jnp.sum(jnp.where(counts, loss(apply_map(map, x), y), 0))


def _require_rates(rates: StateMap, start: StateMap) -> None:
    """Refuse rates that do not broadcast to the trained part."""
    trained, _ = _split(start)
    wanted, given = (
        [np.shape(leaf) for leaf in jax.tree.leaves(part)] for part in (trained, rates)
    )
    if type(rates) is not type(trained) or not all(
        len(own) == len(shape) and all(n in (1, size) for n, size in zip(own, shape))
        for own, shape in zip(given, wanted)
    ):
        raise ValueError(
            f"fit_gradient: rates must be a {type(trained).__name__} that broadcasts "
            f"to the trained part of {wanted}, got a {type(rates).__name__} of {given}."
        )


def _split(map: StateMap) -> tuple[Any, Callable[[Any], StateMap]]:
    """The trained part of a map, and how to put it back."""
    if isinstance(map, ResidualMap):
        return map.delta, lambda delta: ResidualMap(map.base, delta)
    return map, lambda trained: trained


def _copy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
