"""Train a model, resuming from its snapshot, and measure its held-out loss."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from helix_jax.devices import RowDevices
from helix_jax.errors import RunError
from helix_jax.models.spec import ModelSpec
from helix_jax.processes import current
from helix_jax.progress import Progress, stage
from helix_jax.training.pretraining import (
    TrainState,
    held_out_loss,
    init_state,
    make_step,
    run_steps,
    trigram_loss,
)
from helix_jax.training.snapshot import load_snapshot, save_snapshot

Log = Callable[[int, Mapping[str, float]], object]  # (step, metrics)


class Schedule(NamedTuple):
    """For how long and in which batches a model is trained, and how often it is saved.

    Attributes:
      steps: in total.
      batch: B, windows a step.
      seed: of the initial weights and the order of the windows.
      microbatch: windows whose gradient is taken at once; None for B.
      log_every: steps between metrics.
      snapshot_every: steps between snapshots.
    """

    steps: int
    batch: int
    seed: int = 0
    microbatch: int | None = None
    log_every: int = 50
    snapshot_every: int = 200


def train(
    spec: ModelSpec,
    optimizer: optax.GradientTransformation,
    windows: np.ndarray,
    schedule: Schedule,
    *,
    snapshot: Path,
    params: Any = None,
    begin: Callable[[int], object] = lambda step: None,
    log: Log = lambda step, metrics: None,
    devices: Sequence[jax.Device] | None = None,
) -> tuple[TrainState, float]:
    """Train, or resume from the snapshot, which ends with the same weights.

    Args:
      spec: the architecture.
      optimizer: from `make_optimizer`, for the same number of steps.
      windows: [N, T + 1] int32.
      schedule: of the training.
      snapshot: file to which the state is saved every `snapshot_every` steps.
      params: of a model to fine-tune, float32; None to start with random ones.
      begin: called once with the number of steps already done.
      log: called with the step and train/loss_nats, train/gradient_norm.
      devices: that share the windows of every batch; None for the default device alone.
        The weights are the same up to rounding.

    Returns:
      The last state, and the seconds of training, interrupted runs included.

    Raises:
      RunError: the loss is not finite, or the snapshot is damaged.
    """
    step = make_step(spec, optimizer, microbatch=schedule.microbatch)
    key = jax.random.key(schedule.seed)
    state = init_state(key, spec, optimizer, params=params)
    clock = np.zeros((), np.float64)
    if snapshot.exists():
        state, clock = load_snapshot(snapshot, (state, clock))
    place = None
    if devices is not None:
        shared = RowDevices(devices)
        state, place = shared.place_copies(state), shared.place_rows
    first = int(state.step)
    begin(first)
    began = time.perf_counter() - float(clock)
    order: dict[str, Any] = {
        "batch": schedule.batch,
        "seed": schedule.seed,
        "place": place,
    }
    states = run_steps(step, state, windows, steps=schedule.steps, **order)
    title = f"training {spec.family}"
    with Progress(title, total=schedule.steps, done=first, unit="steps") as shown:
        for done, state, info in states:
            shown.update()
            if done % schedule.log_every == 0:
                names = ("loss_nats", "gradient_norm")
                metrics = {f"train/{name}": float(info[name]) for name in names}
                loss = metrics["train/loss_nats"]
                if not math.isfinite(loss):
                    raise RunError(
                        f"the loss is {loss} at step {done}; lower --learning_rate and "
                        "start in a new --workdir."
                    )
                shown.update(0, note=f"loss {loss:.3f} nats")
                log(done, metrics)
            if done % schedule.snapshot_every == 0:
                clock = np.asarray(time.perf_counter() - began)
                if current().index == 0:
                    save_snapshot(snapshot, (state, clock))
    state = state if devices is None else shared.gather(state)
    return state, time.perf_counter() - began


def held_out_numbers(
    params: Any,
    spec: ModelSpec,
    windows: np.ndarray,
    held_out: np.ndarray,
    *,
    characters: int,
    batch: int,
    dtype: str,
) -> dict[str, float]:
    """The held-out loss of a model, and of a trigram model of the same tokens.

    Args:
      params, spec: the model.
      windows: [N, T + 1] int32, the training windows.
      held_out: [M, T + 1] int32.
      characters: number of characters of the predicted tokens.
      batch: windows at a time.
      dtype: that weights are stored in; the loss is that of the rounded weights.
    """
    rounded = jax.tree.map(lambda leaf: leaf.astype(dtype).astype(leaf.dtype), params)
    with stage("held-out loss"):
        loss = held_out_loss(rounded, spec, held_out, batch=batch)
    with stage("the loss of a trigram model"):
        of_trigram = trigram_loss(windows, held_out, vocab_size=spec.vocab_size)
    predicted = held_out[:, 1:].size
    return {
        "test/tokens": predicted,
        "test/loss_nats": loss,
        "test/perplexity": math.exp(loss),
        "test/bits_per_character": loss * predicted / characters / math.log(2),
        "test/trigram_loss_nats": of_trigram,
        "test/trigram_perplexity": math.exp(of_trigram),
    }
