"""How many steps a block of decoding has, and whether the next one starts early.

A guess that fails wastes what was fed after it: half of its block on average, and all
of the next one if that is under way. So blocks are short when guesses fail often.
Starting the next block before this one is checked hides the host's work, which pays
only if that work is long compared with a step.
"""

import math
import time

from helix_jax.generation.guesses import MEMORY, Guesses

OVERHEAD = 0.5  # of a block that starts before the last is checked, in steps


class Pace:
    """Plans the blocks of one batch from measured times; texts do not depend on it.

    Args:
      rows: B; a row with a wrong guess holds up the batch, so the risks add up.
      large: whether steps are assumed to be long until one has been measured.
    """

    def __init__(self, rows: int, *, large: bool):
        self._rows, self._large = rows, large
        self._step = math.inf  # seconds on the device; the least measured so far
        self._block = self._each = math.inf  # of the host: a block, and a step of it
        self._ended: float | None = None
        self._last = 1  # steps of the last block

    def plan(self, guesses: Guesses, most: int) -> tuple[int, int]:
        """Steps of the next block, at most `most`, and how many blocks may overlap."""
        if not guesses.learns:
            return most, 2
        known = self._block < math.inf
        if self._large and not known:
            return 1, 1
        risk = self._rows * max(guesses.risk, 1 / MEMORY)
        depths = {2: (OVERHEAD, 0.0)}  # of a block and of a step, in steps
        if known:
            depths[1] = self._block / self._step, self._each / self._step
        plans = []
        for depth, (once, each) in depths.items():
            best = math.sqrt(once / ((depth - 0.5) * risk))
            count = min(most, max(1, round(best)))
            lost = (count - 1) / 2 + (depth - 1) * count
            plans.append((lost * risk + once / count + each, count, depth))
        return min(plans)[1:]

    def note(self, begun: float, steps: int) -> None:
        """Record that the wait since `begun` for a block of `steps` steps has ended."""
        if self._ended is not None:
            host = begun - self._ended
            self._block = min(self._block, host)
            self._each = min(self._each, host / self._last)
        now = time.perf_counter()
        self._ended, self._last = now, steps
        self._step = min(self._step, (now - begun) / steps)
