"""Every closed-form method by name, with one signature and one selection rule.

| name              | family of maps                        | chosen                 |
|-------------------|---------------------------------------|------------------------|
| least_squares     | any, of smallest norm                 |                        |
| ridge             | any                                   | penalty                |
| reduced_rank      | of rank k, least penalised error      | k, at ridge's penalty  |
| cca               | through k canonical variates          | k, at ridge's penalty  |
| whitened          | the same, with the target's variance  | k, at ridge's penalty  |
| pls               | k directions of largest covariance    | k                      |
| procrustes        | rotations                             |                        |
| scaled_procrustes | rotations and one scale               |                        |
| relative          | cosines to anchor rows and back       | penalty; needs anchors |

A method is a function that takes a `Problem` and returns a `Selection`. The moments are
decomposed once for all of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax

from helix_jax import kinds
from helix_jax.alignment.canonical import canonical_factors, fit_canonical
from helix_jax.alignment.least_squares import least_squares_path
from helix_jax.alignment.moments import Moments, usable_moments
from helix_jax.alignment.partial_least_squares import COMPONENTS, fit_pls
from helix_jax.alignment.path import Selection, select_map
from helix_jax.alignment.procrustes import CrossFactors, cross_factors, procrustes_path
from helix_jax.alignment.ranks import rank_grid
from helix_jax.alignment.reduced_rank import fit_reduced_rank
from helix_jax.alignment.relative import fit_relative
from helix_jax.alignment.ridge import RELATIVE_PENALTIES, fit_ridge, select_penalty
from helix_jax.arguments import takes
from helix_jax.linalg import Spectrum, spectrum_of, wide
from helix_jax.types import Array


class Problem(NamedTuple):
    """What the methods share: moments of both splits and their decompositions.

    Attributes:
      fit, select: Moments of the two splits.
      spectrum_x, spectrum_y: of cov_xx and cov_yy of the fit split.
      cross: factors of its cov_xy.
      ridge: Selection of `fit_ridge`: its penalty is that of the rank paths.
      canonical: factors at that penalty.
      anchors: ([K, dx], [K, dy]) paired rows of the fit split, or None.
      penalties: [P] relative.
      count: ranks of a path, at most.
    """

    fit: Moments
    select: Moments
    spectrum_x: Spectrum
    spectrum_y: Spectrum
    cross: CrossFactors
    ridge: Selection
    canonical: CrossFactors
    anchors: tuple[Array, Array] | None
    penalties: Array
    count: int  # type: ignore[assignment]  # a tuple has a method of this name


@takes(fit=kinds.MOMENTS, select=kinds.MOMENTS, anchors=kinds.TWO_SIDES)
@wide
def prepare(
    fit: Moments,
    select: Moments,
    *,
    anchors: tuple[Array, Array] | None = None,
    penalties: Sequence[float] | Array = RELATIVE_PENALTIES,
    count: int = 20,
) -> Problem:
    """Decompose the moments once, and choose the penalty.

    Args:
      fit: moments of the fit split.
      select: of the select split, the same widths.
      anchors: paired rows of the fit split, for `relative` only.
      penalties: [P] positive, relative as in `fit_ridge`.
      count: ranks of the paths, from 1 to the smaller width, evenly spaced by ratio.

    Returns:
      Problem.

    Raises:
      ValueError: fewer than 2 rows, NaN, widths that differ.
    """
    fit, select = usable_moments("prepare", fit), usable_moments("prepare", select)
    spectrum_x, spectrum_y = spectrum_of(fit.cov_xx), spectrum_of(fit.cov_yy)
    path = fit_ridge(fit, penalties=penalties, spectrum=spectrum_x)
    ridge = select_penalty(path, select)
    canonical = canonical_factors(
        fit, penalty=ridge.fit.penalty, spectrum_x=spectrum_x, spectrum_y=spectrum_y
    )
    cross = cross_factors(fit.cov_xy)
    return Problem(
        fit,
        select,
        spectrum_x,
        spectrum_y,
        cross,
        ridge,
        canonical,
        anchors,
        path.penalties,
        count,
    )


def _ranks(problem: Problem, limit: int | None = None) -> tuple[int, ...]:
    widths = problem.fit.cov_xy.shape
    return rank_grid(min(*widths, limit or widths[0]), problem.count)


def _least_squares(problem: Problem) -> Selection:
    path = least_squares_path(problem.fit, spectrum=problem.spectrum_x)
    return select_map(path, problem.select)


def _ridge(problem: Problem) -> Selection:
    return problem.ridge


def _reduced_rank(problem: Problem) -> Selection:
    path = fit_reduced_rank(
        problem.fit,
        ranks=_ranks(problem),
        penalty=problem.ridge.fit.penalty,
        spectrum_x=problem.spectrum_x,
    )
    return select_map(path, problem.select)


def _canonical(problem: Problem, shrink: bool) -> Selection:
    path = fit_canonical(
        problem.fit,
        ranks=_ranks(problem),
        penalty=problem.ridge.fit.penalty,
        shrink=shrink,
        spectrum_x=problem.spectrum_x,
        factors=problem.canonical,
    )
    return select_map(path, problem.select)


def _pls(problem: Problem) -> Selection:
    path = fit_pls(problem.fit, ranks=_ranks(problem, COMPONENTS))
    return select_map(path, problem.select)


def _procrustes(problem: Problem, scaled: bool) -> Selection:
    path = procrustes_path(problem.fit, scaled=scaled, factors=problem.cross)
    return select_map(path, problem.select)


def _relative(problem: Problem) -> Selection:
    if problem.anchors is None:
        raise ValueError(
            "fit_all: the method relative needs anchors, paired rows of the fit split."
        )
    path = fit_relative(problem.fit, *problem.anchors, penalties=problem.penalties)
    return select_map(path, problem.select)


METHODS: Mapping[str, Callable[[Problem], Selection]] = {
    "least_squares": _least_squares,
    "ridge": _ridge,
    "reduced_rank": _reduced_rank,
    "cca": lambda problem: _canonical(problem, shrink=True),
    "whitened": lambda problem: _canonical(problem, shrink=False),
    "pls": _pls,
    "procrustes": lambda problem: _procrustes(problem, scaled=False),
    "scaled_procrustes": lambda problem: _procrustes(problem, scaled=True),
    "relative": _relative,
}


class Fitted(NamedTuple):
    """A method's map and its time.

    Attributes:
      selection: the chosen map, its R2 on the select split and the path's.
      seconds: of this method, beyond the decompositions that all share.
    """

    selection: Selection
    seconds: float


def usable_methods(rows: int | float, dx: int, *, anchors: bool) -> tuple[str, ...]:
    """Names of the methods that are defined for this number of rows.

    Least squares needs at least dx + 2 rows; relative needs anchors.
    """
    left_out = {"least_squares": rows < dx + 2, "relative": not anchors}
    return tuple(name for name in METHODS if not left_out.get(name, False))


@takes(
    fit=kinds.MOMENTS,
    select=kinds.MOMENTS,
    methods=kinds.METHODS,
    anchors=kinds.TWO_SIDES,
)
def fit_all(
    fit: Moments,
    select: Moments,
    *,
    methods: Sequence[str] | None = None,
    anchors: tuple[Array, Array] | None = None,
    penalties: Sequence[float] | Array = RELATIVE_PENALTIES,
    count: int = 20,
) -> dict[str, Fitted]:
    """Fit all methods on the moments of one pass, each selected on the select split.

    Args:
      fit: moments of the fit split.
      select: of the select split.
      methods: names of `METHODS`; None is those of `usable_methods`.
      anchors, penalties, count: of `prepare`.

    Returns:
      name -> Fitted, in the order asked for. Where `selection.fit.ok` is false the map
      must not be used.

    Raises:
      ValueError: an unknown method, one that needs other rows, and as `prepare`.
    """
    if methods is None:
        rows, dx = float(fit.count), fit.cov_xx.shape[0]
        methods = usable_methods(rows, dx, anchors=anchors is not None)
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ValueError(
            f"fit_all: unknown methods {unknown}; there are {', '.join(METHODS)}."
        )
    problem = prepare(fit, select, anchors=anchors, penalties=penalties, count=count)
    fitted = {}
    for name in methods:
        start = time.perf_counter()
        selection = jax.block_until_ready(METHODS[name](problem))
        fitted[name] = Fitted(selection, time.perf_counter() - start)
    return fitted
