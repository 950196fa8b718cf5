"""Unpaired alignment: a map between two models' states of different texts.

With A [N, dx] and B [M, dy] rows of both sides about their means and of length one, a
coupling P [N, M] says how much of each row belongs to each row of the other side, with
equal sums over rows and columns. Scores S and coupling alternate:

    P = argmax <P, S> + epsilon H(P)                 (Sinkhorn)
    C = A' P B = U diag(s) V'

    S_ij = -sum_t (F_i(t) - G_j(t))^2                at first
    S = A C B'                                       Gromov-Wasserstein
    S = A U V' B'                                    Wasserstein-Procrustes

F_i(t) is the share of the rows of its own side, or of some thousand of them, whose
cosine to row i is below t, which no rotation changes: texts are first recognised by the
distribution of their similarities. The rows coupled at the end are the pairs of a ridge
map.

The result alone does not show whether such a map is right. Both sides are halved at
random and each half is aligned separately; `agreement` is the similarity of the two
rotations. It is about zero if the shapes of both sides determine no map. Measured on
real states: up to .04 against a Gaussian of the same covariance, .11 and .14 for wrong
maps between dissimilar models, .40 and .43 for right ones. It can be low for
a right map, if only one half finds it, and high for a wrong one: unrelated clusters
also have one best match.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import checks, kinds
from helix_jax.alignment.maps import AffineMap, apply_map
from helix_jax.alignment.moments import Moments, from_batch, merge_all
from helix_jax.alignment.procrustes import cross_factors
from helix_jax.alignment.ridge import fit_ridge, ridge_at
from helix_jax.alignment.rows import row_cosine
from helix_jax.arguments import takes
from helix_jax.linalg import product, spectrum_of, unit_rows
from helix_jax.types import Array

AGREEMENT = 0.25
"""Agreement of two halves above which a map counts as found."""

_GROMOV, _PROCRUSTES = 20, 10  # rounds
_FIRST, _LATER = 0.01, 0.2  # epsilon, of the standard deviation of the scores
_SWEEPS, _LEVELS, _BLOCK = 20, 64, 256
_REFERENCES, _MOST = 4096, 32_768  # rows that signatures count, rows that are used
_FIRST_ROWS = 8192  # coupled at first, where few rows say too little: 3/4 of a half


class UnpairedFit(NamedTuple):
    """A map found without pairs, and whether to trust it.

    Attributes:
      map: AffineMap.
      agreement: [] float32, mean cosine of whitened source rows under both halves'
        rotations.
      similarity: [2, starts] float32, mean cosine of coupled rows at the end of every
        start; the map begins with the largest.
      found: [] bool, the agreement is above `AGREEMENT`.
    """

    map: AffineMap
    agreement: Array
    similarity: Array
    found: Array


@takes(x=kinds.ARRAY, y=kinds.ARRAY, key=kinds.KEY)
def fit_unpaired(
    x: Array,
    y: Array,
    *,
    key: Array,
    starts: int = 3,
    rows: int = 2048,
    match_rows: int = 4096,
    penalty: float = 0.01,
) -> UnpairedFit:
    """The affine map that gives the source the shape of the target.

    Args:
      x: [N, dx] float, source states, of texts like the target's but not the same. At
        most 32,768 rows are used; of more, a random sample is drawn.
      y: [M, dy] float, target states, likewise.
      key: jax.random key.
      starts: number of starts for each half, each on other rows.
      rows: of each side that are coupled in a round, at most half of them; memory is
        a few arrays of [rows, rows], and at first of [8192, 8192].
      match_rows: the same, for the pairs of the last map.
      penalty: of the last map, relative as in `fit_ridge`.

    Returns:
      UnpairedFit; where `found` is false the map must not be used.

    Raises:
      ValueError: fewer than 32 rows a side, NaN, rows that do not vary, no start.

    Reference: Memoli 2011, "Gromov-Wasserstein distances and the metric approach to
      object matching", section 6 (the first scores are a lower bound's); Alvarez-Melis
      and Jaakkola 2018, arXiv 1809.00013; Grave, Joulin, Berthet 2018, arXiv
      1805.11222; agreement and the last map: ours.
    """
    for name, z in (("x", x), ("y", y)):
        _require("fit_unpaired", name, z)
    if starts < 1:
        raise ValueError(f"fit_unpaired: needs one start or more, got {starts}.")
    key, *keys = jax.random.split(key, 7)
    x, y = (_at_most(k, z, _MOST) for k, z in zip(keys[:2], (x, y)))
    a, b = unit_rows(x - x.mean(0)), unit_rows(y - y.mean(0))
    f, g = (
        _signature(z, _at_most(k, z, _REFERENCES)) for k, z in zip(keys[:2], (a, b))
    )
    halves = zip(*(_halves(k, len(z)) for k, z in zip(keys[2:4], (x, y))))
    rows = min(rows, len(x) // 2, len(y) // 2)
    crosses, similarity = [], []
    for half_key, (i, j) in zip(keys[4:], halves):
        found = [
            _align(start, a[i], b[j], f[i], g[j], rows=rows)
            for start in jax.random.split(half_key, starts)
        ]
        similarity.append(jnp.stack([value for _, value in found]))
        crosses.append(found[int(jnp.argmax(similarity[-1]))][0])
    white = unit_rows(product(x - x.mean(0), _whitening(x)))
    agreement = jnp.mean(row_cosine(*(product(white, _polar(c)) for c in crosses)))
    first, second = jax.random.split(key)
    settings: dict[str, Any] = {
        "rows": min(match_rows, len(x), len(y)),
        "penalty": penalty,
    }
    best = crosses[int(jnp.argmax(jnp.max(jnp.stack(similarity), axis=1)))]
    # First on wide directions only; then on all, which the map can now separate.
    affine = _ridge(first, product(a, _polar(best)), b, x, y, **settings)
    whitening = _whitening(y)
    mapped, b = (
        unit_rows(product(z - y.mean(0), whitening)) for z in (apply_map(affine, x), y)
    )
    affine = _ridge(second, mapped, b, x, y, **settings)
    return UnpairedFit(affine, agreement, jnp.stack(similarity), agreement > AGREEMENT)


def _require(who: str, name: str, z: Any) -> None:
    checks.require_matrix(who, name, z)
    checks.require_finite(who, name, z)
    checks.require_rows(who, len(z), 32, "halves of both sides are compared")
    if not np.any(np.ptp(np.asarray(z, np.float32), axis=0) > 0):
        raise ValueError(f"{who}: the rows of {name} do not vary.")


def _at_most(key: Array, z: Array, most: int) -> Array:
    """[N, D] as float32, or `most` of the rows."""
    if len(z) > most:
        z = z[np.asarray(jax.random.choice(key, len(z), (most,), replace=False))]
    return jnp.asarray(z).astype(jnp.float32)


def _whitening(z: Array) -> Array:
    """Whitening [D, D] for the covariance plus its mean variance."""
    z = z - z.mean(0)
    values, basis = spectrum_of(product(z.T, z) / len(z))
    return basis / jnp.sqrt(values + jnp.mean(values))


def _halves(key: Array, rows: int) -> tuple[Array, Array]:
    order = jax.random.permutation(key, rows)
    return order[: rows // 2], order[rows // 2 :]


def _polar(cross: Array) -> Array:
    left, _, right = cross_factors(cross)
    return product(left, right.T)


@jax.jit
def _signature(a: Array, references: Array) -> Array:
    """[N, levels] share of references [K, D] whose cosine to a row is below a level."""
    levels = jnp.linspace(-1, 1, _LEVELS + 2)[1:-1]
    blocks = jnp.pad(a, ((0, -len(a) % _BLOCK), (0, 0))).reshape(-1, _BLOCK, a.shape[1])

    def of_block(block: Array) -> Array:
        cosines = product(block, references.T)
        return jax.lax.map(lambda level: jnp.mean(cosines < level, axis=1), levels).T

    return jax.lax.map(of_block, blocks).reshape(-1, _LEVELS)[: len(a)]


def _couple(scores: Array, epsilon: float) -> Array:
    """The coupling [N, M] of scores [N, M], rows and columns with equal sums.

    Reference: Cuturi 2013, arXiv 1306.0895, algorithm 1; both maxima are subtracted
      first, which changes no coupling and leaves no row or column empty.
    """
    scores = scores / (epsilon * jnp.std(scores))
    scores = scores - jnp.max(scores, axis=1, keepdims=True)
    kernel = jnp.exp(scores - jnp.max(scores, axis=0))
    n, m = kernel.shape

    def sweep(_: Array, sides: tuple[Array, Array]) -> tuple[Array, Array]:
        u = 1 / (n * product(kernel, sides[1]))
        return u, 1 / (m * product(kernel.T, u))

    u, v = jax.lax.fori_loop(0, _SWEEPS, sweep, (jnp.ones(n), jnp.ones(m)))
    return u[:, None] * kernel * v


def _draw(key: Array, rows: int, *sides: Array) -> tuple[Array, ...]:
    """Draw the same `rows` rows of arrays of equal length, without replacement."""
    chosen = jax.random.choice(key, len(sides[0]), (rows,), replace=False)
    return tuple(side[chosen] for side in sides)


@functools.partial(jax.jit, static_argnames="rows")
def _align(
    key: Array, a: Array, b: Array, f: Array, g: Array, *, rows: int
) -> tuple[Array, Array]:
    """Cross-covariance [dx, dy] of coupled rows, and their mean cosine."""

    def step(cross: Array, round: tuple[Array, Array]) -> tuple[Array, Array]:
        (first, second), rotate = round
        (x,), (y,) = _draw(first, rows, a), _draw(second, rows, b)
        left, values, right = cross_factors(cross)
        gains = jnp.where(rotate, 1, values)
        scores = product(product(x, left) * gains, product(y, right).T)
        coupling = _couple(scores, _LATER)
        return product(x.T, product(coupling, y)), jnp.sum(coupling * scores)

    keys = jax.random.split(key, (1 + _GROMOV + _PROCRUSTES, 2))
    (x, f), (y, g) = (
        _draw(key, min(_FIRST_ROWS, 3 * len(z) // 4), z, signature)
        for key, z, signature in zip(keys[0], (a, b), (f, g))
    )
    f, g = f - f.mean(0), g - g.mean(0)
    squares = jnp.sum(f**2, axis=1)[:, None] + jnp.sum(g**2, axis=1)
    coupling = _couple(2 * product(f, g.T) - squares, _FIRST)
    rotate = jnp.arange(_GROMOV + _PROCRUSTES) >= _GROMOV
    start = product(x.T, product(coupling, y))
    cross, similarity = jax.lax.scan(step, start, (keys[1:], rotate))
    return cross, jnp.mean(similarity[-3:])


@functools.partial(jax.jit, static_argnames="rows")
def _pairs(
    key: Array, a: Array, b: Array, x: Array, y: Array, *, rows: int
) -> tuple[Array, Array]:
    """Drawn rows of each side, each paired with its coupled mean of the other side."""
    first, second = jax.random.split(key)
    (a, x), (b, y) = _draw(first, rows, a, x), _draw(second, rows, b, y)
    coupling = rows * _couple(product(a, b.T), _LATER)
    coupled = product(coupling, y), product(coupling.T, x)
    return jnp.concatenate([x, coupled[1]]), jnp.concatenate([coupled[0], y])


def _ridge(
    key: Array, a: Array, b: Array, x: Array, y: Array, *, rows: int, penalty: float
) -> AffineMap:
    """The ridge map of states x, y, paired by coupling their rows a, b in one space."""
    draws = jax.random.split(key, -(-max(len(x), len(y)) // rows))
    moments: list[Moments] = [
        from_batch(*_pairs(draw, a, b, x, y, rows=rows)) for draw in draws
    ]
    return ridge_at(fit_ridge(merge_all(moments), penalties=penalty), 0).map
