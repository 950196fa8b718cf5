"""Gradient descent that resumes after its last complete epoch when it was killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from helix_jax.alignment import Descent, GradientFit, fit_gradient
from helix_jax.devices import devices_for
from helix_jax.processes import current
from helix_jax.progress import Progress
from helix_jax.training.snapshot import load_snapshot, save_snapshot


def resumed_gradient(
    start: Any,
    fit: tuple[Any, Any],
    select: tuple[Any, Any],
    *,
    settings: Descent,
    snapshot: Path | None = None,
    on_epoch: Callable[[GradientFit, dict[str, float]], object] | None = None,
    title: str = "training the map",
    **given: Any,
) -> GradientFit:
    """`fit_gradient`, resumed after the last epoch that an earlier run completed.

    Args:
      start, fit, select, settings, on_epoch: as for `fit_gradient`.
      snapshot: file to which the fit is saved after each epoch; None for none.
      title: of the progress bar.
      **given: loss and key; devices, by default all that can share a batch.

    Returns:
      GradientFit, the same whether or not it was interrupted.

    Raises:
      RunError: the snapshot is damaged or belongs to another fit.
      ValueError: as `fit_gradient`.
    """
    given.setdefault("devices", devices_for(settings.batch))
    resume = None
    if snapshot is not None and snapshot.exists():
        none = Descent(settings.learning_rate, settings.batch, epochs=0)
        like = fit_gradient(start, fit, select, settings=none, **given)
        resume = load_snapshot(snapshot, like)

    def keep(now: GradientFit, numbers: dict[str, float]) -> None:
        if on_epoch is not None:
            on_epoch(now, numbers)
        if snapshot is not None and current().index == 0:
            save_snapshot(snapshot, now)

    with Progress(title, unit="steps") as shown:
        return fit_gradient(
            start,
            fit,
            select,
            settings=settings,
            resume=resume,
            on_epoch=keep,
            on_step=shown.at,
            **given,
        )
