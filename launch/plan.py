"""The runs of a sweep: folders and command lines, all checked before the first run."""

import dataclasses
import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments.list import config_class, programs
from helix_jax.errors import RunError
from helix_jax.fingerprint import fingerprint
from helix_jax.runs import (
    Run,
    config_from_flags,
    define_flags,
    is_done,
    open_run,
    prepare_config,
)
from helix_jax.runs.command_line import parse_flags
from helix_jax.runs.places import local_places
from helix_jax.runs.prepare import must_be_among
from helix_jax.runs.program import define_program_flags
from launch.children import Task
from launch.settings import Setting

LONGEST = 200  # bytes of a folder's name; file systems end at 255


class Planned(NamedTuple):
    """One run of a sweep.

    Attributes:
      folder: its work directory.
      setting: the swept flags, as written on a command line.
      words: all flags of its command line.
      config: the prepared config of these flags.
    """

    folder: Path
    setting: Setting
    words: list[str]
    config: Any

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """Flags with their values, given or default; lists as written."""
        found = {name: getattr(self.config, name) for name in names}
        return {
            name: ",".join(map(str, value)) if isinstance(value, tuple) else value
            for name, value in found.items()
        }


def plan_runs(
    experiment: str, root: Path, settings: Sequence[Setting], fixed: Sequence[str]
) -> list[Planned]:
    """Plan the run of every setting, in a folder named after it.

    Stores are shared in ROOT/stores, unless a flag says where they are: the first run
    that needs one makes it, others wait for its lock.

    Args:
      experiment: a program of experiments/.
      root: folder of the sweep.
      settings: from `all_settings`.
      fixed: flags of every run.

    Raises:
      RunError: the program would refuse some flags before it begins, or two settings
        have the same folder.
    """
    planned: dict[Path, Planned] = {}
    for setting in settings:
        folder = root / _folder_name(setting)
        if folder in planned:
            raise RunError(f"two settings of the sweep would both write to {folder}.")
        swept = [f"--{name}={value}" for name, value in setting.items()]
        words = [f"--workdir={folder}", *swept, *fixed]
        config = config_of(experiment, words)
        if getattr(config, "stores", None) == "":
            words.append(f"--stores={root / 'stores'}")
            config = dataclasses.replace(config, stores=str(root / "stores"))
        planned[folder] = Planned(folder, setting, words, config)
    return list(planned.values())


def command_of(experiment: str, run: Planned) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", f"experiments.{experiment}", *run.words]


def task_of(experiment: str, run: Planned) -> Task:
    """A run as a command; its output goes to logs/NAME.txt next to its folder."""
    log = run.folder.parent / "logs" / f"{run.folder.name}.txt"
    return Task(run.folder.name, command_of(experiment, run), log)


def has_ended(experiment: str, run: Planned) -> bool:
    """Whether a run already has its result, made with the same flags.

    Raises:
      RunError: its folder was made with other flags.
    """
    program = getattr(
        importlib.import_module(f"experiments.{experiment}"), "compute", 0
    )
    if not is_done(Run(run.folder)) or not program:  # a program decides for itself
        return False
    with local_places(run.config) as config:
        open_run(run.folder, program.prepare(config))
    return True


def _folder_name(setting: Setting) -> str:
    name = "-".join(f"{k}={v}" for k, v in setting.items()).replace("/", "_") or "run"
    if len(name.encode()) > LONGEST:
        start = name.encode()[: LONGEST - 20].decode(errors="ignore")
        name = f"{start}-{fingerprint(setting)}"
    return name


def config_of(experiment: str, words: Sequence[str]) -> Any:
    """The config of a command line.

    Raises:
      RunError: there is no such program, or it would refuse these flags.
    """
    if experiment not in programs():
        raise RunError(f"--experiment{must_be_among(experiment, programs())}")
    known, flags_of = flags.FlagValues(), config_class(experiment)
    define_flags(flags_of, known)
    define_program_flags(known, program=experiment)
    parse_flags(words, known)
    return prepare_config(config_from_flags(flags_of, known))
