r"""Plants one fault at a time into a copy of the checkout: do its tests notice?

    .venv/bin/python build_tools/plant_faults.py --table=faults.jsonl

A fault is one line of the code and a faulty one in its place, with the tests that are
its own; build_tools/faults.toml lists them. The copy lies in a temporary folder and the
checkout itself is never written to. What was found is appended to the table, JSON lines
of

    caught     its tests fail with the fault, and pass without
    survived   they pass with it
    error      they do not pass without it, or none is found

and what stands there is not run again, so that a killed run goes on where it was;
--again=survived runs some again, after their tests were improved.
docs/faults.md says what was found.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from faults import Fault, read_faults, summarise, with_fault

ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = {".git", ".venv", "build", "dist", "runs"}  # of the checkout itself
FAILED, NONE_LEFT = 1, 5  # exit codes of pytest; a broken import is 2 or 4


def run_tests(
    root: Path, tests: Sequence[str], limit_seconds: float
) -> tuple[int, str]:
    """pytest's exit code up to the first failure, and the last lines that it wrote.

    A run over the limit is killed with its children and counts as failed.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    process = subprocess.Popen(
        [*command, *tests],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        return FAILED, f"ERROR over {limit_seconds:g} seconds"
    finally:
        if process.poll() is None:  # too slow, or this program is to end
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output[-4000:]


def why_of(output: str) -> str:
    """The test that failed, of what pytest wrote; otherwise its last line."""
    failed = re.findall(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output, re.MULTILINE)
    return failed[0] if failed else (output.strip().splitlines() or ["nothing"])[-1]


def try_fault(
    fault: Fault, root: Path, *, limit_seconds: float, clean: Callable[[Sequence], str]
) -> tuple[str, str]:
    """What becomes of one fault in a copy that is as before afterwards.

    Args:
      fault: to plant.
      root: the copy.
      limit_seconds: that its tests may take; longer is caught.
      clean: the tests -> why they do not pass without a fault, "" where they do.

    Returns:
      caught, survived or error; and the test that says so, or the reason.
    """
    if failure := clean(fault.tests):
        return "error", f"without the fault: {failure}"
    path = root / fault.file
    before = path.read_text()
    try:
        write_source(path, with_fault(fault, root))
        code, output = run_tests(root, fault.tests, limit_seconds)
    finally:
        write_source(path, before)
    if code == NONE_LEFT:
        return "error", why_of(output)
    return ("caught", why_of(output)) if code else ("survived", "")


def write_source(path: Path, text: str) -> None:
    """Write a module and forget its bytecode, which goes by seconds and sizes."""
    path.write_text(text)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def read_table(path: Path) -> dict[str, dict]:
    """Key of a fault -> its last row; a line that a kill cut off is left out."""
    rows = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["key"]] = row
    return rows


def plant(given: argparse.Namespace) -> str:
    """Run what the table lacks; gives the summary."""
    faults = [
        fault
        for fault in read_faults(given.faults)
        if re.search(given.only, f"{fault.package} {fault.file} {fault.kind}")
    ]
    for fault in faults:
        with_fault(fault, given.root)  # all are planted once before any is run
    table = read_table(given.table)
    # Real data lies beside the checkout, and not beside the copy.
    os.environ.setdefault("HELIX_SHARED", str(given.root.resolve().parent / "shared"))
    left = [
        fault
        for fault in faults
        if fault.key not in table or table[fault.key]["found"] in given.again
    ]
    passing: dict[tuple[str, ...], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "checkout")
        if left:
            shutil.copytree(
                given.root,
                root,
                ignore=lambda folder, names: (
                    NOT_COPIED if Path(folder) == given.root else {"__pycache__"}
                ),
            )

        def clean(tests: Sequence[str]) -> str:
            if tests not in passing:
                code, output = run_tests(root, tests, given.limit_seconds)
                passing[tests] = why_of(output) if code else ""
            return passing[tests]

        # All tests at once first, which start and compile once; alone where they fail.
        files = sorted({name for fault in left for name in fault.tests})
        if files and run_tests(root, files, len(files) * given.limit_seconds)[0] == 0:
            passing = dict.fromkeys((fault.tests for fault in left), "")

        for number, fault in enumerate(left, 1):
            started = time.monotonic()
            found, why = try_fault(
                fault, root, limit_seconds=given.limit_seconds, clean=clean
            )
            seconds = time.monotonic() - started
            row = {"key": fault.key, "file": fault.file, "faulty": fault.faulty}
            row |= {"found": found, "why": why, "seconds": round(seconds, 1)}
            with given.table.open("a") as table_file:
                table_file.write(json.dumps(row) + "\n")
            table[fault.key] = row
            print(
                f"{number} of {len(left)}: {found}, {seconds:.0f} s, {fault.file}: "
                f"{fault.faulty}  {why}",
                flush=True,
            )
    return summarise((fault, table[fault.key]) for fault in faults)


def main() -> None:
    """Read the flags, plant, print the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", type=Path, required=True, help="JSON lines, appended"
    )
    parser.add_argument("--faults", type=Path, default=ROOT / "build_tools/faults.toml")
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to copy")
    parser.add_argument("--only", default="", help="pattern of package, file or kind")
    parser.add_argument(
        "--again",
        action="append",
        default=[],
        choices=("caught", "survived", "error"),
        help="run these once more",
    )
    parser.add_argument("--limit_seconds", type=float, default=300, help="of one fault")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        print(plant(parser.parse_args()))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
