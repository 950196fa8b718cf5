"""Speed compared with alternative tools, in the same run."""

import sys

from helix_jax.interrupts import quiet_interrupts

if sys.argv[:1] == ["-m"]:  # one of its programs is being started
    quiet_interrupts()
