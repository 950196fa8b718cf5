"""Pairing two stores row by row, only if their ids agree."""

import collections
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax import kinds
from helix_jax.activations.store import Store
from helix_jax.arguments import takes
from helix_jax.errors import StoreError


class Pair(NamedTuple):
    """Two stores whose rows are paired; x is source, y is target.

    Attributes:
      x, y: stores with the same ids in the same order.
      dropped_x, dropped_y: numbers of rows without a partner (align="intersect" only).
    """

    x: Store
    y: Store
    dropped_x: int = 0
    dropped_y: int = 0

    @property
    def ids(self) -> list[str]:
        """[N] id of each row."""
        return self.x.ids

    @property
    def labels(self) -> np.ndarray:
        """[N] int32, from whichever store has labels; -1 for none."""
        return np.where(self.x.labels >= 0, self.x.labels, self.y.labels)

    def rows(
        self,
        layer_x: int | None = None,
        layer_y: int | None = None,
        *,
        batch: int = 8192,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x [n, dx], y [n, dy]) float32, `batch` rows at a time."""
        left = self.x.rows(layer_x, batch=batch)
        yield from zip(left, self.y.rows(layer_y, batch=batch), strict=True)

    def read(
        self, layer_x: int | None = None, layer_y: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """All rows, x [N, dx] and y [N, dy] float32."""
        return self.x.read(layer_x), self.y.read(layer_y)

    def select(self, rows: np.ndarray) -> "Pair":
        """A view of some rows of both stores; see `Store.select`."""
        return Pair(self.x.select(rows), self.y.select(rows))


@takes(store_x=kinds.STORE, store_y=kinds.STORE)
def join(store_x: Store, store_y: Store, *, align: str = "strict") -> Pair:
    """Pair two stores.

    Args:
      store_x: source.
      store_y: target.
      align: "strict" requires the same ids in the same order; "intersect" keeps the
        common ids, in the order of store_x, and counts what it drops.

    Returns:
      The pair.

    Raises:
      StoreError: ids differ, none is shared, an id to match is repeated, or the labels
        of an id differ; names both stores.
    """
    if align == "strict":
        if store_x.ids != store_y.ids:
            raise StoreError(_difference(store_x, store_y))
        pair = Pair(store_x, store_y)
    elif align == "intersect":
        pair = _intersect(store_x, store_y)
    else:
        raise ValueError(f"align must be 'strict' or 'intersect', got {align!r}.")
    x, y = pair.x.labels, pair.y.labels
    unequal = np.flatnonzero((x >= 0) & (y >= 0) & (x != y))
    if len(unequal):
        row = unequal[0]
        raise StoreError(
            f"{store_x.name} and {store_y.name} disagree about {len(unequal)} labels; "
            f"the first is {pair.ids[row]!r}: {x[row]} against {y[row]}. Make both "
            "from the same corpus."
        )
    return pair


def _intersect(store_x: Store, store_y: Store) -> Pair:
    for store in (store_x, store_y):
        repeated = first_repeated(store.ids)
        if repeated is not None:
            raise StoreError(
                f"{store.name} holds the id {repeated!r} more than once, so rows "
                "cannot be matched by id. Make ids unique, or join strictly."
            )
    places = {own: row for row, own in enumerate(store_y.ids)}
    rows_x = [row for row, own in enumerate(store_x.ids) if own in places]
    rows_y = [places[store_x.ids[row]] for row in rows_x]
    if not rows_x:
        raise StoreError(
            f"{store_x.name} and {store_y.name} share no id; "
            f"{_example(store_x)}, {_example(store_y)}."
        )
    return Pair(
        store_x.select(np.array(rows_x)),
        store_y.select(np.array(rows_y)),
        len(store_x) - len(rows_x),
        len(store_y) - len(rows_y),
    )


def first_repeated(ids: Sequence[str]) -> str | None:
    """The first id that occurs twice, or None."""
    if len(set(ids)) == len(ids):
        return None
    counts = collections.Counter(ids)
    return next(own for own in ids if counts[own] > 1)


def _difference(store_x: Store, store_y: Store) -> str:
    ids_x, ids_y = store_x.ids, store_y.ids
    set_x, set_y = set(ids_x), set(ids_y)
    shared = min(len(ids_x), len(ids_y))
    row = next((i for i in range(shared) if ids_x[i] != ids_y[i]), shared)

    def at(ids: list[str]) -> str:
        return repr(ids[row]) if row < len(ids) else "no row"

    return (
        f"{store_x.name} ({len(ids_x)} rows) and {store_y.name} ({len(ids_y)} rows) do "
        f"not hold the same ids in the same order: row {row} is {at(ids_x)} against "
        f"{at(ids_y)}; {len(set_x - set_y)} ids are only in the first and "
        f"{len(set_y - set_x)} only in the second. Extract both from the same corpus, "
        "or join with align='intersect'."
    )


def _example(store: Store) -> str:
    first = repr(store.ids[0]) if len(store) else "nothing"
    return f"{store.name} begins with {first}"
