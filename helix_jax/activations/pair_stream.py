"""Paired states of two models, reduced as they are computed, without a store.

    window k of the texts -> states of both models -> reduction of its piece -> one file

A piece is a number of consecutive windows, independent of the number of processes. Its
result is one file, complete or absent, whose name says how far the texts were read; so
a killed run resumes, with any number of processes, and ends with the same numbers,
added in the same order.
"""

import io
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from helix_jax.activations.extractor import Extractor, keep_step, own_windows
from helix_jax.activations.window_texts import Counts
from helix_jax.activations.windows import TextWindow, ahead
from helix_jax.array_files import dump_npz, load_npz
from helix_jax.errors import RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.processes import ALONE, Processes
from helix_jax.progress import Progress
from helix_jax.storage import Folder, list_keys, open_folder, read_bytes, write_bytes
from helix_jax.types import Text

PIECES = 64  # at most, if the number of texts is known
_PIECE_WINDOWS = 16  # if it is not
_KEY = re.compile(r"(\d{8})-(\d+)-(\d+)-(\w*)\.npz")


class Rows(NamedTuple):
    """Paired rows of some texts: ids, x [n, dx] source and y [n, dy] target states."""

    ids: list[str]
    x: np.ndarray
    y: np.ndarray


Reduction = Callable[[int, Iterator[Rows]], Mapping[str, Any]]


class PairStream(NamedTuple):
    """Paired states of two models on the same texts, computed on every read.

    Attributes:
      x, y: extractors of the source's and the target's states, of one layer each.
      read: returns the texts, from their beginning, each time it is called.
      folder: where results are kept, local or in a bucket, seen by all processes.
      total: number of texts if known.
      processes: that divide the pieces among them.
    """

    x: Extractor
    y: Extractor
    read: Callable[[], Iterable[Text]]
    folder: str | os.PathLike
    total: int | None = None
    processes: Processes = ALONE

    @property
    def ids(self) -> list[str]:
        """Id of each text, one per row."""
        return [text.id for text in self.read()]

    def reduce(
        self, reduction: Reduction, *, record: Any, title: str
    ) -> Iterator[dict[str, np.ndarray]]:
        """Reduce the rows of each missing piece; yields all results in order.

        Args:
          reduction: takes the number of a piece and its rows, window by window, all of
            which it must read; returns named arrays.
          record: JSON-able, describes the reduction and its settings.
          title: of the work, for the progress.

        Yields:
          The result of `reduction` for each piece.

        Raises:
          CorpusError, StoreError, ProcessError: as for `extract`.
          RunError: the texts have changed since the work was begun.
        """
        own = [one.new_layout(self.total) for one in (self.x, self.y)]
        size = min(one["window_texts"] for one in own)
        layouts = [{**one, "window_texts": size} for one in own]
        each = _PIECE_WINDOWS
        if self.total is not None:
            each = max(1, -(-self.total // (size * PIECES)))
        of = [one.fingerprint for one in (self.x, self.y)]
        identity = {"of": of, "layouts": layouts, "each": each, "reduction": record}
        place = open_folder(f"{os.fspath(self.folder)}/{fingerprint(identity)}")
        self.processes.agree(f"what is computed in {place.name}", identity)
        done = self.processes.first(f"what {place.name} holds", self._done(place))
        done = {piece: (last, Counts(*counts)) for piece, last, counts in done}
        windows = self._compute(place, layouts, each, done, reduction, title)
        self.processes.agree(f"the texts of {place.name}", windows)
        keys = {piece: key for key, piece, *_ in _pieces(place)}
        for number in range(-(-windows["windows"] // each)):
            yield _read(place, keys.get(number))

    def _done(self, place: Folder) -> list[tuple[int, int, Counts]] | None:
        """The pieces that process 0 finds, each with its last window."""
        if self.processes.index:
            return None
        return [
            (piece, last, Counts(texts_read=texts, digest=digest))
            for _, piece, last, texts, digest in _pieces(place)
        ]

    def _compute(
        self,
        place: Folder,
        layouts: list[dict[str, Any]],
        each: int,
        done: Mapping[int, tuple[int, Counts]],
        reduction: Reduction,
        title: str,
    ) -> dict[str, Any]:
        """Compute this process's missing pieces; returns what was read of the texts."""
        shared = self.x.shared or self.y.shared
        read = {"windows": 0, "digest": ""}

        def windows(side: Extractor) -> Iterator[TextWindow]:
            return side.windows(
                self.read(),
                layouts[0]["window_texts"],
                done=dict(done.values()),
                own=own_windows((self.x, self.y), self.processes, done, each=each),
                place=place.name,
            )

        def rows(piece: Iterable[tuple[TextWindow, TextWindow]]) -> Iterator[Rows]:
            for pair in piece:
                keep_step([self.x, self.y], self.processes, pair[0].number)
                sides = zip((self.x, self.y), pair, layouts)
                x, y = (side.states(own, layout)[0] for side, own, layout in sides)
                yield Rows(pair[0].ids, x[0], y[0])
                note(pair[0])

        def note(window: TextWindow) -> None:
            counts = window.counts
            read.update(windows=window.number + 1, digest=counts.digest)
            last[:] = [window.number, counts.texts_read]
            shown.update(counts.texts_read)

        last = [0, 0]
        with (
            ThreadPoolExecutor(1) as reading_x,
            ThreadPoolExecutor(1) as reading_y,
            Progress(title, total=self.total, unit="texts") as shown,
        ):
            both = zip(
                ahead(windows(self.x), reading_x), ahead(windows(self.y), reading_y)
            )
            pieces = itertools.groupby(both, lambda pair: pair[0].number // each)
            for number, piece in pieces:
                first = next(piece)
                if first[0].encoded is None:
                    for x, _ in itertools.chain([first], piece):
                        note(x)
                    continue
                result = reduction(number, rows(itertools.chain([first], piece)))
                if self.processes.index == 0 or not shared:
                    key = f"{number:08d}-{last[0]}-{last[1]}-{read['digest']}.npz"
                    write_bytes(place, key, dump_npz(result, compressed=False))
        return read


def _pieces(place: Folder) -> Iterator[tuple[str, int, int, int, str]]:
    """For each existing piece: key, number, last window, texts read by then, digest."""
    for key in list_keys(place):
        if found := _KEY.fullmatch(key):
            number, last, texts = map(int, found.groups()[:3])
            yield key, number, last, texts, found[4]


def _read(place: Folder, key: str | None) -> dict[str, np.ndarray]:
    value = None if key is None else read_bytes(place, key)
    if value is None:
        raise RunError(
            f"not all of {place.name} is visible to this process. Give all "
            "processes one --workdir, in a bucket or a folder that machines share."
        )
    name, remedy = f"{place.name}/{key}", "delete it and run again"
    return load_npz(io.BytesIO(value), name, remedy=remedy, raises=RunError)
