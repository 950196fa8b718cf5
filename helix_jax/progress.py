"""Progress of long work.

    for x, y in bar(rows, "moments", total=20): ...
    with stage("fitting ridge"): ...

On a terminal a bar moves and disappears when the work is done, so that nothing is left
between the tables. Elsewhere (a log, a notebook, a pipe) a plain line is written after
two seconds, one every half minute, and one at the end; work of less than two seconds is
silent.
"""

import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar

from tqdm import tqdm

_T = TypeVar("_T")
_SHOWN: "weakref.WeakSet[Progress]" = weakref.WeakSet()
LONG_SECONDS = 2.0
EVERY_SECONDS = 30.0


class Progress:
    """The progress of one piece of work; see the top of this file."""

    def __init__(
        self,
        name: str,
        *,
        total: int | None = None,
        done: int = 0,
        unit: str = "",
        counted: bool = True,
        show: bool = True,
    ):
        """Begin; `stop` ends it."""
        self.name, self.total, self.done, self.unit = name, total, done, unit
        self._counted, self._note, self._told = counted, "", False
        self._began, self._ended = time.monotonic(), threading.Event()
        self._stream, self._bar = sys.stderr, None
        self._thread = threading.Thread(target=self._speak, daemon=True)
        if show:
            if _is_terminal(self._stream):
                form = {} if counted else {"bar_format": "{desc}: {elapsed}"}
                self._bar = tqdm(
                    desc=name,
                    total=total,
                    initial=done,
                    unit=unit and f" {unit}",
                    leave=False,
                    delay=LONG_SECONDS,
                    file=self._stream,
                    **form,
                )
            _SHOWN.add(self)
            self._thread.start()

    def update(self, count: int = 1, *, note: str | None = None) -> None:
        """Add to what is done; `note` is shown after the count."""
        self.done += count
        self._note = self._note if note is None else note
        if self._bar is not None:
            if note is not None:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)

    def at(self, done: int, total: int) -> None:
        """Set what is done, and the total."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total
        self.update(done - self.done)

    def over(self, items: Sequence[_T]) -> Iterator[_T]:
        """The items, counted as they are read; does not end the work.

        For code that reads ahead and then works: `bar` would end with the reading.
        """
        self.at(0, len(items))
        for item in items:
            yield item
            self.update()

    def stop(self) -> None:
        """The work is over, successfully or not; clears the bar."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._bar is not None:
            self._bar.clear()
            self._bar.close()
        elif self._told:
            self._say("")

    def line(self) -> str:
        """The current message."""
        seconds = round(time.monotonic() - self._began)
        parts = []
        if self._counted:
            of = "" if self.total is None else f" of {self.total:,}"
            parts.append(f"{self.done:,}{of}{self.unit and ' '}{self.unit}")
        parts += [self._note] if self._note else []
        return f"{self.name}: {', '.join([*parts, f'{seconds} s'])}"

    def _say(self, ending: str) -> None:
        # The stream may have been closed behind a thread that ends late.
        with contextlib.suppress(ValueError, OSError):
            self._stream.write(f"{self.line()}{ending}\n")
            self._stream.flush()

    def _speak(self) -> None:
        wait = LONG_SECONDS
        while not self._ended.wait(wait):
            if self._bar is not None:
                self._bar.refresh()
                wait = 1.0
            else:
                self._say(" so far")
                self._told, wait = True, EVERY_SECONDS

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def _is_terminal(stream: Any) -> bool:
    """Whether bars can be drawn: some terminals of containers have no width."""
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0
    except (AttributeError, ValueError, OSError):
        return False


def stop_all() -> None:
    """Stop whatever is still shown, such as a bar left by an error."""
    for progress in list(_SHOWN):
        progress.stop()


def bar(
    items: Iterable[_T],
    name: str,
    *,
    total: int | None = None,
    unit: str = "",
    show: bool = True,
) -> Iterator[_T]:
    """The items, counted as they are processed.

    Args:
      items: any iterable.
      name: of the work, such as "texts read".
      total: their number; None uses their length, if they have one.
      unit: what is counted, if the name does not say so.
      show: False for silence.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(name, total=total, unit=unit, show=show) as progress:
        for item in items:
            yield item
            progress.update()


def stage(name: str) -> Progress:
    """A named context for work that cannot be counted."""
    return Progress(name, counted=False)
