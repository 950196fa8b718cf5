r"""One program as a SLURM job; launch.sweep --slurm=... makes an array of many.

    python -m launch.slurm --experiment=classify \
      --slurm=partition=gpu,time=240,gpus_per_node=1,cpus_per_task=8 \
      -- --workdir=$SCRATCH/trec --source=A --target=B ...

Options are those of sbatch under submitit's names, with the time in minutes. A job that
is preempted or runs out of time is queued again and resumes where it stopped. With
nodes=2 or ntasks_per_node, the processes find each other through SLURM. Start it from
the folder of helix_jax, which all nodes must see. Needs submitit: helix_jax[slurm].
"""

import sys
from pathlib import Path

from absl import flags

from helix_jax.errors import RunError
from helix_jax.paths import is_url
from helix_jax.runs.program import start_main
from launch.children import Task
from launch.jobs import read_options, submit
from launch.plan import config_of

EXPERIMENT = flags.DEFINE_string("experiment", "", "a module of experiments/")
SLURM = flags.DEFINE_list("slurm", [], "options: partition=P,time=240")


def main(argv: list[str]) -> None:
    """Submit the job and print where its log is."""
    words, options = argv[1:], read_options(SLURM.value)
    workdir = getattr(config_of(EXPERIMENT.value, words), "workdir", "")
    if not workdir:
        raise RunError("missing: --workdir, after --; a job's results need a place.")
    # The log is local even if the run is in a bucket.
    place = workdir.rpartition("/")[2] if is_url(workdir) else workdir
    folder = Path(f"{place}.slurm").absolute()
    line = [sys.executable, "-m", f"experiments.{EXPERIMENT.value}", *words]
    task = Task(EXPERIMENT.value, line, folder / "log.txt")
    (job,) = submit([task], folder, options, name=EXPERIMENT.value)
    print(f"job {job} is in the queue; it prints to {task.log}")


if __name__ == "__main__":
    start_main(main, own_words=True)
