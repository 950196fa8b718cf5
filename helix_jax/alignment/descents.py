"""Every map fitted by gradient descent under one name and one signature.

| name              | shape                        | begins at | loss               |
|-------------------|------------------------------|-----------|--------------------|
| gradient_mse      | affine                       | the mean  | squared error      |
| gradient_low_rank | affine, of rank 32           | the mean  | squared error      |
| gradient_cosine   | affine                       | ridge     | cosine             |
| gradient_huber    | affine                       | ridge     | Huber              |
| mlp               | ridge and one hidden layer   | ridge     | squared error      |

They use the rows themselves, unlike the closed forms of `methods.METHODS`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from helix_jax import kinds
from helix_jax.alignment.controls import mean_map
from helix_jax.alignment.gradient import Descent, fit_gradient
from helix_jax.alignment.losses import Loss, cosine_rows, huber_rows, mse_rows
from helix_jax.alignment.maps import AffineMap, StateMap
from helix_jax.alignment.moments import Moments
from helix_jax.alignment.residual import (
    residual_affine,
    residual_low_rank,
    residual_mlp,
)
from helix_jax.arguments import takes
from helix_jax.types import Array

RANK = 32  # of gradient_low_rank, at most
HIDDEN = 256  # width of mlp
BATCH = 128  # rows per step, at most


class Start(NamedTuple):
    """What a fit may start from: a key, the fit moments, the mean, ridge."""

    key: Array
    moments: Moments
    mean: AffineMap
    ridge: AffineMap


class GradientMethod(NamedTuple):
    """The starting point of a fit, and the loss of rows that it minimises."""

    begin: Callable[[Start], StateMap]
    loss: Loss


def _low_rank(start: Start) -> StateMap:
    rank = min(RANK, *start.moments.cov_xy.shape)
    return residual_low_rank(start.key, start.mean, rank=rank)


def _mlp(start: Start) -> StateMap:
    return residual_mlp(start.key, start.moments, start.ridge, hidden=HIDDEN)


GRADIENT_METHODS: Mapping[str, GradientMethod] = {
    "gradient_mse": GradientMethod(lambda s: residual_affine(s.mean), mse_rows),
    "gradient_low_rank": GradientMethod(_low_rank, mse_rows),
    "gradient_cosine": GradientMethod(lambda s: residual_affine(s.ridge), cosine_rows),
    "gradient_huber": GradientMethod(lambda s: residual_affine(s.ridge), huber_rows),
    "mlp": GradientMethod(_mlp, mse_rows),
}


class Descended(NamedTuple):
    """A map and the seconds that it took, including compilation."""

    map: StateMap
    seconds: float


@takes(
    fit=kinds.TWO_SIDES,
    select=kinds.TWO_SIDES,
    moments=kinds.MOMENTS,
    ridge=kinds.MAP,
    key=kinds.KEY,
)
def fit_descent(
    name: str,
    fit: tuple[Any, Any],
    select: tuple[Any, Any],
    *,
    moments: Moments,
    ridge: AffineMap,
    key: Array,
    epochs: int,
    on_step: Callable[[int, int], None] | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Descended:
    """Fit one of `GRADIENT_METHODS`.

    Args:
      name: of the method.
      fit: x [N, dx] and y [N, dy] float.
      select: the same for the select split.
      moments: of the fit rows.
      ridge: the map that some start from.
      key: jax.random key of the order of the rows and of random weights.
      epochs: passes over the rows, at most.
      on_step, devices: as for `fit_gradient`.

    Returns:
      Descended.

    Raises:
      ValueError: an unknown method, and as `fit_gradient`.
    """
    if name not in GRADIENT_METHODS:
        raise ValueError(
            f"fit_descent: unknown method {name!r}; there are "
            f"{', '.join(GRADIENT_METHODS)}."
        )
    method = GRADIENT_METHODS[name]
    settings = Descent(epochs=epochs, batch=min(BATCH, len(fit[0])))
    mean = mean_map(moments)
    began = time.perf_counter()
    fitted = fit_gradient(
        method.begin(Start(key, moments, mean, ridge)),
        fit,
        select,
        loss=method.loss,
        key=key,
        settings=settings,
        on_step=on_step,
        devices=devices,
    )
    return Descended(jax.block_until_ready(fitted.map), time.perf_counter() - began)
