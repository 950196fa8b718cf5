"""The program that plants faults, on a package of one function and its tests."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "build_tools" / "plant_faults.py"
CODE = """def mean(values):
    total = 0
    for value in values:
        total += value
    return total / len(values)
"""
TESTS = """from toy.middle import mean

def test_of_equal_values():
    assert mean([2, 2]) == 2
"""
CAUGHT = ("return total / len(values)", "return total * len(values)")
SURVIVES = ("total += value", "total += values[0]")


@pytest.fixture
def toy(tmp_path):
    """A folder with a package and its tests; and a program that plants in it."""
    (tmp_path / "toy").mkdir()
    for name, text in (("toy/middle.py", CODE), ("test_toy.py", TESTS)):
        (tmp_path / name).write_text(text)

    def run(*faults, **more):
        settings = {"file": "toy/middle.py", "kind": "sign", "tests": ["test_toy.py"]}
        lines = []
        for line, faulty in faults:
            fault = settings | more | {"line": line, "faulty": faulty}
            lines.append("[[fault]]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in fault.items()]
        (tmp_path / "faults.toml").write_text("\n".join(lines))
        flags = {"faults": "faults.toml", "table": "table.jsonl", "root": "."}
        return subprocess.run(
            [sys.executable, PROGRAM, *(f"--{k}={v}" for k, v in flags.items())],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def rows_of(folder):
    return [json.loads(line) for line in (folder / "table.jsonl").open()]


@pytest.mark.slow
def test_what_is_caught_and_what_survives_is_told_and_not_run_again(toy, tmp_path):
    done = toy(CAUGHT, SURVIVES)
    assert done.returncode == 0, done.stderr
    first, second = rows_of(tmp_path)
    assert (first["found"], second["found"]) == ("caught", "survived")
    assert first["why"] == "test_toy.py::test_of_equal_values"
    assert "| toy | 2 | 1 | 1 | 0 |" in done.stdout
    assert "50.0% caught of 2 that can be; 0 errors" in done.stdout
    assert (tmp_path / "toy" / "middle.py").read_text() == CODE
    again = toy(CAUGHT, SURVIVES)
    assert again.stdout.splitlines() == done.stdout.splitlines()[2:]
    assert len(rows_of(tmp_path)) == 2


@pytest.mark.slow
def test_tests_that_fail_without_the_fault_catch_nothing(toy, tmp_path):
    (tmp_path / "test_toy.py").write_text(f"{TESTS}    assert mean([2, 4]) == 4\n")
    assert "none caught of 0 that can be; 1 errors" in toy(CAUGHT).stdout
    (row,) = rows_of(tmp_path)
    assert row["found"] == "error"
    assert row["why"].startswith("without the fault: test_toy.py::test_of_equal")


@pytest.mark.slow
def test_equivalent_faults_are_no_part_of_the_share(toy):
    done = toy(("total = 0", "total = 0.0"), equivalent="division makes it a float")
    assert "| toy | 1 | 0 | 0 | 1 |" in done.stdout
    assert "none caught of 0 that can be" in done.stdout


@pytest.mark.parametrize(
    ("fault", "more", "told"),
    [
        (("total = 1", "total = 2"), {}, "one line 'total = 1', found 0"),
        (CAUGHT, {"file": "toy/none.py"}, "toy/none.py is not in"),
        (CAUGHT, {"tests": ["test_none.py"]}, "test_none.py is not in"),
        (CAUGHT, {"sort": "sign"}, "a fault needs"),
    ],
)
def test_what_cannot_be_planted_is_refused_before_any_run(
    toy, tmp_path, fault, more, told
):
    done = toy(SURVIVES, fault, **more)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "table.jsonl").exists()


def test_every_listed_fault_can_be_planted(monkeypatch):
    """Its line stands once in the code as it is now, and its tests are there."""
    monkeypatch.syspath_prepend(PROGRAM.parent)
    faults = importlib.import_module("faults")
    listed = faults.read_faults(PROGRAM.parent / "faults.toml")
    assert len(listed) > 100
    for fault in listed:
        assert fault.faulty in faults.with_fault(fault, ROOT)
        for test in fault.tests:
            name, _, function = test.partition("::")
            assert f"def {function}" in (ROOT / name).read_text(), test
