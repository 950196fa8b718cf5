"""One absl program per question; each is importable as `run(config)`."""

import os
import sys

from helix_jax.interrupts import quiet_interrupts

if sys.argv[:1] == ["-m"]:  # one of its programs is being started
    quiet_interrupts()

# Started by its path, as in `python experiments/fit.py`, a program would find this
# folder first, whose tokenizers.py is not the library.
_FOLDER = os.path.dirname(os.path.realpath(__file__))
sys.path[:] = [one for one in sys.path if os.path.realpath(one) != _FOLDER]
