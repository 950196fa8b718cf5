"""Prepared masks: made ahead, each used once.

A mask exists only in one process's memory. It is taken out of its pool under a lock and
gives its content away once; it is never copied, pickled or written, and a forked child
starts with none. So a mask cannot be used twice: not by two threads, not by two
processes, not after a restart.
"""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private.forks import require_own


class MaskContent(NamedTuple):
    """The mask of one answer.

    Attributes:
      first: [A, L, r] int64, residues at the positions of results: encryption of zero,
        bias and flood.
      second: [A, L, N] int64, residues: the second part of the encryption.
    """

    first: Any
    second: Any

    def kept(self) -> "MaskContent":
        """A copy in arrays of its own, which can be overwritten."""
        return MaskContent(*(np.array(part) for part in self))

    def wipe(self) -> None:
        """Overwrite the arrays that are writeable, which `kept` makes."""
        for part in self:
            if isinstance(part, np.ndarray) and part.flags.writeable:
                part.fill(0)


class Mask:
    """The content of one mask, for one use."""

    def __init__(self, number: int, content: MaskContent):
        self.number = number
        self._content = [content]
        wipe_with(self, self._content)
        self._process = os.getpid()

    def spend(self) -> MaskContent:
        """Give the content away.

        Raises:
          ProtocolError: it was given away before, or the mask belongs to a parent
            process.
        """
        require_own(self._process, f"mask {self.number}")
        try:
            return self._content.pop()
        except IndexError:
            raise ProtocolError(
                f"mask {self.number} was used before; each answer takes a new one."
            ) from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Mask is not copied or pickled: it would be used twice.")


def wipe_with(owner: object, contents: list[MaskContent]) -> None:
    """Overwrite what a list holds when its owner is gone."""

    def wipe() -> None:
        for content in contents:
            content.wipe()

    # Not at interpreter exit: another thread may still be using the mask.
    weakref.finalize(owner, wipe).atexit = False


class MaskPool:
    """The prepared masks of one client key."""

    def __init__(self, make: Callable[[], MaskContent]):
        """Make an empty pool; `make` makes one mask per call."""
        self._make = make
        self._lock = threading.Lock()
        self._masks: OrderedDict[int, Mask] = OrderedDict()
        self._made = 0
        _POOLS.add(self)

    def __len__(self) -> int:
        with self._lock:
            return len(self._masks)

    def prepare(self, count: int) -> None:
        """Make masks now, until there are `count`."""
        while len(self) < count:
            self._add(self._make())

    def take(self, number: int | None = None) -> Mask:
        """Take a mask out of the pool for good; one is made if there is none.

        Args:
          number: the number of a mask that must still be there; None takes the oldest.

        Raises:
          ProtocolError: that mask was taken before, or was never made.
        """
        with self._lock:
            if number is not None:
                mask = self._masks.pop(number, None)
                if mask is None:
                    state = "was taken before" if 0 <= number < self._made else "is not"
                    raise ProtocolError(f"mask {number} {state} in this pool.")
                return mask
            if self._masks:
                return self._masks.popitem(last=False)[1]
            self._made += 1
            number = self._made - 1
        return Mask(number, self._make())

    def take_prepared(self) -> Mask | None:
        """Take the oldest mask out of the pool for good; None if there is none."""
        with self._lock:
            return self._masks.popitem(last=False)[1] if self._masks else None

    def _add(self, content: MaskContent) -> None:
        with self._lock:
            self._masks[self._made] = Mask(self._made, content)
            self._made += 1

    def _forget(self) -> None:
        """In a forked child: the parent has these masks, and may have held the lock."""
        self._lock = threading.Lock()
        self._masks.clear()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a MaskPool is not copied or pickled: masks are used once.")


_POOLS: "weakref.WeakSet[MaskPool]" = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._forget()


os.register_at_fork(after_in_child=_forget_all)
