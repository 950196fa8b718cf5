"""One caller at a time for roles that several threads call at once, as in servers.

Without it, a step could be taken twice: a silo might confirm two lists of survivors or
share its secrets twice under the same keys, an aggregator might add a vector twice, a
provider might give one mean under two floods. With it, the second caller finds the step
already taken.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from helix_jax.private.forks import require_own

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound="_HasTurns")


class Turns:
    """A context that one caller at a time may enter, in the process that made it.

    The thread that is inside may enter it again.

    Attributes:
      process: the id of the process that made it.
    """

    def __init__(self, what: str):
        """Make it for a role; error messages call it `what`, such as "silo 2"."""
        self.process, self._what = os.getpid(), what
        self._lock = threading.RLock()

    def require_own(self) -> None:
        """Refuse a forked process, without waiting.

        Raises:
          ProtocolError: this is a forked process.
        """
        require_own(self.process, self._what)

    def __enter__(self) -> None:
        """Wait until no other thread is inside.

        Raises:
          ProtocolError: this is a forked process, in which a thread that no longer
            exists may hold the lock.
        """
        self.require_own()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _HasTurns(Protocol):
    _turns: Turns


def one_at_a_time(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Decorate a method to run inside its object's `_turns`.

    Raises:
      ProtocolError: this is a forked process.
    """

    @functools.wraps(method)
    def run(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._turns:
            return method(self, *args, **kwargs)

    return run
