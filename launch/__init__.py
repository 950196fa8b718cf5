"""Starting experiments: sweeps here, and templates for clusters and cloud machines."""

import sys

from helix_jax.interrupts import quiet_interrupts

if sys.argv[:1] == ["-m"]:  # one of its programs is being started
    quiet_interrupts()
