r"""Run one experiment for every combination of some flags, one after another.

    python -m launch.sweep --experiment=classify --workdir=runs/sweep \
      --grid=source_layer=-1,-2 --grid=pooling=mean,last \
      -- --source=A --target=B --data=sst2

Words behind -- are flags of the experiment. All command lines are checked before the
first run. Each combination has a work directory of its own, named by its flags, so that
a killed sweep started again takes up where it was. At the end, WORKDIR/sweep.jsonl
holds one line a run: the flags and the summary. --dry_run prints the commands, one a
line, for any other scheduler.
"""

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from experiments.list import config_class, programs
from helix_jax.errors import RunError
from helix_jax.locks import keep
from helix_jax.paths import local_path, os_errors
from helix_jax.runs import (
    config_from_flags,
    define_flags,
    prepare_config,
    write_atomically,
)
from helix_jax.runs.command_line import parse_flags
from helix_jax.runs.prepare import must_be_among
from helix_jax.runs.program import start_main
from helix_jax.textfile import read_json

EXPERIMENT = flags.DEFINE_string("experiment", "", "a module of experiments/")
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the runs")
GRID = flags.DEFINE_multi_string("grid", [], "flag=value,value,...; may be repeated")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the commands only")


def combinations(grid: Sequence[str]) -> Iterator[dict[str, str]]:
    """Every choice of one value for each flag.

    Args:
      grid: "flag=value,value" strings.

    Yields:
      flag -> value.

    Raises:
      RunError: an entry without "=" or without values, a value twice, or a repeated
        flag.
    """
    axes: dict[str, list[str]] = {}
    for entry in grid:
        name, _, joined = entry.partition("=")
        name, values = name.strip().lstrip("-"), [v.strip() for v in joined.split(",")]
        if not name or not joined or name in axes or len(set(values)) < len(values):
            raise RunError(
                "--grid needs flag=value,value with each flag and each of its values "
                f"once, got {entry!r}."
            )
        axes[name] = values
    for chosen in itertools.product(*axes.values()):
        yield dict(zip(axes, chosen))


def command(folder: Path, chosen: dict[str, str], fixed: Sequence[str]) -> list[str]:
    """The flags of one run."""
    swept = [f"--{name}={value}" for name, value in chosen.items()]
    return [f"--workdir={folder}", *swept, *fixed]


def check_command(experiment: str, words: Sequence[str]) -> None:
    """Raise where an experiment would refuse its flags before it begins.

    Raises:
      RunError: as the experiment says it.
    """
    known, flags_of = flags.FlagValues(), config_class(experiment)
    define_flags(flags_of, known)
    parse_flags(words, known)
    prepare_config(config_from_flags(flags_of, known))


def planned(fixed: Sequence[str]) -> dict[Path, tuple[dict[str, str], list[str]]]:
    """Folder of each run -> what was chosen, and the words of its command line.

    Raises:
      RunError: flags that are missing, wrong, or that the experiment would refuse.
    """
    if missing := [one.name for one in (EXPERIMENT, WORKDIR) if not one.value.strip()]:
        raise RunError(f"missing: {' and '.join(f'--{name}' for name in missing)}.")
    if EXPERIMENT.value not in programs():
        raise RunError(f"--experiment{must_be_among(EXPERIMENT.value, programs())}")
    root, plan = local_path(WORKDIR.value, "--workdir"), {}
    for chosen in combinations(GRID.value):
        name = "-".join(f"{k}={v}" for k, v in chosen.items()).replace("/", "_")
        folder = root / (name or "run")
        if folder in plan:
            raise RunError(f"two combinations of --grid would both write to {folder}.")
        words = command(folder, chosen, fixed)
        check_command(EXPERIMENT.value, words)
        plan[folder] = chosen, words
    return plan


def main(argv: list[str]) -> None:
    """Run or print every combination."""
    lines, failed = [], []
    plan = planned(argv[1:])
    if not DRY_RUN.value:  # two sweeps at once would write over each other's lines
        root = next(iter(plan)).parent
        with os_errors(root, "be written", RunError):
            root.mkdir(parents=True, exist_ok=True)
            keep(root, "a sweep")
    for folder, (chosen, words) in plan.items():
        line = [sys.executable, "-m", f"experiments.{EXPERIMENT.value}", *words]
        print(shlex.join(line), flush=True)
        if DRY_RUN.value:
            continue
        if subprocess.run(line, check=False).returncode:
            failed.append(folder.name)
            continue
        summary = read_json(folder / "summary.json", raises=RunError)
        lines.append(json.dumps({"flags": chosen, **summary}) + "\n")
        write_atomically(folder.parent / "sweep.jsonl", "".join(lines))
    if failed:
        raise RunError(
            f"{len(failed)} of {len(failed) + len(lines)} runs failed, what each said "
            f"is above: {', '.join(failed)}; the same command tries them again."
        )
    if not DRY_RUN.value:
        print(f"results: {folder.parent / 'sweep.jsonl'}")


if __name__ == "__main__":
    start_main(main, own_words=True)
