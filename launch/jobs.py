"""Commands as SLURM jobs, through submitit; preempted jobs are queued again.

A job runs its command again after a preemption or the end of its time limit: every
program resumes in its work directory. Options are those of sbatch under submitit's
names.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.progress import Progress
from helix_jax.textfile import read_json
from launch.children import Ended, Task

POLL_SECONDS = 2.0
DEAF_SECONDS = 600.0  # how long the controller may not answer
DEFAULTS = {"time": 240, "signal_delay_s": 90, "stderr_to_stdout": True}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line as a job; each process of it runs the same words.

    Attributes:
      words: program and arguments.
      log: file for the output of process 0; other processes append their number to it.
    """

    words: Sequence[str]
    log: str

    def __call__(self) -> None:
        """Run it.

        Raises:
          RunError: it failed.
        """
        rank = os.environ.get("SLURM_PROCID", "0")
        log = Path(self.log if rank == "0" else f"{self.log}.{rank}")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            done = subprocess.run(
                self.words, stdout=stream, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            raise RunError(f"status {done.returncode}, see {log}.")

    def checkpoint(self) -> Any:
        """The command to queue again: the same, since a killed run resumes."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def read_options(entries: Sequence[str]) -> dict[str, Any]:
    """ "name=value" options of sbatch; whole numbers are numbers.

    Raises:
      RunError: an entry without "=", or a name twice.
    """
    options: dict[str, Any] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        if not name or not value or name in options:
            raise RunError(
                "--slurm needs name=value,name=value with each name once, such as "
                f"partition=gpu,time=240, got {entry!r}."
            )
        options[name] = int(value) if value.isdecimal() else value
    return options


def submit(
    tasks: Sequence[Task], folder: Path, options: Mapping[str, Any], *, name: str
) -> list[str]:
    """Put tasks in the queue, more than one as an array.

    Args:
      tasks: commands; each process of a job with several gets --processes=auto.
      folder: for the files of submitit; all nodes must see it.
      options: options of sbatch, which override DEFAULTS.
      name: name of the job.

    Returns:
      The id of each task's job.

    Raises:
      RunError: there is no SLURM here, or it refuses the job.
    """
    try:
        import submitit
    except ImportError as error:
        raise RunError(
            "a SLURM job needs submitit: pip install 'helix_jax[slurm]'."
        ) from error
    if missing := [
        one for one in ("sbatch", "srun", "squeue") if not shutil.which(one)
    ]:
        raise RunError(
            f"there is no {' and no '.join(missing)} here; submit from a login node of "
            "a SLURM cluster."
        )
    executor = submitit.SlurmExecutor(folder, max_num_timeout=1000)
    settings = {"job_name": name, **DEFAULTS, **options}
    extra = {"requeue": True, **settings.pop("additional_parameters", {})}
    executor.update_parameters(**settings, additional_parameters=extra)
    several = (
        int(settings.get("nodes", 1)) * int(settings.get("ntasks_per_node", 1)) > 1
    )
    more = ["--processes=auto"] if several else []
    commands = [
        Command([*task.words, *more], str(task.log.absolute())) for task in tasks
    ]
    try:
        with executor.batch():
            jobs = [executor.submit(command) for command in commands]
    except submitit.core.utils.FailedJobError as error:
        raise RunError(
            f"SLURM refuses the job: {' '.join(str(error).split())}"
        ) from error
    return [job.job_id for job in jobs]


def queue() -> dict[str, str]:
    """Id of each job of this user in the queue -> its state, with a reason if pending.

    Raises:
      RunError: the controller does not answer.
    """
    words = ["squeue", "--noheader", "--array", f"--user={os.getuid()}"]
    done = subprocess.run(
        [*words, "--format=%i %T %r"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RunError(f"squeue says: {' '.join(done.stderr.split())}")
    rows = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return {
        job: state.lower() if reason == "None" else f"{state.lower()} ({reason})"
        for job, state, reason in rows
    }


def run_on_slurm(
    tasks: Sequence[Task],
    folder: Path,
    options: Mapping[str, Any],
    *,
    name: str,
    shown: Progress,
) -> Iterator[Ended]:
    """Run tasks as an array and yield each as it leaves the queue.

    Jobs of an earlier call that are still in the queue are resumed. Jobs continue if
    the caller ends.

    Args:
      tasks, options, name: as for `submit`.
      folder: folder of the sweep; FOLDER/slurm/jobs.json lists the jobs.
      shown: progress that shows their states.
    """
    place = folder / "slurm" / "jobs.json"
    known = read_json(place, raises=RunError) if place.exists() else {}
    alive = queue()
    own = {task.name: known[task.name] for task in tasks if task.name in known}
    own = {task: job for task, job in own.items() if job in alive}
    new = [task for task in tasks if task.name not in own]
    if new:
        ids = submit(new, place.parent, options, name=name)
        own |= {task.name: job for task, job in zip(new, ids)}
        write_file(place, json.dumps(known | own) + "\n", raises=RunError)
    waiting = {own[task.name]: task for task in tasks}
    heard = time.monotonic()
    while waiting:
        try:
            alive, heard = queue(), time.monotonic()
        except RunError as error:
            if time.monotonic() - heard > DEAF_SECONDS:
                raise RunError(
                    f"{error} The jobs go on; the same command takes them up."
                ) from error
        for job in [job for job in waiting if job not in alive]:
            yield Ended(waiting.pop(job), _status(place.parent, job))
        states = [alive[job] for job in waiting]
        shown.update(0, note=_counted(states))
        time.sleep(POLL_SECONDS if waiting else 0)


def _status(folder: Path, job: str) -> int:
    """0 if every process of a job has left a successful result, else 1."""
    from submitit.core.utils import pickle_load

    found = [path for path in os.listdir(folder) if path.startswith(f"{job}_")]
    results = [path for path in found if path.endswith("_result.pkl")]
    good = [pickle_load(folder / path)[0] == "success" for path in results]
    return 0 if good and all(good) else 1


def _counted(states: Sequence[str]) -> str:
    return ", ".join(f"{states.count(one)} {one}" for one in sorted(set(states)))
