"""One ridge map between two models without a store: moments as states are computed.

The rows of the fit and select splits are computed once, those of the test split once
more for the errors of each row, whose sums over documents give the intervals. Some rows
of the select and the test split are kept: the confidence of mapped rows is calibrated
and tested on them.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from helix_jax.activations import Pair, PairStream
from helix_jax.activations.pair_stream import PIECES, Rows
from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    accumulate_with_shuffled,
    deviations,
    merge_all,
    squared_errors,
)
from helix_jax.text.hashing import hashed_subset
from helix_jax.transfer.pair_fit import KeptRows, PairFit, choose_map
from helix_jax.types import Array

KEPT = 16_384  # rows of a split, at most
_SHUFFLED = "shuffled_"
_ROWS = ("row_ids", "row_x", "row_y")
_SALT = "confidence"


class RowErrors(NamedTuple):
    """The values of each row that a bootstrap over documents needs.

    Attributes:
      ids: [N] of the texts.
      errors: name of a map -> [N] squared errors of its rows.
      deviations: [N] squared distance of each target row from the mean of all.
    """

    ids: list[str]
    errors: dict[str, np.ndarray]
    deviations: np.ndarray


def fit_streams(pairs: Mapping[str, PairStream], *, seed: int) -> PairFit:
    """Like `fit_pairs`, for states without a store.

    Args:
      pairs: of "fit", "select" and "test".
      seed: of the shuffled control, see `PairFit.controls`; pairs are shuffled within
        windows of texts.

    Raises:
      RunError: the map is not to be trusted.
    """
    _, key = jax.random.split(jax.random.key(seed))
    moments, kept = {}, {}
    moments["fit"], shuffled = _with_shuffled(pairs["fit"], key, seed)
    for split in ("select", "test"):
        moments[split], kept[split] = moments_and_rows(
            pairs[split], title=f"moments, {split} split"
        )
    return PairFit(pairs, moments, choose_map(moments), shuffled, kept)


def stream_moments(pair: PairStream, *, title: str = "moments") -> Moments:
    """Moments of all rows; the pieces of the texts merge as a balanced tree."""
    parts = pair.reduce(_moments, record="moments", title=title)
    return merge_all(_moments_of(part) for part in parts)


def moments_and_rows(
    pair: PairStream, *, title: str = "moments", most: int = KEPT
) -> tuple[Moments, KeptRows]:
    """Moments of all rows, and a sample of the rows with a share from each piece.

    Args:
      pair: of the two models.
      title: of the work.
      most: rows to keep.
    """
    share = -(-most // PIECES)
    reduction = functools.partial(_moments_and_rows, most=share)
    record = {"moments and rows": share}
    parts = list(pair.reduce(reduction, record=record, title=title))
    ids, x, y = (np.concatenate([part[name] for part in parts]) for name in _ROWS)
    chosen = hashed_subset(ids.tolist(), most, salt=_SALT)
    kept = KeptRows(ids[chosen].tolist(), (x[chosen], y[chosen]))
    return merge_all(_moments_of(part) for part in parts), kept


def row_errors(
    pair: Pair | PairStream, maps: Mapping[str, AffineMap], moments: Moments
) -> RowErrors:
    """Squared errors of the rows of a pair under some maps; `moments` are its own."""
    if isinstance(pair, Pair):
        x, y = pair.read()
        errors = {name: squared_errors(affine, x, y) for name, affine in maps.items()}
        return RowErrors(pair.ids, errors, deviations(y))
    arrays = [np.asarray(part) for part in jax.tree.leaves(list(maps.values()))]
    digest = hashlib.sha256(b"".join(one.tobytes() for one in arrays)).hexdigest()
    reduction = functools.partial(_errors, maps=maps, centre=moments.mean_y)
    record = {"errors": list(maps), "maps": digest}
    parts = list(pair.reduce(reduction, record=record, title="errors of the maps"))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ids, spread = found.pop("ids").tolist(), found.pop("deviations")
    errors = {name: found[f"map_{number}"] for number, name in enumerate(maps)}
    return RowErrors(ids, errors, spread)


def _moments(_: int, rows: Iterator[Rows]) -> dict[str, Any]:
    return accumulate((one.x, one.y) for one in rows)._asdict()


def _moments_and_rows(_: int, rows: Iterator[Rows], *, most: int) -> dict[str, Any]:
    """Moments of a piece and at most `most` of its rows: no more are ever held."""
    held: list[Any] = []

    def passing() -> Iterator[tuple[Array, Array]]:
        for one in rows:
            held[:] = _subset([*held, np.array(one.ids), one.x, one.y], most)
            yield one.x, one.y

    moments = accumulate(passing())
    return moments._asdict() | dict(zip(_ROWS, held))


def _subset(columns: list[Any], most: int) -> list[Any]:
    """Ids, x and y of one or two blocks of rows, those of smallest hash."""
    joined = [np.concatenate(columns[place::3]) for place in range(3)]
    chosen = hashed_subset(joined[0].tolist(), most, salt=_SALT)
    return [column[chosen] for column in joined]


def _with_shuffled(
    pair: PairStream, key: jax.Array, seed: int
) -> tuple[Moments, Moments]:
    """Moments of true pairs, and of pairs shuffled within each window."""

    def reduction(piece: int, rows: Iterator[Rows]) -> dict[str, Any]:
        own = jax.random.fold_in(key, piece)
        pairs = ((one.x, one.y) for one in rows)
        true, shuffled = accumulate_with_shuffled(pairs, key=own)
        named = {f"{_SHUFFLED}{name}": v for name, v in shuffled._asdict().items()}
        return true._asdict() | named

    record = {"moments and shuffled": seed}
    parts = list(pair.reduce(reduction, record=record, title="moments, fit split"))
    true, shuffled = (
        merge_all(_moments_of(part, prefix) for part in parts)
        for prefix in ("", _SHUFFLED)
    )
    return true, shuffled


def _errors(
    _: int, rows: Iterator[Rows], maps: Mapping[str, AffineMap], centre: Array
) -> dict[str, Any]:
    found: dict[str, list[Any]] = {"ids": [], "deviations": []}
    for one in rows:
        found["ids"].append(np.array(one.ids))
        found["deviations"].append(deviations(one.y, centre=centre))
        for number, affine in enumerate(maps.values()):
            errors = squared_errors(affine, one.x, one.y)
            found.setdefault(f"map_{number}", []).append(errors)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _moments_of(part: Mapping[str, np.ndarray], prefix: str = "") -> Moments:
    return Moments(*(part[f"{prefix}{name}"] for name in Moments._fields))
