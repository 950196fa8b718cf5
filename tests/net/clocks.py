"""A service whose clock on the wall can be set: what Python tells it is the time.

The folder of this lies first on the paths of the service and its workers, which read
`sitecustomize` when they begin. The monotonic clock goes on as it does on a machine
whose clock is set.
"""

from pathlib import Path

_SITE = """
import time
from pathlib import Path

_true, _place = time.time, Path({place!r})
_NANO = 10**9


def _ahead():
    return float(_place.read_text())


time.time = lambda: _true() + _ahead()
time.time_ns = lambda: int(time.time() * _NANO)
"""


class Clock:
    """Set ahead of the true time, or behind.

    Attributes:
      folder: for PYTHONPATH.
    """

    def __init__(self, folder: Path):
        self.folder, self._place = folder, folder / "ahead"
        self.set(0.0)
        site = _SITE.format(place=str(self._place))
        (folder / "sitecustomize.py").write_text(site)

    def set(self, seconds: float) -> None:
        """Set it so far ahead, at one instant."""
        passing = self.folder / "next"
        passing.write_text(repr(seconds))
        passing.replace(self._place)
