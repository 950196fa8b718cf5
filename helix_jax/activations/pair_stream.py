"""Paired states of two models that are reduced as they are computed: no store.

    window k of the texts -> states of both models -> reduction of its piece -> one file

A piece is some consecutive windows, however many processes there are. Its result is one
file, whole or not there at all; so what was killed goes on, with as many processes as
there are then, and ends with the same numbers, added in the same order.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.activations.extractor import Extractor, keep_step, own_windows
from helix_jax.activations.window_texts import Counts
from helix_jax.activations.windows import TextWindow, ahead
from helix_jax.array_files import read_npz, write_npz
from helix_jax.errors import RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.paths import os_errors
from helix_jax.processes import ALONE, Processes
from helix_jax.progress import Progress
from helix_jax.types import Text

PIECES = 64  # at most, where the number of texts is known
_PIECE_WINDOWS = 16  # where it is not
_OWN = ("counts_", "digest_")  # names of a file that are no result


class Rows(NamedTuple):
    """Paired rows of some texts: ids, x [n, dx] source and y [n, dy] target states."""

    ids: list[str]
    x: np.ndarray
    y: np.ndarray


Reduction = Callable[[int, Iterator[Rows]], Mapping[str, Any]]


class PairStream(NamedTuple):
    """Paired states of two models on the same texts, computed whenever they are read.

    Attributes:
      x, y: what computes the source's and the target's states, of one layer each.
      read: gives the texts, from their beginning, each time it is called.
      folder: local, seen by all processes, where results are kept.
      total: number of texts where it is known.
      processes: that divide the pieces among them.
    """

    x: Extractor
    y: Extractor
    read: Callable[[], Iterable[Text]]
    folder: Path
    total: int | None = None
    processes: Processes = ALONE

    @property
    def ids(self) -> list[str]:
        """Id of each text, one a row."""
        return [text.id for text in self.read()]

    def reduce(
        self, reduction: Reduction, *, record: Any, title: str
    ) -> Iterator[dict[str, np.ndarray]]:
        """Reduce the rows of each piece, where it is missing; the results in order.

        Args:
          reduction: takes the number of a piece and its rows, window by window, all of
            which it must read; gives named arrays.
          record: JSON-able, says what the reduction does, and with which settings.
          title: of the work, for the progress.

        Yields:
          What `reduction` gave for each piece.

        Raises:
          CorpusError, StoreError, ProcessError: as for `extract`.
          RunError: the texts have changed since it was begun.
        """
        own = [one.new_layout(self.total) for one in (self.x, self.y)]
        size = min(one["window_texts"] for one in own)
        layouts = [{**one, "window_texts": size} for one in own]
        each = _PIECE_WINDOWS
        if self.total is not None:
            each = max(1, -(-self.total // (size * PIECES)))
        of = [one.fingerprint for one in (self.x, self.y)]
        identity = {"of": of, "layouts": layouts, "each": each, "reduction": record}
        place = self.folder / fingerprint(identity)
        self.processes.agree(f"what is computed in {place}", identity)
        done = self._done(place)
        windows = self._compute(place, layouts, each, done, reduction, title)
        self.processes.agree(f"the texts of {place}", windows)
        for number in range(-(-windows["windows"] // each)):
            found = _read(place, number)
            yield {name: found[name] for name in found if name not in _OWN}

    def _done(self, place: Path) -> dict[int, Counts]:
        """The pieces that process 0 finds, each with its last window."""
        found = None
        if self.processes.index == 0:
            with os_errors(place, "be written", RunError):
                place.mkdir(parents=True, exist_ok=True)
            found = []
            for path in sorted(place.glob("[0-9]*.npz")):
                kept = read_npz(path, remedy="delete it", names=_OWN, raises=RunError)
                last, texts = (int(one) for one in kept["counts_"])
                found.append((int(path.stem), last, texts, str(kept["digest_"])))
        found = self.processes.first(f"what {place} holds", found)
        return {
            piece: (last, Counts(texts_read=texts, digest=digest))
            for piece, last, texts, digest in found
        }

    def _compute(
        self,
        place: Path,
        layouts: list[dict[str, Any]],
        each: int,
        done: Mapping[int, tuple[int, Counts]],
        reduction: Reduction,
        title: str,
    ) -> dict[str, Any]:
        """Compute the missing pieces of this process; what was read of the texts."""
        shared = self.x.shared or self.y.shared
        read = {"windows": 0, "digest": ""}

        def windows(side: Extractor) -> Iterator[TextWindow]:
            return side.windows(
                self.read(),
                layouts[0]["window_texts"],
                done=dict(done.values()),
                own=own_windows((self.x, self.y), self.processes, done, each=each),
                place=str(place),
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
                    own = {"counts_": np.array(last), "digest_": read["digest"]}
                    path, arrays = _path(place, number), {**result, **own}
                    write_npz(path, arrays, compressed=False, raises=RunError)
        return read


def _path(place: Path, piece: int) -> Path:
    return place / f"{piece:08d}.npz"


def _read(place: Path, piece: int) -> dict[str, np.ndarray]:
    path = _path(place, piece)
    if not path.exists():
        raise RunError(
            f"{path} is not to be seen from this process. Give all processes one "
            "--workdir, in a folder that their machines share."
        )
    return read_npz(path, remedy="delete it and run again", raises=RunError)
