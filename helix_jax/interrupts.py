"""Ctrl-C while a program is still importing: one line in place of a traceback."""

import signal
import sys
import types


def quiet_interrupts() -> None:
    """Let a KeyboardInterrupt that nobody catches end the process in one line.

    Also where a shell has started the program in the background with SIGINT ignored, as
    the programs do once they run.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
