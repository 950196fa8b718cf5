r"""A sweep of small runs: how busy the cores are, and its overhead over the runs.

    python -m benchmarks.sweep [--runs=64] [--jobs=2]

`launch.sweep` runs `experiments.fit --tiny` on two embedded models and one corpus, once
per seed. The same command lines are then run by bare `xargs -P`, as many at once; each
side extracts its own stores. Busy: processor seconds of a side with all its runs over
those available on its cores. Overhead: the sweep's seconds over those of xargs, minus
one.
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from absl import flags

from helix_jax.errors import RunError
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import write_results

RUNS = flags.DEFINE_integer("runs", 64, "runs of the sweep", lower_bound=1)
JOBS = flags.DEFINE_integer("jobs", 2, "runs at once, one per core", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "two runs")


class Spent(NamedTuple):
    """Wall-clock and processor seconds of a command and all processes it started."""

    seconds: float
    processor: float

    def busy(self, cores: int) -> float:
        """Share of the processor time of `cores` cores that was used."""
        return self.processor / (self.seconds * cores)


def spend(words: list[str], **options) -> Spent:
    """Run a command; its output is dropped.

    Raises:
      RunError: it failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        **options,
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RunError(f"status {done.returncode} of {shlex.join(words)}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(seconds, processor)


def sweep_words(root: Path, runs: int) -> list[str]:
    """The command of the sweep in a folder."""
    seeds = ",".join(map(str, range(runs)))
    line = [sys.executable, "-m", "launch.sweep", "--experiment=fit"]
    line += [f"--workdir={root}", f"--jobs={JOBS.value}", f"--grid=seed={seeds}"]
    return [*line, "--", "--tiny"]


def main(_: list[str]) -> None:
    """Run both and print the table."""
    runs = 2 if TINY.value else RUNS.value
    with tempfile.TemporaryDirectory() as folder:
        plain = sweep_words(Path(folder) / "plain", runs)
        dry = [*plain[:-2], "--dry_run", *plain[-2:]]
        printed = subprocess.run(dry, capture_output=True, text=True, check=True)
        spend(sweep_words(Path(folder) / "warm", 1))  # compiles for both
        own = spend(sweep_words(Path(folder) / "sweep", runs))
        with tempfile.TemporaryFile("w+") as lines:
            lines.write(printed.stdout)
            lines.seek(0)
            xargs = ["xargs", "-P", str(JOBS.value), "-I{}", "sh", "-c", "{}"]
            peer = spend(xargs, stdin=lines)
    cores = min(JOBS.value, len(os.sched_getaffinity(0)))
    rows = [
        [name, runs, one.seconds, one.processor, f"{100 * one.busy(cores):.1f}%"]
        for name, one in (("launch.sweep", own), ("xargs -P", peer))
    ]
    overhead = own.seconds / peer.seconds - 1
    notes = (
        f"`experiments.fit --tiny`, once a seed, {JOBS.value} at once. Overhead of the "
        f"sweep over the runs by themselves: {100 * overhead:.1f}%."
    )
    header = ["by", "runs", "seconds", "processor seconds", "cores busy"]
    print(write_results("sweep", "Sweep", header, rows, notes, keep=not TINY.value))
    print(notes)


if __name__ == "__main__":
    start_main(main)
