"""Roles that several threads call at once, as in servers.

A silo that confirmed two lists of survivors at once, or shared its secrets twice under
the same keys, an aggregator that added a vector twice, and a provider that gave one
mean under two floods would each have taken one step two times: so there is one caller
at a time, and the second finds the step taken.
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
    """One caller at a time, in the process that made it.

    A context, which the thread that is in it may enter again.

    Attributes:
      process: the id of that which made it.
    """

    def __init__(self, what: str):
        """Take what messages call the role, such as "silo 2"."""
        self.process, self._what = os.getpid(), what
        self._lock = threading.RLock()

    def require_own(self) -> None:
        """Refuse a fork, without waiting.

        Raises:
          ProtocolError: this is one.
        """
        require_own(self.process, self._what)

    def __enter__(self) -> None:
        """Wait for one's turn.

        Raises:
          ProtocolError: this is a fork, where a thread that has gone may hold the lock.
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
    """Decorate a method of what has `_turns`: who calls it has a turn of these.

    Raises:
      ProtocolError: this is a fork.
    """

    @functools.wraps(method)
    def run(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._turns:
            return method(self, *args, **kwargs)

    return run
