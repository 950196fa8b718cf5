"""The harness around a program: opened, refused, written, printed, read again."""

import dataclasses
import json
import shlex
import subprocess

import pytest

from helix_jax.errors import RunError
from helix_jax.reports import Table, load_answer
from helix_jax.runs import Run, option
from helix_jax.runs.experiment import Report, experiment
from helix_jax.runs.program import run_program
from helix_jax.stats import Interval


@dataclasses.dataclass(frozen=True)
class PlantedConfig:
    """Flags of a program that is none of experiments/."""

    workdir: str = option("", "where", names="workdir", required=True)
    rows: int = option(5, "of the table", least=1)
    fails: str = option("", "what it fails with")
    tiny: bool = option(False, "two rows")

    def check(self):
        if self.rows == 13:
            raise RunError("--rows=13 is refused by the flags.")


def check(config, specs):
    assert specs == {}
    if config.rows == 14:
        raise RunError("--rows=14 is refused by the program.")


@experiment(tiny={"rows": 2}, check=check)
def compute(config: PlantedConfig, _: Run) -> Report:
    if config.fails:
        raise RunError(config.fails)
    return Report(
        {"a/b": Interval(2.0, 1.0, 3.0), "a/n": config.rows},
        [Table("First", ["x"], [[config.rows]]), Table("Second", ["y"], [["z"]])],
        "Of planted rows.",
        files={"rows.txt": lambda path: path.write_text(str(config.rows))},
    )


def test_what_is_computed_is_written_and_printed(tmp_path, capsys):
    config = PlantedConfig(workdir=str(tmp_path / "w"), tiny=True)
    summary = compute.run(config)
    assert summary == {"a/b": 2.0, "a/b_low": 1.0, "a/b_high": 3.0, "a/n": 2}
    assert json.loads((tmp_path / "w" / "summary.json").read_text()) == summary
    assert (tmp_path / "w" / "rows.txt").read_text() == "2"
    shown = capsys.readouterr().out
    assert shown.index("First") < shown.index("Second")
    assert shown.count("Of planted rows.") == 2
    assert compute.run(config) == summary  # of a run that has ended, the first table
    again = capsys.readouterr().out
    assert "First" in again
    assert "Second" not in again


def test_computing_alone_writes_nothing(tmp_path):
    config = compute.prepare(PlantedConfig(workdir=str(tmp_path / "w"), rows=3))
    report = compute(config, Run(tmp_path / "w"))
    assert report.numbers["a/b"] == Interval(2.0, 1.0, 3.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"rows": 0}, "--rows must be 1 or more"),
        ({"rows": 13}, "--rows=13 is refused by the flags."),
        ({"rows": 14}, "--rows=14 is refused by the program."),
    ],
)
def test_flags_are_refused_before_the_folder_is_made(tmp_path, flags, said):
    with pytest.raises(RunError, match=said):
        compute.run(PlantedConfig(workdir=str(tmp_path / "w"), **flags))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_names_the_program_by_its_file(tmp_path):
    config = PlantedConfig(workdir=str(tmp_path / "w"), fails="no rows.")
    with pytest.raises(RunError, match=r"^test_experiment: no rows"):
        compute.run(config)
    config = PlantedConfig(workdir=str(tmp_path / "v"), fails="--rows is wrong.")
    with pytest.raises(RunError, match=r"^--rows is wrong"):
        compute.run(config)


@pytest.mark.slow
def test_a_program_ends_with_its_answer_its_page_and_its_files(tmp_path, capsys):
    folder = tmp_path / "w"
    words = ["planted", f"--workdir={folder}", "--tiny"]

    def ending():
        assert run_program(PlantedConfig, compute.run, words) == 0
        return capsys.readouterr().out.splitlines()[-4:]

    answer, of, page, results = ending()
    assert answer == "answer: First: x 2."
    assert of == "of: Of planted rows."
    assert f"--workdirs={folder} --output={folder}/page" in page
    assert results == f"results: {folder}"
    made = [*shlex.split(page.removeprefix("page: made by "))]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    text = (folder / "page" / "report.html").read_text()
    assert "First: x 2." in text
    (folder / "report.html").write_text(text)
    assert ending() == [answer, of, f"page: {folder}/report.html", results]


@experiment()
def told(config: PlantedConfig, _: Run) -> Report:
    return Report({"n": 1}, [Table("T", ["x"], [[1]])], answer=f"It is {config.rows}.")


def test_an_answer_that_is_said_goes_before_the_table(tmp_path, capsys):
    told.run(PlantedConfig(workdir=str(tmp_path / "w")))
    assert load_answer(tmp_path / "w", []).text == "It is 5."
