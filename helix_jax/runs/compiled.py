"""A folder of the user that keeps compiled code for later programs."""

import os
import sys
import tempfile
from pathlib import Path

from absl import flags

from helix_jax.errors import PathError
from helix_jax.paths import local_path, user_cache

FLAG = "compilation_cache"
OFF = "off"
LEAST_SECONDS = 0.2  # code that compiles faster is not worth a file
_HELP = (
    "folder that keeps compiled code, or off; empty: JAX_COMPILATION_CACHE_DIR, "
    "or the user's cache if that is not set"
)


def define_cache_flag(known: flags.FlagValues, *, program: str) -> None:
    """The flag --compilation_cache."""
    flags.DEFINE_string(FLAG, "", _HELP, flag_values=known, module_name=program)


def user_folder() -> Path:
    """$XDG_CACHE_HOME/helix_jax/xla, by default below ~/.cache."""
    return user_cache("xla")


def keep_compiled(request: str) -> Path | None:
    """Have JAX keep what it compiles from now on; print one line if it cannot.

    Programs share a folder: code whose file another process is still writing is
    compiled again, with a warning from JAX.

    Args:
      request: value of the flag.

    Returns:
      The folder; None if nothing is kept.
    """
    if request == OFF:
        _tell_jax("jax_compilation_cache_dir", None)
        return None
    given = request or _given_folder()
    folder = user_folder()
    try:
        if given:
            folder = local_path(given, f"the folder of --{FLAG}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, PathError) as error:
        print(
            f"warning: compiled code cannot be kept in {folder} ({error}); "
            f"--{FLAG}=PATH names another folder, --{FLAG}={OFF} keeps none.",
            file=sys.stderr,
            flush=True,
        )
        _tell_jax("jax_compilation_cache_dir", None)
        return None
    _tell_jax("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        name = "jax_persistent_cache_min_compile_time_secs"
        _tell_jax(name, LEAST_SECONDS)
    return folder


def _given_folder() -> str | None:
    """The value of the environment variable, from JAX if it is imported."""
    jax = sys.modules.get("jax")
    name = "jax_compilation_cache_dir"
    return getattr(jax.config, name) if jax else os.environ.get(name.upper())


def _tell_jax(name: str, value: str | float | None) -> None:
    """Set an option of JAX; by its environment variable if JAX is not imported yet.

    So this process need not import JAX, and its child processes inherit the option.
    """
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(name, value)
    elif value is None:
        os.environ.pop(name.upper(), None)
    else:
        os.environ[name.upper()] = str(value)
