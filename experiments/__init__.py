"""One absl program per question; each is importable as `run(config)`."""

import sys

from helix_jax.interrupts import quiet_interrupts

if sys.argv[:1] == ["-m"]:  # one of its programs is being started
    quiet_interrupts()
