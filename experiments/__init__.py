"""One absl program per question; each is importable as `run(config)`."""

import os
import sys
from pathlib import Path

from helix_jax.interrupts import quiet_interrupts

if sys.argv[:1] == ["-m"]:  # one of its programs is being started
    quiet_interrupts()

# Started by its path, as in `python experiments/fit.py`, a program would search this
# folder first, and its tokenizers.py is not the library.
_FOLDER = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [one for one in sys.path if os.path.realpath(one) != _FOLDER]


def programs(folder: str | Path = _FOLDER) -> list[str]:
    """Names of the modules in a folder that can be started."""
    files = sorted(Path(folder).glob("[!_]*.py"))
    return [path.stem for path in files if "\nif __name__ ==" in path.read_text()]
