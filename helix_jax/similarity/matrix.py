"""Every pair among many representations, by every measure of the same rows.

Kernel and distance matrices are summed in one pass over tiles for all representations
together, and neighbours are found once for each, so that a pair costs next to nothing.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from helix_jax.linalg import wide
from helix_jax.similarity.gram import gram_cka, gram_correlation, gram_unbiased_cka
from helix_jax.similarity.gram_null import centred_matrices, gram_null
from helix_jax.similarity.gram_sums import gram_sums
from helix_jax.similarity.neighbours import cknna, mutual_neighbours, nearest_neighbours
from helix_jax.similarity.nulls import neighbours_null
from helix_jax.types import Array


class KernelMeasure(NamedTuple):
    """A cosine of centred matrices: which ones, and how they are centred."""

    kernel: str
    ranks: bool
    centring: str


KERNEL_MEASURES = {
    "linear_cka": KernelMeasure("linear", False, "cka"),
    "unbiased_cka": KernelMeasure("linear", False, "unbiased"),
    "rbf_cka": KernelMeasure("rbf", False, "cka"),
    "unbiased_rbf_cka": KernelMeasure("rbf", False, "unbiased"),
    "rsa_pearson": KernelMeasure("correlation", False, "correlation"),
    "rsa_spearman": KernelMeasure("correlation", True, "correlation"),
}
NEIGHBOUR_MEASURES = {"mutual_knn": mutual_neighbours, "cknna": cknna}
ROW_MEASURES = (*KERNEL_MEASURES, *NEIGHBOUR_MEASURES)
_FROM_SUMS = {
    "cka": gram_cka,
    "unbiased": gram_unbiased_cka,
    "correlation": gram_correlation,
}

Pairs = Sequence[tuple[int, int]]


@wide
def similarity_matrix(
    representations: Sequence[Any],
    *,
    measures: Sequence[str] = ROW_MEASURES,
    pairs: Pairs | None = None,
    neighbours: int = 10,
    product_dtype: Any = None,
) -> dict[str, Array]:
    """Scores of many pairs by many measures.

    Args:
      representations: M arrays [N, d_m] float of the same rows.
      measures: names among ROW_MEASURES.
      pairs: (a, b) places in `representations`; None for all a < b.
      neighbours: k of mutual_knn and cknna.
      product_dtype: of the kernel tiles; None is float64 where the backend has it.

    Returns:
      measure -> [pairs].

    Raises:
      ValueError: an unknown measure, or as `gram_sums` and `nearest_neighbours`.
    """
    _require_measures(measures)
    pairs = all_pairs(len(representations)) if pairs is None else pairs
    left, right = (jnp.array([pair[side] for pair in pairs]) for side in (0, 1))
    scores = {}
    for matrices, names in _by_matrices(measures).items():
        kernel, ranks = matrices
        sums = gram_sums(
            representations, kernel=kernel, ranks=ranks, product_dtype=product_dtype
        )
        for name in names:
            found = _FROM_SUMS[KERNEL_MEASURES[name].centring](sums)
            scores[name] = found[left, right]
    wanted = [name for name in measures if name in NEIGHBOUR_MEASURES]
    near = _neighbours(representations, neighbours, product_dtype) if wanted else []
    for name in wanted:
        measure = _jitted(NEIGHBOUR_MEASURES[name])
        scores[name] = jnp.stack([measure(near[a], near[b]) for a, b in pairs])
    return {name: scores[name] for name in measures}


@wide
def similarity_nulls(
    representations: Sequence[Any],
    *,
    measures: Sequence[str] = ROW_MEASURES,
    pairs: Pairs | None = None,
    neighbours: int = 10,
    permutations: int = 1000,
    key: Array | None = None,
    product_dtype: Any = None,
) -> dict[str, Array]:
    """Scores as in `similarity_matrix`, with the rows of each pair's second shuffled.

    Args:
      representations: as in `similarity_matrix`; M matrices of N^2 are held.
      measures: names among ROW_MEASURES.
      pairs: as in `similarity_matrix`.
      neighbours: k of mutual_knn and cknna.
      permutations: P, shared by all pairs.
      key: jax.random key; None is jax.random.key(0).
      product_dtype: of the matrices; None is float64 where the backend has it.

    Returns:
      measure -> [P, pairs].

    Raises:
      ValueError: as `similarity_matrix`.
    """
    _require_measures(measures)
    pairs = all_pairs(len(representations)) if pairs is None else pairs
    settings: dict[str, Any] = {"permutations": permutations, "key": key}
    nulls = {}
    for name in measures:
        if name in NEIGHBOUR_MEASURES:
            continue
        sides = [sorted({pair[side] for pair in pairs}) for side in (0, 1)]
        stack = centred_matrices(
            representations,
            **KERNEL_MEASURES[name]._asdict(),
            product_dtype=product_dtype,
        )
        null = gram_null(*(stack[jnp.array(own)] for own in sides), **settings)
        places = [(sides[0].index(a), sides[1].index(b)) for a, b in pairs]
        nulls[name] = jnp.stack([null[:, i, j] for i, j in places], axis=1)
    wanted = [name for name in measures if name in NEIGHBOUR_MEASURES]
    near = _neighbours(representations, neighbours, product_dtype) if wanted else []
    for name in wanted:
        measure = NEIGHBOUR_MEASURES[name]
        found = [
            neighbours_null(measure, near[a], near[b], **settings) for a, b in pairs
        ]
        nulls[name] = jnp.stack(found, axis=1)
    return {name: nulls[name] for name in measures}


def all_pairs(count: int) -> list[tuple[int, int]]:
    """(a, b) with a < b."""
    return list(itertools.combinations(range(count), 2))


def _by_matrices(measures: Sequence[str]) -> dict[tuple[str, bool], list[str]]:
    """Kernel measures, grouped by the matrices that they use."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in measures:
        if name in KERNEL_MEASURES:
            groups.setdefault(KERNEL_MEASURES[name][:2], []).append(name)
    return groups


def _neighbours(representations: Sequence[Any], k: int, dtype: Any) -> list:
    return [
        nearest_neighbours(x, neighbours=k, product_dtype=dtype)
        for x in representations
    ]


@functools.cache
def _jitted(measure: Any) -> Any:
    return jax.jit(measure)


def _require_measures(measures: Sequence[str]) -> None:
    unknown = [name for name in measures if name not in ROW_MEASURES]
    if unknown or not measures:
        raise ValueError(
            f"similarity_matrix: measures need to be among {', '.join(ROW_MEASURES)}, "
            f"got {', '.join(unknown) or 'none'}."
        )
