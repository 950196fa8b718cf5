"""Roles that are asked by several threads at once, as servers ask them.

A silo that confirmed two lists of survivors at once, or shared its secrets twice under
the same keys, and an aggregator that added a vector twice, would each have taken one
step two times: so there is one caller at a time, and the second finds the step taken.
"""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from helix_jax.private.forks import require_own

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")


def one_at_a_time(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Decorate a method of what has a `_lock`, the `_process` it belongs to, a `_name`.

    Raises:
      ProtocolError: this is a fork, whose lock a thread of the parent may have held.
    """

    @functools.wraps(method)
    def run(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        require_own(self._process, self._name, "a forked child takes no step of it")
        with self._lock:
            return method(self, *args, **kwargs)

    return run
