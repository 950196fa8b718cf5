"""Programs by their names: `helix classify ...` is `python -m experiments.classify`.

    helix                        all programs
    helix PROGRAM --help         what one does, and its flags
    helix PROGRAM --flag=... ..  run it
    helix --version

`python -m experiments` is the same where the command is not installed.
"""

import runpy
import sys

from experiments import programs
from helix_jax import __version__
from helix_jax.interrupts import quiet_interrupts, quiet_pipes
from helix_jax.near_names import did_you_mean

WRONG_INPUT = 2
_HELP = ("help", "-h", "-help", "--help")


def main() -> int | None:
    """Run the program that the first word of the command line names."""
    quiet_interrupts()
    name, *words = [*sys.argv[1:], "list"][: max(len(sys.argv) - 1, 1)]
    if name in _HELP:
        with quiet_pipes():
            print(__doc__)
        name, words = "list", []
    if name == "--version":
        with quiet_pipes():
            print(f"helix_jax {__version__}")
        return None
    known = programs()
    if name not in known:
        meant = did_you_mean(name, known, most=3)
        print(
            f"helix: there is no program {name!r}{meant} `helix list` shows all.",
            file=sys.stderr,
        )
        return WRONG_INPUT
    sys.argv[:] = [sys.argv[0], *words]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
