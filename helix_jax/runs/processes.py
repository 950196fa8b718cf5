"""A program as several processes: their flags, how they join, what must agree.

    python -m experiments.extract ... --coordinator=HOST:7000 --processes=2 --process=0
    python -m experiments.extract ... --coordinator=HOST:7000 --processes=2 --process=1

All run the same program on the same texts and divide the extraction; only process 0
writes the work directory. If one of them ends early, all end, each with the reason; the
same command resumes, with any number of processes.
"""

import contextlib
import dataclasses
import hashlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from absl import flags

import helix_jax
from helix_jax.errors import HelixError, ProcessError, RunError
from helix_jax.processes import ALONE, MEETING_SECONDS, Processes, join
from helix_jax.runs.flags import Section

AUTO = "auto"
STOPPING_SECONDS = 20.0  # for a process to end by itself after a loss
_VERSIONS = ("jax", "jaxlib", "numpy", "tokenizers", "tensorstore")


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of a process among those of its run; see `processes.join`."""

    coordinator: str
    count: int
    index: int


def define_process_flags(known: flags.FlagValues, *, program: str) -> None:
    """--processes, --process, --coordinator, --meeting_seconds, --share_devices."""
    place = Section(flag_values=known, module_name=program)
    flags.DEFINE_string(
        "processes",
        "1",
        "processes that divide the extraction; auto: as given by SLURM, Open MPI, "
        "Kubernetes or a TPU pod",
        **place,
    )
    flags.DEFINE_integer("process", 0, "number of this process, from 0", **place)
    flags.DEFINE_string("coordinator", "", "HOST:PORT where process 0 listens", **place)
    flags.DEFINE_float(
        "meeting_seconds", MEETING_SECONDS, "timeout for all to join", **place
    )
    flags.DEFINE_bool(
        "share_devices",
        False,
        "make the devices of all processes one set: a --mesh and training batches "
        "span all of them; always so on a TPU pod",
        **place,
    )


@contextlib.contextmanager
def joined(known: flags.FlagValues, tell: Callable[[str], Any]) -> Iterator[Processes]:
    """The processes of the flags, once they have joined and run the same code.

    Args:
      known: the parsed flags of `define_process_flags`.
      tell: prints why this process ends, if the block cannot be left because the device
        or a library does not return.

    Raises:
      RunError: flags contradict each other.
      ProcessError: processes did not join, differ, or were lost.
    """
    place = place_of(known)
    if place is None:
        yield ALONE
        return
    from helix_jax.runs import shared_devices as devices  # imports jax, which is slow

    seconds = known.meeting_seconds
    processes = join(place.coordinator, place.count, place.index, seconds=seconds)
    processes.share_devices = known["share_devices"].value or devices.on_a_pod()
    # A process that waits for a device of a lost process does not return by itself.
    patience = 0.0 if processes.share_devices else STOPPING_SECONDS
    last = threading.Lock()  # its holder ends the process, and alone prints why
    processes.on_loss(lambda reason: _end_later(reason, tell, patience, last))
    try:
        processes.agree("code", code_record())
        if processes.share_devices:
            devices.share_devices(
                processes,
                place.coordinator,
                seconds,
                lambda reason: _end_later(reason, tell, seconds, last),
            )
        yield processes
        if processes.share_devices:
            devices.part_devices(processes)
        processes.leave()
    except BaseException as error:
        last.acquire()
        known_kind = isinstance(error, (HelixError, ValueError, KeyboardInterrupt))
        if processes.share_devices and not known_kind and processes.is_lost(5.0):
            processes.check()  # a device error is due to the loss
        _, gloo, why = str(error).partition("Gloo")
        if processes.share_devices and gloo:
            error = ProcessError(
                f"the devices of {processes.count} processes gave up on each other: "
                f"Gloo{why.splitlines()[0]}. Those of CPUs wait half a minute: give "
                "all processes cores of their own, and start all of them again to go "
                "on with what is there."
            )
        said = str(error) or f"it was interrupted ({type(error).__name__})"
        with contextlib.suppress(Exception):
            processes.leave(said)
        raise error


def place_of(known: flags.FlagValues) -> Place | None:
    """The place given by flags or the cluster; None for one process.

    Raises:
      RunError: flags contradict each other, or no cluster is known.
    """
    asked, index, coordinator = known.processes, known.process, known.coordinator
    count = asked.strip()
    if count == AUTO:
        from helix_jax.runs.shared_devices import read_cluster

        place = Place(*read_cluster(coordinator))
        return place if place.count > 1 else None
    if not count.isdecimal() or int(count) < 1:
        raise RunError(f"--processes={asked}: expected a whole number, or {AUTO}.")
    if not 0 <= index < int(count):
        raise RunError(
            f"--process={index}: with --processes={count} they are numbered from 0 to "
            f"{int(count) - 1}."
        )
    if int(count) == 1:
        if coordinator:
            raise RunError("--coordinator is given without --processes=N.")
        return None
    if not coordinator:
        raise RunError(
            f"--processes={count} needs --coordinator=HOST:PORT, where process 0 "
            "listens; all need the same."
        )
    return Place(coordinator, int(count), index)


def agree_on_flags(processes: Processes, config: Any) -> None:
    """Raise ProcessError, on every process, if their configs differ."""
    record = {"program": type(config).__name__, **dataclasses.asdict(config)}
    processes.agree("flags", {f"--{name}": value for name, value in record.items()})


def code_record() -> dict[str, Any]:
    """The code that a run depends on: versions, and a digest of each source file."""
    folder = Path(helix_jax.__file__).parent
    own = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        for path in sorted(folder.rglob("*.py"))
    }
    versions = {name: metadata.version(name) for name in _VERSIONS}
    return {"python": platform.python_version(), **versions, "helix_jax": own}


def _end_later(
    reason: str, tell: Callable[[str], Any], seconds: float, last: threading.Lock
) -> threading.Timer:
    """End the process if it does not end by itself within some seconds.

    If it is already ending (`last` is taken) it prints its own message.
    """

    def end() -> None:
        if last.acquire(blocking=False):
            tell(f"error: {reason}")
        else:
            time.sleep(STOPPING_SECONDS)
        os._exit(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
