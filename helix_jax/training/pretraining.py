"""Next-token training with optax: cosine schedule, clipping, decoupled weight decay."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from helix_jax.models.params import init_params
from helix_jax.models.spec import ModelSpec
from helix_jax.models.transformer import apply_model
from helix_jax.text.ngram import fit_trigram, token_log_probabilities
from helix_jax.training.packing import unpack_windows, window_batch
from helix_jax.types import Array


class TrainState(NamedTuple):
    """Everything that the next step depends on.

    Attributes:
      step: [] int32, steps done.
      params: parameter pytree, float32.
      optimizer: optax state.
    """

    step: Array
    params: Any
    optimizer: Any


def make_optimizer(
    *,
    learning_rate: float,
    steps: int,
    warmup_steps: int,
    weight_decay: float = 0.1,
    final_fraction: float = 0.05,
    kind: str = "adamw",
) -> optax.GradientTransformation:
    """Clipping to norm 1, AdamW or Muon, linear warm-up and cosine decay.

    Weight decay is for matrices only. With "muon" the kernels of the blocks are updated
    by Muon (orthogonalised momentum), everything else by AdamW.

    Reference: Loshchilov and Hutter 2019, arXiv 1711.05101; Loshchilov and Hutter
      2017, arXiv 1608.03983; Muon: Jordan et al. 2024, Liu et al. 2025, arXiv
      2502.16982.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warmup_steps, steps, final_fraction * learning_rate
    )

    def matrices(params: Any) -> Any:
        return jax.tree.map_with_path(lambda path, _: _is_matrix(path), params)

    adamw = optax.adamw(
        schedule, b1=0.9, b2=0.95, weight_decay=weight_decay, mask=matrices
    )
    clip = optax.clip_by_global_norm(1.0)
    if kind == "adamw":
        return optax.chain(clip, adamw)
    if kind != "muon":
        raise ValueError(f"optimizer must be adamw or muon, got {kind!r}.")

    def orthogonalised(params: Any) -> Any:
        # Stacked kernels are [L, in, out]; each layer is orthogonalised by itself.
        dimensions = optax.contrib.MuonDimensionNumbers(1, 2)
        return jax.tree.map_with_path(
            lambda path, _: dimensions if _is_block_kernel(path) else None, params
        )

    muon = optax.contrib.muon(
        schedule,
        weight_decay=weight_decay,
        weight_decay_mask=matrices,
        adam_b2=0.95,
        adam_weight_decay=weight_decay,
        consistent_rms=0.2,
        muon_weight_dimension_numbers=orthogonalised,
    )
    return optax.chain(clip, muon)


def init_state(
    key: Array,
    spec: ModelSpec,
    optimizer: optax.GradientTransformation,
    *,
    params: Any = None,
) -> TrainState:
    """The state before the first step; `params` are copied, None for random ones."""
    if params is None:
        params = init_params(key, spec)
    else:
        params = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), params)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def cross_entropy(params: Any, spec: ModelSpec, windows: Array) -> Array:
    """Mean next-token loss in nats.

    Args:
      params, spec: the model.
      windows: [B, T + 1] int, T predictions a row.

    Returns:
      [] float32.
    """
    logits = apply_model(params, spec, windows[:, :-1], logits=True).logits
    return jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:])
    )


def make_step(
    spec: ModelSpec,
    optimizer: optax.GradientTransformation,
    *,
    microbatch: int | None = None,
) -> Callable[[TrainState, Array], tuple[TrainState, dict[str, Array]]]:
    """A jitted step (state, windows) -> (state, info); it reuses the state's buffers.

    Args:
      spec: the architecture.
      optimizer: from `make_optimizer`.
      microbatch: windows whose gradient is taken at once, a divisor of B; the mean
        over all is the same up to rounding. A small number keeps the intermediate
        arrays of a small model in a processor's cache. None takes all B at once.
    """

    def gradient(params: Any, windows: Array) -> tuple[Array, Any]:
        return jax.value_and_grad(cross_entropy)(params, spec, windows)

    def mean_gradient(params: Any, windows: Array) -> tuple[Array, Any]:
        if microbatch is None or microbatch == windows.shape[0]:
            return gradient(params, windows)
        groups = windows.reshape(-1, microbatch, windows.shape[1])

        def add(total: Any, group: Array) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradient(params, group)), None

        zeros = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
        total, _ = jax.lax.scan(add, zeros, groups)
        return jax.tree.map(lambda leaf: leaf / groups.shape[0], total)

    @partial(jax.jit, donate_argnums=0)
    def step(state: TrainState, windows: Array) -> tuple[TrainState, dict[str, Array]]:
        loss, gradients = mean_gradient(state.params, windows)
        updates, inner = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        info = {"loss_nats": loss, "gradient_norm": optax.global_norm(gradients)}
        return TrainState(state.step + 1, params, inner), info

    return step


def run_steps(
    step: Callable[[TrainState, Array], tuple[TrainState, dict[str, Array]]],
    state: TrainState,
    windows: np.ndarray,
    *,
    steps: int,
    batch: int,
    seed: int,
    place: Callable[[np.ndarray], Any] | None = None,
) -> Iterator[tuple[int, TrainState, dict[str, Array]]]:
    """Train from the state's step to the last step, on the batches of `window_batch`.

    Args:
      step: from `make_step`, which reuses the buffers of the state before it.
      state: the initial one, or one of a snapshot, from which the same steps follow.
      windows: [N, T + 1] int32.
      steps: in total, including those already done.
      batch: B, windows a step.
      seed: of the order of the windows.
      place: puts a batch on the devices; None for the default one.

    Yields:
      (steps done, state, info) after every step; a state is valid until the next one.
    """
    for number in range(int(state.step), steps):
        rows = window_batch(windows, step=number, batch=batch, seed=seed)
        state, info = step(state, rows if place is None else place(rows))
        yield number + 1, state, info


def held_out_loss(
    params: Any, spec: ModelSpec, windows: np.ndarray, *, batch: int = 16
) -> float:
    """Mean next-token loss over windows, in nats, averaged in float64.

    Args:
      params, spec: the model.
      windows: [N, T + 1] int32.
      batch: windows at a time; the last batch is padded, and padding is not counted.
    """
    losses = []
    for start in range(0, len(windows), batch):
        rows = windows[start : start + batch]
        padded = np.concatenate([rows, np.repeat(rows[:1], batch - len(rows), axis=0)])
        losses.append(np.asarray(_losses(params, spec, padded))[: len(rows)])
    return float(np.mean(np.concatenate(losses), dtype=np.float64))


@partial(jax.jit, static_argnames="spec")
def _losses(params: Any, spec: ModelSpec, windows: Array) -> Array:
    """[N] of windows [N, T + 1]."""
    return jax.vmap(lambda row: cross_entropy(params, spec, row[None]))(windows)


def trigram_loss(
    windows: np.ndarray, held_out: np.ndarray, *, vocab_size: int
) -> float:
    """Held-out loss of a trigram model of the training tokens, in nats, for comparison.

    Args:
      windows: [N, T + 1] int32, the training windows.
      held_out: [M, T + 1] int32.
      vocab_size: V.
    """
    trigram = fit_trigram(unpack_windows(windows), vocab_size=vocab_size)
    values = token_log_probabilities(trigram, unpack_windows(held_out))
    return -float(np.mean(values[1:]))


def _is_matrix(path: tuple) -> bool:
    return path[-1].key in ("kernel", "embed", "positions")


def _is_block_kernel(path: tuple) -> bool:
    return path[0].key == "layers" and path[-1].key == "kernel"
