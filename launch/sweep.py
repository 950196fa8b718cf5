r"""Run one experiment for every combination of some flags, one after another.

    python -m launch.sweep --experiment=classify --workdir=runs/sweep \
      --grid=source_layer=-1,-2 --grid=pooling=mean,last \
      -- --source=A --target=B --data=sst2

Each combination has a work directory of its own, named by its flags, so that a killed
sweep started again takes up where it was. At the end, WORKDIR/sweep.jsonl holds one
line a run: the flags and the summary. --dry_run prints the commands, one a line, for
any other scheduler.
"""

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import app, flags

from helix_jax.runs import write_atomically

EXPERIMENT = flags.DEFINE_string("experiment", None, "a module of experiments/")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the runs")
GRID = flags.DEFINE_multi_string("grid", [], "flag=value,value,...; may be repeated")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the commands only")


def combinations(grid: Sequence[str]) -> Iterator[dict[str, str]]:
    """Every choice of one value for each flag.

    Args:
      grid: "flag=value,value" strings.

    Yields:
      flag -> value.

    Raises:
      ValueError: an entry without "=" or without values, or a repeated flag.
    """
    axes: dict[str, list[str]] = {}
    for entry in grid:
        name, _, values = entry.partition("=")
        if not name or not values or name in axes:
            raise ValueError(
                f"--grid needs flag=value,value with each flag once, got {entry!r}."
            )
        axes[name] = values.split(",")
    for chosen in itertools.product(*axes.values()):
        yield dict(zip(axes, chosen))


def command(
    experiment: str, folder: Path, chosen: dict[str, str], fixed: Sequence[str]
) -> list[str]:
    """The command line of one run."""
    swept = [f"--{name}={value}" for name, value in chosen.items()]
    start = [sys.executable, "-m", f"experiments.{experiment}", f"--workdir={folder}"]
    return [*start, *swept, *fixed]


def main(argv: list[str]) -> None:
    """Run or print every combination."""
    root = Path(WORKDIR.value)
    lines, failed = [], []
    for chosen in combinations(GRID.value):
        name = "-".join(f"{k}={v}" for k, v in chosen.items()).replace("/", "_")
        folder = root / (name or "run")
        line = command(EXPERIMENT.value, folder, chosen, argv[1:])
        print(shlex.join(line), flush=True)
        if DRY_RUN.value:
            continue
        if subprocess.run(line, check=False).returncode:
            failed.append(name)
            continue
        summary = json.loads((folder / "summary.json").read_text())
        lines.append(json.dumps({"flags": chosen, **summary}) + "\n")
        write_atomically(root / "sweep.jsonl", "".join(lines))
    if failed:
        sys.exit(f"{len(failed)} runs failed: {', '.join(failed)}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["experiment", "workdir"])
    app.run(main)
