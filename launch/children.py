"""Commands as processes of this machine, several at once, each with its own cores."""

import contextlib
import itertools
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from helix_jax.errors import RunError
from helix_jax.paths import os_errors


class Task(NamedTuple):
    """A command to run.

    Attributes:
      name: for messages.
      words: program and arguments.
      log: file that gets what it prints.
    """

    name: str
    words: Sequence[str]
    log: Path


class Ended(NamedTuple):
    """A task that has ended, and its exit status."""

    task: Task
    status: int


def shares_of_cores(jobs: int) -> list[list[int]]:
    """The cores of this process divided among jobs; shared if there are fewer cores."""
    cores = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    if jobs >= len(cores):
        return [[cores[job % len(cores)]] for job in range(jobs)]
    ends = [len(cores) * job // jobs for job in range(jobs + 1)]
    return [cores[start:end] for start, end in itertools.pairwise(ends)]


def run_here(tasks: Sequence[Task], *, jobs: int) -> Iterator[Ended]:
    """Run tasks, `jobs` at once, and yield each as it ends.

    Closing the iterator, or an exception inside it (an interruption), sends SIGTERM to
    the running tasks and waits for them. Tasks get no signals from the terminal.

    Args:
      tasks: started in this order.
      jobs: how many at once.
    """
    free: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for share in shares_of_cores(jobs):
        free.put(share)
    alive, stopped = set(), threading.Event()

    def run_one(task: Task) -> Ended | None:
        cores = free.get()
        try:
            with _opened(task.log) as log:
                if stopped.is_set():
                    return None
                child = subprocess.Popen(
                    task.words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                alive.add(child)
                if stopped.is_set():
                    child.send_signal(signal.SIGTERM)
                if hasattr(os, "sched_setaffinity"):
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(child.pid, cores)
                status = child.wait()
                alive.discard(child)
            return Ended(task, status)
        finally:
            free.put(cores)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_one, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stopped.set()
            for future in futures:
                future.cancel()
            for child in list(alive):
                child.send_signal(signal.SIGTERM)


def last_line(log: Path) -> str:
    """The last line that a task printed; empty if there is none."""
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[int]:
    with os_errors(log, "be written", RunError):
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("wb")
    with stream:
        yield stream.fileno()
