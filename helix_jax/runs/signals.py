"""SIGINT and SIGTERM as one exception, which cannot be swallowed on its way up."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from helix_jax.interrupts import send_lost_interrupts

_CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The process was asked to end.

    Attributes:
      signal: the number of the signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal = signal_number


@contextlib.contextmanager
def catch_signals() -> Iterator[None]:
    """Raise `Interrupted` from the block on SIGINT or SIGTERM.

    This holds even if the exception raised by the signal is turned into another one, as
    native libraries do, or dropped, as Python does in finalizers. A second signal ends
    the process at once. Outside the main thread, the only one that gets signals, only a
    KeyboardInterrupt is caught.
    """
    got: list[int] = []

    def raise_once(number: int, _: object) -> None:
        if got:
            os._exit(128 + number)
        got.append(number)
        raise Interrupted(number)

    own = threading.current_thread() is threading.main_thread()
    before = {one: signal.signal(one, raise_once) for one in _CAUGHT} if own else {}
    hook = sys.unraisablehook
    if own:
        sys.unraisablehook = send_lost_interrupts(hook, got.clear)
    try:
        yield
    except BaseException as error:
        if got or isinstance(error, KeyboardInterrupt):
            number = got[0] if got else int(signal.SIGINT)
            raise Interrupted(number) from error
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
