"""The absl program around an experiment's `run(config)`."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app

from helix_jax.errors import HelixError
from helix_jax.runs.flags import config_from_flags, define_flags
from helix_jax.runs.workdir import forget_run


def start_program(config_class: type, run: Callable[[Any], Any]) -> None:
    """Define the flags of a config dataclass, parse, run; errors in one clear line.

    A run that fails before it has written anything leaves no work directory, so that
    flags can be corrected.

    Args:
      config_class: frozen dataclass, one field a flag.
      run: takes the config.
    """
    # One line a device platform that is not here is no news.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

    def main(_: list[str]) -> None:
        config = config_from_flags(config_class)
        workdir = getattr(config, "workdir", "")
        fresh = bool(workdir) and not os.path.exists(workdir)
        try:
            run(config)
        except (HelixError, ValueError) as error:
            if fresh:
                forget_run(workdir)
            if os.environ.get("HELIX_TRACEBACK"):
                raise
            print(f"error: {error}", file=sys.stderr)
            print("(HELIX_TRACEBACK=1 shows where)", file=sys.stderr)
            sys.exit(1)

    define_flags(config_class)
    app.run(main)
