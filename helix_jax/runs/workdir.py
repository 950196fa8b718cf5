"""Work directories: config, environment, metrics, summary, DONE.

    config.json       the flags; another run with other flags is refused
    environment.json  versions, devices, machine
    metrics.jsonl     one JSON object a line, as the run goes
    summary.json      flat: name -> number
    DONE              the last thing written

Only process 0 of a multi-process run writes. Names are `split/name`; a unit stands in
the name.
"""

import dataclasses
import importlib.metadata
import io
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from helix_jax.errors import RunError

_RECORDED = ("jax", "jaxlib", "flax", "optax", "numpy", "transformers", "tokenizers",
             "datasets", "tensorstore", "safetensors")  # fmt: skip


class Run(NamedTuple):
    """An open work directory."""

    folder: Path


def open_run(workdir: str | os.PathLike, config: Any) -> Run:
    """Create a work directory, or take up the one that these flags made.

    Args:
      workdir: the folder.
      config: a dataclass of JSON-able fields; `workdir` itself is not compared.

    Returns:
      The run.

    Raises:
      RunError: the folder belongs to other flags (named), or is no work directory.
    """
    folder = Path(workdir)
    record = json.loads(json.dumps(dataclasses.asdict(config)))
    record = {"experiment": type(config).__name__, **record}
    record.pop("workdir", None)
    path = folder / "config.json"
    if path.exists():
        try:
            before = json.loads(path.read_text())
        except ValueError as error:
            raise RunError(
                f"{path} is damaged: {error}; use another folder."
            ) from error
        differing = [
            f"  --{name}: {before.get(name)!r} there, {record.get(name)!r} now"
            for name in sorted(before.keys() | record.keys())
            if before.get(name) != record.get(name)
        ]
        if differing:
            raise RunError(
                f"--workdir={folder} was made with other flags:\n"
                + "\n".join(differing)
                + "\nUse another --workdir, or the same flags to resume."
            )
    elif folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"--workdir={folder} is not empty and is no work directory (it has no "
            "config.json); use another folder."
        )
    elif jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "environment.json", _json(environment()))
        write_atomically(path, _json(record))
    return Run(folder)


def forget_run(workdir: str | os.PathLike) -> None:
    """Remove a work directory that holds its flags and nothing else."""
    folder = Path(workdir)
    flags = [folder / "config.json", folder / "environment.json"]
    if folder.is_dir() and not set(folder.iterdir()) - set(flags):
        for path in flags:
            path.unlink(missing_ok=True)
        folder.rmdir()


def is_done(run: Run) -> bool:
    """Whether the run has ended."""
    return (run.folder / "DONE").exists()


def log_metrics(run: Run, step: int, metrics: Mapping[str, float]) -> None:
    """Append one line to metrics.jsonl; it is on disk when this returns."""
    if jax.process_index() != 0:
        return
    line = json.dumps({"step": step, **_numbers(metrics)})
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def truncate_metrics(run: Run, step: int) -> None:
    """Drop the lines after `step` and a half-written last line, before resuming."""
    path = run.folder / "metrics.jsonl"
    if not path.exists() or jax.process_index() != 0:
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break
    write_atomically(path, "".join(kept))


def finish_run(run: Run, summary: Mapping[str, float]) -> dict[str, float]:
    """Write summary.json and then DONE; returns the summary."""
    summary = _numbers(summary)
    if jax.process_index() == 0:
        write_atomically(run.folder / "summary.json", _json(summary))
        write_atomically(run.folder / "DONE", "")
    return summary


def read_summary(run: Run) -> dict[str, float]:
    """The summary of a run that has ended."""
    return json.loads((run.folder / "summary.json").read_text())


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as a compressed .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def environment() -> dict[str, Any]:
    """Versions, devices and machine, for environment.json."""
    versions = {}
    for name in _RECORDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "versions": versions,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Plain JSON numbers; a value that is not finite becomes null."""
    plain = {}
    for name, value in metrics.items():
        number = value if isinstance(value, int) else float(value)
        plain[name] = number if math.isfinite(number) else None
    return plain


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"
