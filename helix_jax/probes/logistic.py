"""Multinomial logistic probes along a path of L2 penalties.

For each penalty, over W [D, C] and b [C],

    1/N sum_i -log softmax(x_i W + b)[label_i] + ridge/2 |W|^2

is minimised. b is not penalised; ridge is penalty * trace(cov) / D (relative=True) or
penalty. The optimum is that of scikit-learn's LogisticRegression with C = `sklearn_c`.

The path runs from the strongest penalty to the weakest in one compiled scan; each fit
starts from the previous solution.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import first_argmax, product, spectrum_of, wide, wide_dtype
from helix_jax.penalties import choose_best, strongest_first
from helix_jax.probes.newton import Certificate, NewtonState, Problem, certify, newton
from helix_jax.probes.objective import margins
from helix_jax.probes.probe import Probe
from helix_jax.types import Array

PENALTIES = tuple(np.logspace(-6, 1, 10).tolist())
"""Default grid: 1e-6 to 10 times the mean variance of a dimension."""

ABSENT = -1e4
"""Bias of a class without rows: finite, but its probability is zero."""


class ProbePath(NamedTuple):
    """Probes for P penalties.

    Attributes:
      penalties: [P] as requested.
      ridge: [P] the `ridge` of the objective for each penalty.
      probe: Probe with a leading axis P.
      objective: [P] at the solution, in nats, summed in float64.
      gradient_norm: [P] Euclidean norm of the gradient there, summed in float64.
      gap: [P] objective minus its minimum, estimated from that gradient.
      steps: [P] int, Newton steps.
      products: [P] int, Hessian products.
      ok: [P] bool, the solution is finite and its gap within the tolerance.
    """

    penalties: Array
    ridge: Array
    probe: Probe
    objective: Array
    gradient_norm: Array
    gap: Array
    steps: Array
    products: Array
    ok: Array


class ProbeSelection(NamedTuple):
    """The best probe on a select split.

    Attributes:
      probe: Probe.
      penalty: [] the chosen one.
      index: [] int, its place in the path.
      nll_nats: [P] mean negative log-likelihood on the select split for each penalty.
      accuracy: [P] likewise.
      at_edge: [] bool, the choice is the first or last of the path.
      ok: [] bool, the chosen probe has converged.
    """

    probe: Probe
    penalty: Array
    index: Array
    nll_nats: Array
    accuracy: Array
    at_edge: Array
    ok: Array

    @property
    def failure(self) -> str | None:
        """Why the probe must not be used, or None if it may be. On the host only."""
        if bool(self.ok):
            return None
        return (
            f"the probe of penalty {float(self.penalty):g} has not converged. "
            "Are there NaN or constant states?"
        )


def sklearn_c(ridge: float, rows: int, classes: int) -> float:
    """scikit-learn's C for the same optimum: 1 / (N ridge).

    For two classes scikit-learn fits one vector, the difference of our two columns.
    Its squared norm is twice that of the columns, so C is 2 / (N ridge).
    """
    if not (ridge > 0 and rows >= 1 and classes >= 2):
        raise ValueError(
            "sklearn_c: needs a ridge above zero, rows, and two classes or more, got "
            f"{ridge}, {rows} and {classes}."
        )
    return (2 if classes == 2 else 1) / (rows * ridge)


@takes(x=kinds.ARRAY, num_classes=kinds.COUNT)
@wide
def fit_probes(
    x: Array,
    labels: Array,
    *,
    num_classes: int,
    penalties: Sequence[float] | Array = PENALTIES,
    relative: bool = True,
    tolerance: float = 1e-6,
    max_steps: int = 60,
    max_products: int = 300,
    dtype: Any = None,
) -> ProbePath:
    """Train a probe for each penalty.

    Args:
      x: [N, D] float, states.
      labels: [N] int, class of each row. A class without rows gets probability zero.
      num_classes: C, at least 2.
      penalties: [P] or a scalar, positive, in any order.
      relative: penalties are relative to the mean variance, as at the top of this file:
        they do not depend on the scale of x or on N.
      tolerance: largest gap at the solution, as a share of the objective.
      max_steps: maximum number of Newton steps per penalty.
      max_products: maximum number of Hessian products per Newton step.
      dtype: dtype of the matrix products; None is that of x, at least float32.

    Returns:
      ProbePath, in the order of `penalties`.

    Raises:
      ValueError: one class only, labels out of range, NaN, or a penalty not above zero.
      TypeError: x or labels of the wrong kind.

    Reference: see newton.py.
    """
    checks.require_matrix("fit_probes", "x", x)
    checks.require_finite("fit_probes", "x", x)
    labels = numeric.require_labels("fit_probes", labels, num_classes, x.shape[0])
    penalties = np.atleast_1d(np.asarray(penalties, np.float64))
    if penalties.ndim != 1 or not penalties.size or not (penalties > 0).all():
        raise ValueError(
            "fit_probes: penalties need one or more numbers above zero, got "
            f"{penalties.tolist()}. Without one, separable classes have no optimum."
        )
    fit = functools.partial(
        _fit_path,
        jnp.asarray(x),
        jnp.asarray(labels),
        num_classes=num_classes,
        relative=relative,
        tolerance=tolerance,
        max_steps=max_steps,
        max_products=max_products,
        dtype=jnp.promote_types(x.dtype, jnp.float32) if dtype is None else dtype,
    )
    return strongest_first(fit, penalties)


@functools.partial(
    jax.jit,
    static_argnames=(
        "num_classes",
        "relative",
        "tolerance",
        "max_steps",
        "max_products",
        "dtype",
    ),
)
def _fit_path(
    x: Array,
    labels: Array,
    penalties: Array,
    *,
    num_classes: int,
    relative: bool,
    tolerance: float,
    max_steps: int,
    max_products: int,
    dtype: Any,
) -> ProbePath:
    rows, width = x.shape
    mean = jnp.mean(x, axis=0, dtype=wide_dtype())
    z = (x.astype(wide_dtype()) - mean).astype(dtype)
    spectrum = spectrum_of(product(z.T, z) / rows)
    scale = jnp.sum(spectrum.values).astype(wide_dtype()) / width
    ridge = penalties * (scale if relative else 1)
    is_label = labels[None, :] == jnp.arange(num_classes)[:, None]
    problem = Problem(z, is_label, spectrum)
    share = jnp.mean(is_label, axis=1, dtype=wide_dtype())
    bias = jnp.where(share > 0, jnp.log(jnp.where(share > 0, share, 1)), ABSENT)
    start = jnp.zeros((num_classes, width + 1), wide_dtype()).at[:, -1].set(bias)

    def fit(
        theta: Array, penalty: Array
    ) -> tuple[Array, tuple[NewtonState, Certificate]]:
        state = newton(
            problem,
            penalty,
            theta,
            tolerance=tolerance,
            max_steps=max_steps,
            max_products=max_products,
        )
        return state.theta, (state, certify(problem, state.theta, penalty))

    _, (state, certificate) = jax.lax.scan(fit, start, ridge)
    kernel = jnp.swapaxes(state.theta[:, :, :-1], 1, 2)
    finite = jnp.all(jnp.isfinite(state.theta), axis=(1, 2))
    stopped = state.decrease <= tolerance * state.loss
    within = certificate.gap <= tolerance * certificate.objective
    return ProbePath(
        penalties,
        ridge,
        Probe(kernel, state.theta[:, :, -1] - product(mean, kernel)),
        certificate.objective,
        certificate.gradient_norm,
        certificate.gap,
        state.steps,
        state.products,
        finite & stopped & within,
    )


@takes(path=kinds.PROBE_PATH, x=kinds.ARRAY)
@wide
def select_probe(path: ProbePath, x: Array, labels: Array) -> ProbeSelection:
    """Choose the penalty with the least negative log-likelihood on a select split.

    Args:
      path: from `fit_probes` on the fit split.
      x: [N, D] float, states of the select split.
      labels: [N] int.

    Returns:
      ProbeSelection.

    Raises:
      ValueError: x has another width, holds NaN, or has more or fewer rows than labels.
    """
    width, classes = path.probe.kernel.shape[1:]
    checks.require_matrix("select_probe", "x", x)
    checks.require_width("select_probe", "x", x.shape[1], width, shape=x.shape)
    checks.require_finite("select_probe", "x", x)
    labels = numeric.require_labels(
        "select_probe", labels, classes, x.shape[0], kinds=1
    )
    nll, accuracy = _score_path(path.probe, jnp.asarray(x), jnp.asarray(labels))
    index, at_edge = choose_best(-nll)
    return ProbeSelection(
        jax.tree.map(lambda leaf: leaf[index], path.probe),
        path.penalties[index],
        index,
        nll,
        accuracy,
        at_edge,
        path.ok[index],
    )


@jax.jit
def _score_path(probes: Probe, x: Array, labels: Array) -> tuple[Array, Array]:
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    is_label = labels[None, :] == jnp.arange(probes.bias.shape[1])[:, None]

    def one(probe: Probe) -> tuple[Array, Array]:
        kernel, bias = probe.kernel.astype(dtype), probe.bias.astype(dtype)
        logits = product(x.astype(dtype), kernel) + bias
        loss = margins(logits.T, is_label).loss
        right = first_argmax(logits) == labels
        return jnp.mean(loss, dtype=wide_dtype()), jnp.mean(right, dtype=wide_dtype())

    return jax.lax.map(one, probes)


@takes(x=kinds.ARRAY, x_select=kinds.ARRAY, num_classes=kinds.COUNT)
def train_probe(
    x: Array,
    labels: Array,
    x_select: Array,
    labels_select: Array,
    num_classes: int,
    **settings: Any,
) -> ProbeSelection:
    """`fit_probes` on the fit split, then `select_probe` on the select split.

    Args:
      x, labels: of the fit split.
      x_select, labels_select: of the select split.
      num_classes: C.
      **settings: passed to `fit_probes`.

    Returns:
      ProbeSelection.
    """
    path = fit_probes(x, labels, num_classes=num_classes, **settings)
    return select_probe(path, x_select, labels_select)
