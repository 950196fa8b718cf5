"""The program around an experiment's `run(config)`, or around any `main` with flags.

Arguments, flags and values are checked before any work. An error that the user can
correct gives one line on standard error and status 2, an interruption one line and
status 130 (SIGINT) or 143 (SIGTERM). Anything else is a bug and keeps its traceback, as
every error does with HELIX_TRACEBACK=1.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags

from helix_jax.errors import HelixError
from helix_jax.extras import explain_missing
from helix_jax.interrupts import quiet_pipes
from helix_jax.paths import explain_os_error
from helix_jax.processes import Processes, current
from helix_jax.progress import stop_all
from helix_jax.runs.command_line import parse_flags
from helix_jax.runs.compiled import FLAG, define_cache_flag, keep_compiled
from helix_jax.runs.ending import print_ending
from helix_jax.runs.flags import config_from_flags, define_flags, required_section
from helix_jax.runs.places import local_places
from helix_jax.runs.prepare import prepare_config
from helix_jax.runs.processes import agree_on_flags, define_process_flags, joined
from helix_jax.runs.signals import Interrupted, catch_signals
from helix_jax.runs.started import find_main, find_whole
from helix_jax.runs.tracking import choose_trackers, define_tracking_flags
from helix_jax.runs.workdir import is_workdir, unclaimed_on_failure

WRONG_INPUT = 2
_HELP = ("-h", "-?", "-help", "--help", "--helpshort", "--helpfull")
_HELP_END = (
    "Flags from a file, one a line: --flagfile=FILE; the command line overrides it."
    "\nHELIX_TRACEBACK=1 shows where an error comes from.\n"
)


def start_program(
    config_class: type,
    run: Callable[[Any], Any],
    *,
    doc: str | None = None,
    interrupted: str | None = None,
) -> NoReturn:
    """Run an experiment with the flags of this process, and end the process.

    The module that was started only reads its flags. Once they are valid it is imported
    by its own name, and its `run` is called: imports that are slow and not needed for
    flags go under `if __name__ != "__main__":`.

    Args:
      config_class: frozen dataclass, one field per flag.
      run: takes the config.
      doc: the beginning of --help; None for the docstring of the module of `run`.
      interrupted: the consequence of an interruption, for its message; None if the same
        command resumes, in the work directory of the config.
    """
    said = {"doc": doc, "interrupted": interrupted}
    _leave(run_program(config_class, run, sys.argv, **said, find=find_whole))


def start_main(main: Callable[[list[str]], Any], *, own_words: bool = False) -> None:
    """Run a function with the absl flags of its module, and end the process.

    Like `start_program`, it imports the started module by its own name once the flags
    are valid, and calls `main` there.

    Args:
      main: takes [program, *arguments after `--`].
      own_words: whether the program takes arguments after `--`.
    """

    def work() -> None:
        if _asks_help(sys.argv):
            print(_help(sys.argv[0], flags.FLAGS, sys.modules[main.__module__].__doc__))
            return
        rest = parse_flags(sys.argv[1:], flags.FLAGS, own_words=own_words)
        for name in flags.FLAGS:  # the import defines them again
            flags.FLAGS[name].allow_override = True
        find_main(main)([sys.argv[0], *rest])

    _leave(run_guarded(work))


def run_program(
    config_class: type,
    run: Callable[[Any], Any],
    argv: Sequence[str],
    *,
    doc: str | None = None,
    interrupted: str | None = None,
    find: Callable[[type, Callable], tuple[type, Callable]] | None = None,
) -> int:
    """Like `start_program`, but return the exit status and let the process continue.

    A run that fails, or is interrupted, before it has written any result leaves no work
    directory, so that flags can be corrected.

    Args:
      config_class, run, doc, interrupted: as for `start_program`.
      argv: the program's name and its arguments.
      find: gives the class and the function to use instead, once the flags are valid.
    """
    known = flags.FlagValues()
    define_flags(config_class, known, program=argv[0])
    define_program_flags(known, program=argv[0])
    if _asks_help(argv):
        text = _help(argv[0], known, doc or sys.modules[run.__module__].__doc__)
        return run_guarded(lambda: print(text))
    place = [one.name for one in dataclasses.fields(config_class) if is_workdir(one)]
    again = [""]  # what an interrupted run needs to resume

    def work() -> None:
        parse_flags(argv[1:], known)
        config = config_from_flags(config_class, known)
        nowhere = place and not getattr(config, place[0])
        nowhere = nowhere and getattr(config, "tiny", False)
        if nowhere:
            folder = temporary_name(config_class.__name__.removesuffix("Config"))
            config = dataclasses.replace(config, **{place[0]: folder})
        config = prepare_config(config)
        whole, own_run = find(config_class, run) if find else (config_class, run)
        fields = dataclasses.fields(config)
        config = whole(**{field.name: getattr(config, field.name) for field in fields})
        keep_compiled(getattr(known, FLAG))
        choose_trackers(known)
        with joined(known, _say) as processes:
            if nowhere:
                config = in_a_temporary_folder(config, processes)
            work_with(config, own_run, processes)

    def in_a_temporary_folder(config: Any, processes: Processes) -> Any:
        folder = processes.first("a temporary folder", getattr(config, place[0]))
        again[0] = f" with --{place[0]}={folder}"
        if processes.index == 0:
            print(f"no --{place[0]} is given: results go to {folder}", flush=True)
        return dataclasses.replace(config, **{place[0]: folder})

    def work_with(
        config: Any, own_run: Callable[[Any], Any], processes: Processes
    ) -> None:
        agree_on_flags(processes, config)
        folder = getattr(config, place[0]) if place else ""
        own = folder and processes.index == 0  # the others write nothing there
        with local_places(config) as local:
            here = getattr(local, place[0]) if own else ""
            with unclaimed_on_failure(here) if own else contextlib.nullcontext():
                own_run(local)
            if own:
                print_ending(Path(here), folder)
        if own:  # by now uploaded, if it is a bucket
            print(f"results: {folder}")

    def after_interruption() -> str:
        if interrupted is not None:
            return f"; {interrupted}"
        return f"; run the same command again{again[0]} to resume" if place else ""

    return run_guarded(work, after_interruption)


def define_program_flags(known: flags.FlagValues, *, program: str) -> None:
    """The flags that every program has in addition to those of its config."""
    define_cache_flag(known, program=program)
    define_process_flags(known, program=program)
    define_tracking_flags(known, program=program)


def temporary_name(program: str) -> str:
    """The path of a folder for temporary results, not made yet."""
    name = f"helix_jax-{program.lower()}-{secrets.token_hex(4)}"
    return os.path.join(tempfile.gettempdir(), name)


def run_guarded(work: Callable[[], Any], resume: Callable[[], str] = str) -> int:
    """Do some work; turn an error into one line and an exit status.

    Args:
      work: takes no arguments.
      resume: gives the end of the line after an interruption.

    Raises:
      Exception: a bug in the program; or any with HELIX_TRACEBACK set.
    """
    # JAX prints a line for each device platform that is missing.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        with quiet_pipes(), catch_signals():
            work()
        return 0
    except Interrupted as stop:
        _say(f"interrupted{resume()}.")
        return 128 + stop.signal
    except Exception as error:
        said = _explained(error)
        if said is None or os.environ.get("HELIX_TRACEBACK"):
            raise
        _say(f"error: {said}")
        return WRONG_INPUT


def _explained(error: Exception) -> str | None:
    """What the user can do about an error; None for a bug in the program."""
    if isinstance(error, (HelixError, ValueError)):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return explain_os_error(error, os.fsdecode(error.filename))
    if isinstance(error, OSError):
        return f"the system says: {error.strerror or error}."
    if isinstance(error, ImportError):
        return explain_missing(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"out of memory ({str(error).strip() or 'no more can be had'}); use fewer "
            "or shorter texts (--limit, --max_tokens), smaller batches "
            "(--token_budget, --batch) or smaller models, if there are such flags."
        )
    return None


def _say(line: str) -> None:
    """Print one line on standard error, replacing any progress still shown."""
    stop_all()
    parts = (part.strip() for part in line.splitlines())
    print(" ".join(part for part in parts if part), file=sys.stderr, flush=True)


def _asks_help(argv: Sequence[str]) -> bool:
    words = list(argv[1:])
    words = words[: words.index("--")] if "--" in words else words
    return bool(set(_HELP) & set(words))


def _help(program: str, known: flags.FlagValues, doc: str | None) -> str:
    """The text of --help; required flags come first."""
    sections = [required_section(program), program]
    shown = [
        known.module_help(one) for one in sections if known.get_flags_for_module(one)
    ]
    return "\n".join([(doc or "").strip(), *shown, "", _HELP_END])


def _leave(status: int) -> NoReturn:
    """End the process; at once if it was interrupted, whatever its threads do.

    Also at once if its devices are shared with other processes, which would abort it
    when process 0 is gone.
    """
    if status > 128 or current().share_devices:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
