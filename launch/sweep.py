r"""Run one experiment for many settings of its flags, here or on a cluster.

    python -m launch.sweep --experiment=classify --workdir=runs/sweep --jobs=2 \
      --grid=source_layer=-1,-2 --grid=pooling=mean,last \
      -- --source=A --target=B --data=sst2

Words after -- are flags of every run. Settings come from --grid, --zip, --list and
--file, see launch/settings.py; all command lines are checked before the first run. Each
setting has its own work directory, named after its flags, so a sweep that is killed and
restarted repeats nothing; failed runs are tried again. States that several runs need
are extracted once, to WORKDIR/stores. The output of runs is in WORKDIR/logs. With
--slurm the runs are a job array, see launch/slurm.py. Several runs at once on one GPU
need XLA_PYTHON_CLIENT_MEM_FRACTION: otherwise each takes three quarters of its memory.

At the end WORKDIR has sweep.csv and sweep.parquet, one row a run, and report.html with
the best setting by a number of the select split (--select) and its number on the test
split (--test). --dry_run prints the commands, one per line.
"""

import contextlib
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from absl import flags

from helix_jax.errors import RunError
from helix_jax.locks import keep
from helix_jax.paths import is_url, local_path, os_errors
from helix_jax.progress import Progress
from helix_jax.reports import format_interval
from helix_jax.reports.durations import format_duration
from helix_jax.runs import Run, is_done
from helix_jax.runs.program import start_main
from helix_jax.runs.workdir import read_summary
from launch.children import Ended, last_line, run_here
from launch.jobs import read_options, run_on_slurm
from launch.plan import Planned, command_of, has_ended, plan_runs, task_of
from launch.results import (
    Outcome,
    is_of_select,
    select_name,
    write_report,
    write_tables,
)
from launch.settings import all_settings

EXPERIMENT = flags.DEFINE_string("experiment", "", "a module of experiments/")
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the runs")
GRID = flags.DEFINE_multi_string("grid", [], "flag=value,value,...; may be repeated")
ZIP = flags.DEFINE_multi_string("zip", [], "the same; all zips advance together")
LIST = flags.DEFINE_multi_string("list", [], "'flag=value flag=value': one setting")
FILE = flags.DEFINE_string(
    "file", "", "file of settings: a name of experiments/sweeps, or .py"
)
JOBS = flags.DEFINE_integer("jobs", 1, "runs at once; cores are divided", lower_bound=1)
SLURM = flags.DEFINE_list(
    "slurm", None, "run as a SLURM array with these options: partition=P,time=240"
)
RETRY = flags.DEFINE_integer(
    "retry", 0, "how often a failed run is tried again", lower_bound=0
)
SELECT = flags.DEFINE_string(
    "select", "", "number of the select split by which the best setting is chosen"
)
TEST = flags.DEFINE_string("test", "", "number of the test split that is shown")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the commands only")


def planned(fixed: Sequence[str]) -> list[Planned]:
    """The runs that the flags ask for.

    Raises:
      RunError: flags are missing or wrong, or the experiment would refuse them.
    """
    if missing := [one.name for one in (EXPERIMENT, WORKDIR) if not one.value.strip()]:
        raise RunError(f"missing: {' and '.join(f'--{name}' for name in missing)}.")
    if SELECT.value and not is_of_select(SELECT.value):
        select_name([], SELECT.value)
    settings = all_settings(
        grid=GRID.value, zipped=ZIP.value, listed=LIST.value, file=FILE.value
    )
    if is_url(WORKDIR.value):
        raise RunError(
            f"--workdir={WORKDIR.value}: a sweep keeps logs and tables in a folder of "
            "this machine; name one. States may be in a bucket (--stores=URL after "
            "--), and so may the work directory of a program that is run by itself."
        )
    root = local_path(WORKDIR.value, "--workdir")
    return plan_runs(EXPERIMENT.value, root, settings, fixed)


def run_all(runs: Sequence[Planned], *, of: int) -> list[Planned]:
    """Run them, name each that fails when it does, and return those that failed.

    Args:
      runs: the runs that have no result yet.
      of: the number of runs in the sweep.
    """
    by_name, failed = {run.folder.name: run for run in runs}, []
    name, began = f"runs of {EXPERIMENT.value}", time.monotonic()
    with (
        Progress(name, total=of, done=of - len(runs)) as shown,
        contextlib.closing(ended_runs(runs, shown)) as ended,
    ):
        for count, one in enumerate(ended, start=1):
            if one.status:
                failed.append(by_name[one.task.name])
                said = last_line(one.task.log) or f"status {one.status}"
                print(f"failed: {one.task.name}: {said} ({one.task.log})", flush=True)
            left = (time.monotonic() - began) / count * (len(runs) - count)
            parts = [f"{len(failed)} failed"] if failed else []
            shown.update(
                note=", ".join([*parts, f"about {format_duration(left)} left"])
            )
    return failed


def ended_runs(runs: Sequence[Planned], shown: Progress) -> Iterator[Ended]:
    """Run them where the flags say; yield each as it ends."""
    tasks = [task_of(EXPERIMENT.value, run) for run in runs]
    if SLURM.value is None:
        return run_here(tasks, jobs=JOBS.value)
    return run_on_slurm(
        tasks,
        runs[0].folder.parent,
        read_options(SLURM.value),
        name=EXPERIMENT.value,
        shown=shown,
    )


def outcome_of(run: Planned, swept: Iterable[str]) -> Outcome:
    """The result of a run with its swept flags, or the last line of a failed run."""
    name, values = run.folder.name, run.values(swept)
    if is_done(Run(run.folder)):
        return Outcome(name, values, read_summary(Run(run.folder)))
    said = last_line(task_of(EXPERIMENT.value, run).log)
    return Outcome(name, values, None, said or "nothing")


def write_results(root: Path, runs: Sequence[Planned]) -> None:
    """Write the table and the page, and print the best setting."""
    swept = dict.fromkeys(name for run in runs for name in run.setting)
    outcomes = [outcome_of(run, swept) for run in runs]
    write_tables(root, outcomes)
    select = select_name(outcomes, SELECT.value)
    title = f"Sweep of {EXPERIMENT.value}: {root.name}"
    best = write_report(root, title, outcomes, select=select, test=TEST.value)
    if best is not None:
        shown = format_interval(best.summary, select, scale=1, digits=4)
        print(f"best by {select} ({shown}): {best.name}")
    elif any(one.summary for one in outcomes):
        print("no best setting: these runs have no number of the select split.")


def main(argv: list[str]) -> None:
    """Run or print every setting."""
    runs = planned(argv[1:])
    if DRY_RUN.value:
        for run in runs:
            print(shlex.join(command_of(EXPERIMENT.value, run)), flush=True)
        return
    root = runs[0].folder.parent
    with os_errors(root, "be written", RunError):  # two sweeps would do all runs twice
        root.mkdir(parents=True, exist_ok=True)
        keep(root, "a sweep")
    left = [run for run in runs if not has_ended(EXPERIMENT.value, run)]
    failed = run_all(left, of=len(runs)) if left else []
    for _ in range(RETRY.value if failed else 0):
        failed = run_all(failed, of=len(runs)) if failed else []
    write_results(root, runs)
    print(f"results: {root / 'sweep.csv'}, {root / 'report.html'}")
    if failed:
        names = ", ".join(run.folder.name for run in failed)
        raise RunError(
            f"{len(failed)} of {len(runs)} runs failed, with messages above: "
            f"{names}; the same command tries them again."
        )


if __name__ == "__main__":
    start_main(main, own_words=True)
