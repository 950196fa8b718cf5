"""Timing side by side: alternating repetitions, medians, one JSON file per benchmark.

Contenders take turns within one run, so that drift or load of the machine affects them
equally. `write_results` keeps the numbers in benchmarks/results and renders all of them
to benchmarks/RESULTS.md.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from helix_jax.atomic import write_file
from helix_jax.reports import markdown_table

FOLDER = Path(__file__).parent


def alternate(
    contenders: Mapping[str, Callable[[], Any]], *, repeats: int, warmups: int = 1
) -> dict[str, list[float]]:
    """Seconds of each repetition of each contender, taken in turns.

    Args:
      contenders: name -> function; a JAX result is waited for.
      repeats: counted repetitions of each.
      warmups: initial repetitions, not counted (compilation, caches).

    Returns:
      name -> [repeats] seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmups + repeats):
        for name, function in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            if number >= warmups:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each contender's repetitions."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's size before exec too
        lines = status.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> int:
    """Reset `peak_memory_bytes` (Linux), and return the bytes resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_bytes()


def run_child(command: Sequence[str], more: Mapping[str, str] | None = None) -> Any:
    """Run a child process, and return the last line that it prints, parsed as JSON.

    Args:
      command: program and arguments.
      more: environment variables in addition to those of this process.

    Raises:
      SystemExit: it failed; the message ends with the end of its output.
    """
    environment = os.environ | (more or {})
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment
    )
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def machine() -> str:
    """Processor, cores and device, in words."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if "model name" in line]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, JAX {jax.__version__} on {devices}"


def write_results(
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    notes: str,
    keep: bool = True,
    command: str = "",
) -> str:
    """Keep a benchmark's table and render RESULTS.md again.

    Args:
      name: name of the JSON file.
      title: title of the section.
      header, rows: the table.
      notes: what was measured and how, a few sentences.
      keep: False for tiny runs, whose numbers mean nothing.
      command: module and flags that made it; empty for the module `name`.

    Returns:
      The table in Markdown.
    """
    if not keep:
        return markdown_table(header, rows)
    record = {
        "title": title,
        "machine": machine(),
        "command": command or name,
        "header": list(header),
        "rows": [list(row) for row in rows],
        "notes": notes,
    }
    folder = FOLDER / "results"
    folder.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1, default=float) + "\n"
    write_file(folder / f"{name}.json", text)
    parts = [
        "# Results\n\nMedians of alternating repetitions in one run; a ratio above 1 "
        "is in our favour. Each section names its machine. Made by `python -m "
        "benchmarks.NAME`.\n"
    ]
    for path in sorted(folder.glob("*.json")):
        one = json.loads(path.read_text())
        parts.append(
            f"## {one['title']}\n\n{one['notes']}\n\n"
            f"{markdown_table(one['header'], one['rows'])}\n\n"
            f"Machine: {one['machine']}. Command: `python -m "
            f"benchmarks.{one.get('command', path.stem)}`.\n"
        )
    write_file(FOLDER / "RESULTS.md", "\n".join(parts))
    return markdown_table(header, rows)
