"""Maps of every method from the same rows, and how they are scored on the test split.

The closed forms are those of `alignment.METHODS`; beside them stand maps trained by
gradient descent on the rows themselves:

| name              | shape                        | begins at | loss               |
|-------------------|------------------------------|-----------|--------------------|
| gradient_mse      | affine                       | the mean  | squared error      |
| gradient_low_rank | affine, of rank 32           | the mean  | squared error      |
| gradient_cosine   | affine                       | ridge     | cosine             |
| gradient_huber    | affine                       | ridge     | Huber              |
| mlp               | ridge and one hidden layer   | ridge     | squared error      |
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.task import Task, draw
from helix_jax.alignment import (
    METHODS,
    Descent,
    Fitted,
    Moments,
    StateMap,
    accumulate,
    apply_map,
    cosine_rows,
    derangement,
    fit_all,
    fit_gradient,
    huber_rows,
    mean_map,
    mse_rows,
    residual_affine,
    residual_low_rank,
    residual_mlp,
    usable_methods,
)
from helix_jax.errors import RunError
from helix_jax.probes import Probe, predict_logits
from helix_jax.progress import Progress, stage
from helix_jax.runs import option
from helix_jax.stats import Interval, bootstrap_interval

Rows = tuple[np.ndarray, np.ndarray]
PROBES = {
    "target_probe": "target, its own probe and states",
    "source_probe": "source, its own probe and states",
}


def methods_option(default: str) -> Any:
    """The field of the methods to fit, see `choose_methods`."""
    groups = ("all", "closed", "gradient")
    return option(
        (default,),
        "names or groups",
        choices=(*groups, *METHODS, *GRADIENT),
        required=True,
    )


class Start(NamedTuple):
    """What a gradient fit begins with: a key, the fit moments, the mean, ridge."""

    key: jax.Array
    moments: Moments
    mean: StateMap
    ridge: StateMap


GRADIENT: Mapping[str, tuple[Callable[[Start], StateMap], Callable]] = {
    "gradient_mse": (lambda s: residual_affine(s.mean), mse_rows),
    "gradient_low_rank": (
        lambda s: residual_low_rank(
            s.key, s.mean, rank=min(32, *s.moments.cov_xy.shape)
        ),
        mse_rows,
    ),
    "gradient_cosine": (lambda s: residual_affine(s.ridge), cosine_rows),
    "gradient_huber": (lambda s: residual_affine(s.ridge), huber_rows),
    "mlp": (lambda s: residual_mlp(s.key, s.moments, s.ridge, hidden=256), mse_rows),
}


def choose_methods(
    names: Sequence[str], rows: float = math.inf, dx: int = 1
) -> list[str]:
    """The methods of --methods: names, `all`, `closed` (forms) or `gradient`.

    Raises:
      RunError: an unknown name.
    """
    groups = {
        "all": [*usable_methods(rows, dx, anchors=True), *GRADIENT],
        "closed": list(usable_methods(rows, dx, anchors=True)),
        "gradient": list(GRADIENT),
    }
    chosen: list[str] = []
    for name in names:
        if name not in groups and name not in METHODS and name not in GRADIENT:
            raise RunError(
                f"--methods: unknown method {name!r}; there are {', '.join(groups)}, "
                f"{', '.join(METHODS)}, {', '.join(GRADIENT)}."
            )
        chosen += [one for one in groups.get(name, [name]) if one not in chosen]
    if not chosen:
        raise RunError("--methods: name one or more.")
    return chosen


def anchor_rows(rows: Rows, ids: list[str], count: int, seed: int) -> Rows:
    """Paired rows of some texts, by a hash of their ids."""
    places = draw(ids, min(count, len(ids) - 1), seed)
    return rows[0][places], rows[1][places]


def fit_closed(
    moments: Mapping[str, Moments], methods: Sequence[str], anchors: Rows | None
) -> dict[str, Fitted]:
    """The closed forms among some methods, from the fit and select moments.

    Raises:
      RunError: a map is not to be trusted.
    """
    wanted = [name for name in methods if name in METHODS]
    with stage("fitting " + ", ".join(wanted)):
        fitted = fit_all(
            moments["fit"], moments["select"], methods=wanted, anchors=anchors
        )
    for name, one in fitted.items():
        fit = one.selection.fit
        if not bool(fit.ok):
            raise RunError(
                f"{name} could not be solved: condition {float(fit.condition):g}, rank "
                f"{int(fit.rank)}. Do the states vary from text to text?"
            )
    return fitted


def fit_shuffled_closed(
    moments: Mapping[str, Moments],
    methods: Sequence[str],
    rows: Rows,
    anchors: Rows,
    *,
    key: jax.Array,
) -> dict[str, Fitted]:
    """The control of `fit_closed`: fit rows, and anchors, paired at random."""
    x, y = rows
    y = y[np.asarray(derangement(key, len(x)))]
    wrong = accumulate(
        (x[i : i + 8192], y[i : i + 8192]) for i in range(0, len(x), 8192)
    )
    pairs = anchors[0], np.roll(anchors[1], 1, axis=0)
    return fit_closed({**moments, "fit": wrong}, methods, pairs)


def fit_descents(
    moments: Mapping[str, Moments],
    methods: Sequence[str],
    ridge: StateMap,
    rows: Rows,
    select: Rows,
    *,
    key: jax.Array,
    epochs: int,
) -> dict[str, tuple[StateMap, float]]:
    """The gradient fits among some methods: name -> map, seconds with compilation."""
    settings = Descent(epochs=epochs, batch=min(128, len(rows[0])))
    start = Start(key, moments["fit"], mean_map(moments["fit"]), ridge)
    found = {}
    for name in methods:
        if name not in GRADIENT:
            continue
        begin, loss = GRADIENT[name]
        began = time.perf_counter()
        with Progress(f"training {name}", unit="steps") as shown:
            fit = fit_gradient(
                begin(start),
                rows,
                select,
                loss=loss,
                key=key,
                settings=settings,
                on_step=shown.at,
            )
        found[name] = (jax.block_until_ready(fit.map), time.perf_counter() - began)
    return found


def choice_of(name: str, fitted: Fitted) -> dict[str, float]:
    """The penalty and rank that were chosen, and the condition there."""
    selection = fitted.selection
    return {
        f"{name}_penalty": float(selection.fit.penalty),
        f"{name}_rank": int(selection.fit.rank),
        f"{name}_condition": float(selection.fit.condition),
        f"{name}_at_edge": int(selection.at_edge),
    }


def accuracy_interval(
    affine: StateMap,
    probe: Probe,
    x: np.ndarray,
    labels: np.ndarray,
    documents: Sequence[str],
    resamples: int,
) -> Interval:
    """Accuracy of the target's probe on mapped states, with its interval."""
    logits = np.asarray(predict_logits(probe, apply_map(affine, x)))
    return bootstrap_interval(
        logits.argmax(-1) == labels, documents, resamples=resamples
    )


def probe_accuracies(task: Task, name: str) -> dict[str, float]:
    """NAME_target_probe_accuracy of the target's own states, and the source's alike."""
    found = {}
    for side, probe, x in (
        ("target", task.target_probe, task.y["test"]),
        ("source", task.source_probe, task.x["test"]),
    ):
        right = np.asarray(predict_logits(probe, x)).argmax(-1) == task.labels["test"]
        interval = bootstrap_interval(right, task.documents, resamples=task.resamples)
        found |= with_ends(f"{name}{side}_probe_accuracy", interval)
    return found


def with_ends(name: str, interval: Any) -> dict[str, float]:
    """{name, name_low, name_high} of an interval."""
    ends = ("", "_low", "_high")
    return {f"{name}{end}": float(value) for end, value in zip(ends, interval)}
