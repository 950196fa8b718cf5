"""Interruptions that Python would lose or show as a traceback."""

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

_AGAIN_SECONDS = 0.05


def quiet_interrupts() -> None:
    """Make an uncaught KeyboardInterrupt end the process with one line.

    Also if a shell started the program in the background with SIGINT ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = send_lost_interrupts(sys.unraisablehook)
    before = sys.excepthook

    def hook(
        kind: type[BaseException],
        value: BaseException,
        trace: types.TracebackType | None,
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted before any work.", file=sys.stderr)
        else:
            before(kind, value, trace)

    sys.excepthook = hook


@contextlib.contextmanager
def quiet_pipes() -> Iterator[None]:
    """End the output silently if its reader closes the pipe, as `| head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def send_lost_interrupts(
    before: Callable[[Any], object], lost: Callable[[], object] = lambda: None
) -> Callable[[Any], None]:
    """A `sys.unraisablehook` that resends a signal whose exception was dropped.

    If a signal arrives while a finalizer or a callback of the garbage collector runs
    (JAX has one), Python prints the exception of its handler and continues.

    Args:
      before: the hook for everything else.
      lost: called before the signal is sent again.
    """

    def hook(dropped: Any) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            before(dropped)
            return
        lost()
        number = getattr(dropped.exc_value, "signal", signal.SIGINT)
        # From a thread, later: here, its exception would be dropped as well.
        main = threading.main_thread().ident
        timer = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main, number))
        timer.daemon = True
        timer.start()

    return hook
