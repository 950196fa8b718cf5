"""Progress: plain lines where there is no terminal, bars that are gone on one."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from helix_jax import progress
from helix_jax.progress import Progress, bar, stage

ROOT = Path(__file__).parents[1]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(progress, "LONG_SECONDS", 0.05)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.1)


def test_short_work_says_nothing(capsys):
    assert list(bar(range(5), "counting")) == list(range(5))
    with stage("adding"):
        pass
    assert capsys.readouterr() == ("", "")


def test_long_work_writes_plain_lines_to_stderr(quick, capsys):
    for _ in bar(range(3), "moments", unit="blocks"):
        time.sleep(0.15)
    with stage("fitting ridge"):
        time.sleep(0.15)
    out, err = capsys.readouterr()
    assert out == ""
    assert "\r" not in err
    assert "\x1b" not in err
    lines = err.splitlines()
    assert lines[0] == "moments: 0 of 3 blocks, 0 s so far"
    assert "moments: 3 of 3 blocks, 0 s" in lines
    assert "fitting ridge: 0 s so far" in lines


def test_slow_first_step_is_seen_before_it_ends(quick, capsys):
    shown = Progress("training", unit="steps")
    time.sleep(0.3)
    assert capsys.readouterr().err.count("training: 0 steps") >= 2
    shown.at(7, 1000)
    shown.update(0, note="loss 1.5")
    assert shown.line() == "training: 7 of 1,000 steps, loss 1.5, 0 s"
    shown.stop()


def test_an_error_ends_it(quick, capsys):
    with pytest.raises(ZeroDivisionError), stage("dividing"):
        1 / 0  # noqa: B018
    before = capsys.readouterr().err
    time.sleep(0.2)
    assert capsys.readouterr().err == before == ""
    left = bar(iter([1, 2]), "left early")
    assert next(left) == 1
    left.close()
    time.sleep(0.2)
    assert "so far" not in capsys.readouterr().err


def test_show_false_is_silent(quick, capsys):
    for _ in bar(range(2), "hidden", show=False):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


SCRIPT = """
import time
from helix_jax import progress
progress.LONG_SECONDS = 0.1
for _ in progress.bar(range(4), "moments"):
    time.sleep(0.2)
with progress.stage("fitting ridge"):
    time.sleep(0.4)
print("| table |")
"""


def test_a_terminal_is_clean_before_the_table():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=theirs, stderr=theirs, cwd=ROOT
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    assert process.wait() == 0
    text = written.decode()
    assert "moments:" in text
    assert "fitting ridge:" in text
    # What stays on the line of the table once the carriage returns are played.
    line = ""
    for piece in re.split(r"\r(?!\n)", text.split("\r\n")[-2]):
        line = piece + line[len(piece) :]
    assert line.rstrip() == "| table |"


def test_bars_are_made_in_one_place():
    sources = [
        path
        for folder in ("helix_jax", "experiments", "benchmarks", "launch")
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "helix_jax" / "progress.py"
    ]
    assert not [path for path in sources if "import tqdm" in path.read_text()]


def test_what_an_error_left_is_stopped(quick, capsys):
    left = bar(range(3), "left in the middle")
    next(left)
    progress.stop_all()
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_reading_ahead_does_not_end_the_work(quick, capsys):
    with Progress("scoring", unit="texts read") as shown:
        assert list(shown.over([1, 2, 3])) == [1, 2, 3]
        assert list(shown.over([1, 2, 3])) == [1, 2, 3]  # a stream is read again
        time.sleep(0.15)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring: 3 of 3 texts read, 0 s so far"
    assert lines[-1] == "scoring: 3 of 3 texts read, 0 s"
