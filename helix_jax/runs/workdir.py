"""Work directories: config, environment, metrics, summary, DONE.

    config.json the flags; a run with other flags is refused
    environment.json  versions, commit, devices, machine
    metrics.jsonl one JSON object a line, written step by step
    report.json       tables and figures
    answer.json       the answer in a sentence, and what it is about
    summary.json      flat: name -> number, for an interval also name_low, name_high
    DONE              the last thing written

With several processes, only process 0 writes these; other files are written by any
process that calls `write_atomically` or `write_arrays`. Names are `split/name`, with
the unit in the name.
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.array_files import read_npz, write_npz
from helix_jax.atomic import append_lines, is_passing, write_file
from helix_jax.errors import RunError
from helix_jax.locks import keep, let_go
from helix_jax.mirrored import with_public_names
from helix_jax.paths import local_path, os_errors
from helix_jax.processes import current
from helix_jax.runs.environment import environment
from helix_jax.runs.tracking import METRICS, Tracker, open_trackers
from helix_jax.stats import Interval
from helix_jax.stats.interval import ENDS
from helix_jax.textfile import parse_json, read_json, read_lines


class Run(NamedTuple):
    """An open work directory.

    Attributes:
      folder: where it is.
      trackers: clients that also get its metrics, see `runs.tracking`.
    """

    folder: Path
    trackers: tuple[Tracker, ...] = ()


def open_run(workdir: str | os.PathLike, config: Any) -> Run:
    """Create a work directory, or resume one made with the same flags.

    Waits for a run that is active there; then locks the folder until `finish_run` or
    the end of the process.

    Args:
      workdir: the folder, on this machine.
      config: a dataclass of JSON-able fields; the folder itself is not compared.

    Returns:
      The run.

    Raises:
      RunError: the folder was made with other flags (named), is not a work directory,
        or cannot be made or read.
      PathError: the folder is a URL.
    """
    flag = _flag_of(config)
    folder = local_path(workdir, f"--{flag}")
    if current().index == 0:
        _open_folder(folder, config, flag)
    current().wait("the work directory")
    return Run(folder)


def _flag_of(config: Any) -> str:
    """Name of the flag that gave the folder, which is not --workdir in all programs."""
    named = (f.name for f in dataclasses.fields(config) if is_workdir(f))
    return next(named, "workdir")


def is_workdir(field: dataclasses.Field) -> bool:
    """Whether a flag names the work directory of its program."""
    return "workdir" in (field.name, field.metadata.get("names"))


def _open_folder(folder: Path, config: Any, flag: str) -> None:
    # The local copy of a bucket's folder has a new path at each start.
    record = json.loads(with_public_names(json.dumps(dataclasses.asdict(config))))
    record = {"experiment": type(config).__name__, **record}
    for field in dataclasses.fields(config):
        if is_workdir(field):
            record.pop(field.name)
    known = {f.name: f.default for f in dataclasses.fields(config) if f.name in record}
    defaults = json.loads(json.dumps(known, default=repr))
    path = folder / "config.json"
    given = f"--{flag}={folder}"
    with os_errors(given, "be used as a work directory", RunError):
        if path.exists():
            _require_same(given, _read_flags(path, given), record, defaults)
        elif folder.exists() and (own := _others(folder)):
            raise RunError(
                f"{given} holds {own[0].name} and no config.json, so "
                "it is not a work directory; use another folder."
            )
        if not is_done(Run(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            keep(folder, "a run")
            if path.exists():  # maybe made by the run waited for
                try:
                    _require_same(given, _read_flags(path, given), record, defaults)
                except RunError:
                    let_go(folder)
                    raise
                if is_done(Run(folder)):
                    let_go(folder)
            else:
                write_atomically(folder / "environment.json", _json(environment()))
                write_atomically(path, _json(record))


def _read_flags(path: Path, given: str) -> dict[str, Any]:
    """The flags that a work directory was made with."""
    try:
        found = read_json(path, raises=RunError)
        if not isinstance(found, dict):
            raise RunError(f"{path}: expected a JSON object, got {found!r}.")
    except RunError as error:
        raise RunError(f"{given} is damaged, use another folder: {error}") from error
    if "experiment" not in found:
        raise RunError(
            f"{given} is not a work directory (its config.json "
            "belongs to something else); use another folder."
        )
    return found


def _require_same(
    given: str, before: dict[str, Any], record: dict[str, Any], defaults: dict[str, Any]
) -> None:
    """Raise unless a work directory was made with these flags.

    A flag that did not exist at that time counts as having its present default.
    """
    before = defaults | before
    differing = [
        f"--{name}: {before.get(name)!r} there, {record.get(name)!r} now"
        for name in sorted(before.keys() | record.keys())
        if before.get(name) != record.get(name)
    ]
    if differing:
        raise RunError(
            f"{given} was made with other flags ({'; '.join(differing)}); "
            "use another folder, or the same flags to resume."
        )


def _others(folder: Path) -> list[Path]:
    """Contents of a folder except flags and stores (which have fingerprints)."""
    kept = {"config.json", "environment.json", "stores"}
    return sorted(
        path
        for path in folder.iterdir()
        if path.name not in kept and not is_passing(path.name)
    )


def forget_run(workdir: str | os.PathLike) -> None:
    """Remove the flags of a work directory that holds no results made with them.

    Stores stay, since runs with any flags may use them; runs inside are treated
    likewise.
    """
    folder = Path(workdir)
    for path in _others(folder):
        if (path / "config.json").is_file():
            forget_run(path)
            let_go(path)
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
    if not _others(folder):
        for name in ("config.json", "environment.json"):
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def unclaimed_on_failure(workdir: str | os.PathLike) -> Iterator[None]:
    """Leave a work directory as it was if the block fails before writing results.

    Args:
      workdir: the folder, new or not; one with results of earlier runs or other flags
        is never touched.
    """
    folder = Path(workdir)
    missing = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    fresh = not os.path.lexists(folder / "config.json")
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if fresh:
                forget_run(folder)
        let_go(folder)  # not earlier: a waiting run would lose its flags
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()
        raise


def tracked(run: Run, config: Any) -> Run:
    """The run with the trackers that the flags of this process ask for."""
    if current().index != 0:
        return run
    record = json.loads(json.dumps(dataclasses.asdict(config)))
    return run._replace(trackers=open_trackers(run.folder, record))


def is_done(run: Run) -> bool:
    """Whether the run has ended."""
    return (run.folder / "DONE").exists()


def log_metrics(run: Run, step: int, metrics: Mapping[str, float]) -> None:
    """Append one line to metrics.jsonl; it is on disk when this returns."""
    if current().index != 0:
        return
    line = json.dumps({"step": step, **_numbers(metrics)})
    append_lines(run.folder / METRICS, [line], raises=RunError)
    for tracker in run.trackers:
        tracker.follow()


def write_metrics(
    path: Path, steps: Mapping[int, Mapping[str, float | Interval]]
) -> None:
    """Rewrite metrics.jsonl, one line per step.

    Args:
      path: path of the file in an open work directory.
      steps: step -> its numbers, in their order.
    """
    run = Run(path.parent)
    truncate_metrics(run, -1)
    for step, numbers in steps.items():
        log_metrics(run, step, flat_numbers(numbers))


def truncate_metrics(run: Run, step: int) -> None:
    """Drop the lines after `step` and an incomplete last line, before resuming."""
    path = run.folder / METRICS
    if not path.exists() or current().index != 0:
        return
    kept = []
    # Lines after a damaged one do not count.
    with contextlib.suppress(RunError, KeyError, TypeError):
        for line in read_lines(path, raises=RunError):
            step_of = parse_json(line, str(path), raises=RunError)["step"]
            if step_of <= step and line.endswith("\n"):
                kept.append(line)
    write_atomically(path, "".join(kept))
    for tracker in run.trackers:
        tracker.follow()


def finish_run(
    run: Run, numbers: Mapping[str, float | Interval]
) -> dict[str, float | None]:
    """Write summary.json and then DONE; return the summary.

    Args:
      run: an open work directory.
      numbers: name -> number; an Interval becomes name, name_low and name_high.
    """
    summary = _numbers(flat_numbers(numbers))
    if current().index == 0:
        for tracker in run.trackers:
            tracker.finish(summary)
        write_atomically(run.folder / "summary.json", _json(summary))
        write_atomically(run.folder / "DONE", "")
        let_go(run.folder)
    current().wait("the end of a run")
    return summary


def flat_numbers(numbers: Mapping[str, float | Interval]) -> dict[str, float]:
    """The numbers, with each Interval as three numbers, as in summary.json."""
    flat: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Interval):
            flat |= {f"{name}{end}": one for end, one in zip(ENDS, value)}
        else:
            flat[name] = value
    return flat


def read_summary(run: Run) -> dict[str, float]:
    """The summary of a finished run.

    Raises:
      RunError: it is missing or damaged.
    """
    return read_json(run.folder / "summary.json", raises=RunError)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file of a run so that a reader sees either the old or the new content.

    Raises:
      RunError: it cannot be written; the old content is intact.
    """
    write_file(path, content, raises=RunError)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as a compressed .npz, atomically."""
    write_npz(path, arrays, raises=RunError)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` wrote.

    Raises:
      RunError: it is missing or damaged.
    """
    return read_npz(path, remedy="delete it and run again", raises=RunError)


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Plain JSON numbers; a non-finite value becomes null."""
    plain = {}
    for name, value in metrics.items():
        number = value if isinstance(value, int) else float(value)
        plain[name] = number if math.isfinite(number) else None
    return plain


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"
