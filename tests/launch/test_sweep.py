"""Sweeps: every setting once, on cores of its own, the best by the select split."""

import csv
import json
import os
import subprocess
import sys

import pyarrow.parquet
import pytest
from absl import flags

from helix_jax.errors import HelixError, RunError
from helix_jax.runs.command_line import parse_flags
from launch.children import Task, last_line, run_here, shares_of_cores
from launch.plan import has_ended
from launch.results import (
    Outcome,
    best_outcome,
    select_name,
    write_report,
    write_tables,
)
from launch.settings import all_settings
from launch.sweep import planned

FIT = ("--experiment=fit", "--workdir=w")
SWEPT = ("experiment", "workdir", "grid", "zip", "list", "file", "select")


def test_grids_multiply_zips_go_together_lists_stand():
    settings = all_settings(
        grid=["a=1,2"], zipped=["b=x,y", "c=u,u"], listed=["d='p q' e=1,2", "d=r"]
    )
    assert len(settings) == 2 * 2 * 2
    assert settings[0] == {"d": "p q", "e": "1,2", "b": "x", "c": "u", "a": "1"}
    assert settings[-1] == {"d": "r", "b": "y", "c": "u", "a": "2"}
    assert all_settings() == [{}]


def test_a_file_yields_settings(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "def settings():\n"
        "    for layer in (1, 2):\n"
        "        yield {'layers': [0, layer], 'final_norm': layer == 1}\n"
    )
    assert all_settings(file=str(path), grid=["dtype=float32"]) == [
        {"layers": "0,1", "final_norm": "true", "dtype": "float32"},
        {"layers": "0,2", "final_norm": "false", "dtype": "float32"},
    ]
    assert all_settings(file="depths")[0] == {"source_layer": "3", "target_layer": "3"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\n", "has no function settings"),
        ("def settings():\n    return []\n", "yields nothing"),
        ("def settings():\n    yield 'a=1'\n", "must yield dictionaries .* 'a=1'"),
    ],
)
def test_a_file_without_settings_is_refused(tmp_path, source, said):
    path = tmp_path / "own.py"
    path.write_text(source)
    with pytest.raises(RunError, match=said):
        all_settings(file=str(path))


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        *(({"grid": one}, "--grid needs") for one in (["a"], ["a="], ["a=1", "a=2"])),
        ({"grid": ["a=1,1"]}, "--grid needs"),
        ({"zipped": ["a=1,2", "b=1"]}, "--zip needs as many .* 2 of a, 1 of b"),
        ({"listed": ["a=1 b"]}, "--list needs"),
        ({"listed": ["a=1"], "grid": ["a=2,3"]}, "--a is swept twice"),
        ({"file": "depth"}, "there is no .*depth.py; experiments/sweeps: depths"),
    ],
)
def test_a_malformed_sweep_is_refused(sweep, said):
    with pytest.raises(RunError, match=said):
        all_settings(**sweep)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "missing: --experiment and --workdir"),
        (["--experiment=fot", "--workdir=w"], "--experiment must .* did you mean fit"),
        (["--experiment=fit", "--workdir=gs://b/w"], "a folder of this machine"),
        ([*FIT, "--grid=limt=1,2"], "did you mean --limit"),
        ([*FIT, "--grid=pooling=maen", "--", "--tiny"], "did you mean mean"),
        ([*FIT, "--", "--source=a"], "missing: --target"),
        ([*FIT, "--", "--tiny", "x"], "'x'"),
        ([*FIT, "--", "--workdir=v"], "given twice"),
        ([*FIT, "--select=test/r2", "--", "--tiny"], "not a number of the select"),
        (
            [*FIT, "--grid=data=a/b,a_b", "--", "--tiny"],
            "would both write to w/data=a_b",
        ),
    ],
)
def test_a_sweep_is_checked_as_a_whole_before_its_first_run(words, said):
    with pytest.raises(HelixError, match=said):
        plan_of(words)


def plan_of(words):
    known = flags.FLAGS
    try:
        return planned(parse_flags(words, known, own_words=True))
    finally:
        for name in SWEPT:
            known[name].unparse()


def test_runs_share_one_folder_of_stores_unless_they_say_where():
    words = ["--experiment=classify", "--workdir=w", "--grid=source_layer=1,2"]
    runs = plan_of([*words, "--", "--tiny", "--compilation_cache=off"])
    assert {run.config.stores for run in runs} == {"w/stores"}
    assert all("--stores=w/stores" in run.words for run in runs)
    found = [run.values(["source_layer", "few_shot"]) for run in runs]
    assert found == [{"source_layer": n, "few_shot": "32,64,128"} for n in (1, 2)]
    (own,) = plan_of([*FIT, "--", "--tiny", "--stores=elsewhere"])
    assert own.config.stores == "elsewhere"


def test_a_long_setting_has_a_folder_that_file_systems_take():
    data = ",".join(["corpus"] * 60)
    swept = [f"--list=data={data} limit=5", f"--list=data={data}"]
    runs = plan_of([*FIT, *swept, "--", "--tiny"])
    assert len({run.folder for run in runs}) == 2
    assert all(len(run.folder.name) <= 200 for run in runs)


def test_cores_are_divided():
    cores = os.sched_getaffinity(0)
    assert [*map(set, shares_of_cores(1))] == [cores]
    shares = shares_of_cores(len(cores))
    assert sorted(core for share in shares for core in share) == sorted(cores)
    assert len(shares_of_cores(3 * len(cores))) == 3 * len(cores)
    assert all(len(share) == 1 for share in shares_of_cores(3 * len(cores)))


@pytest.mark.parametrize("jobs", [2, 3, 5, 7])
def test_no_core_is_idle_where_cores_do_not_divide(jobs, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*range(3, 10)})
    shares = shares_of_cores(jobs)
    assert [core for share in shares for core in share] == [*range(3, 10)]
    sizes = [len(share) for share in shares]
    assert len(sizes) == jobs
    assert max(sizes) - min(sizes) <= 1


def test_tasks_run_at_once_on_their_own_cores(tmp_path):
    """Each waits for the other, and says where it may run."""
    code = (
        "import os, pathlib, sys, time\n"
        "own, other = map(pathlib.Path, sys.argv[1:])\n"
        "own.touch()\n"
        "while not other.exists(): time.sleep(.01)\n"
        "print(sorted(os.sched_getaffinity(0)))\n"
        "sys.exit(own.name == 'b')\n"
    )
    tasks = [
        Task(
            name,
            [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / other)],
            tmp_path / "logs" / name,
        )
        for name, other in (("a", "b"), ("b", "a"))
    ]
    ended = {one.task.name: one for one in run_here(tasks, jobs=2)}
    assert {name: one.status for name, one in ended.items()} == {"a": 0, "b": 1}
    found = sorted(last_line(task.log) for task in tasks)
    assert found == sorted(map(str, shares_of_cores(2)))


def test_what_runs_is_ended_when_the_sweep_is(tmp_path):
    quick = Task("quick", ["true"], tmp_path / "quick")
    slow = Task("slow", ["sleep", "600"], tmp_path / "slow")
    never = Task("never", ["touch", str(tmp_path / "made")], tmp_path / "never")
    ended = run_here([quick, slow, never], jobs=1)
    assert next(ended).task is quick
    ended.close()
    assert not (tmp_path / "made").exists()


def outcomes():
    def of(name, select, test, **flag):
        found = {"fit/select_r2": select, "test/r2": test, "test/r2_low": test - 0.1}
        return Outcome(name, flag, {**found, "test/r2_high": test + 0.1})

    return [
        of("a", 0.5, 0.9, layer=1),
        of("b", 0.75, 0.25, layer=2),
        of("c", None, 0.95, layer=3),
        Outcome("d", {"layer": 4}, None, "error: it went wrong."),
    ]


def test_the_best_setting_is_chosen_on_the_select_split(tmp_path):
    found = outcomes()
    assert select_name(found, "") == "fit/select_r2"
    with pytest.raises(RunError, match="not a number of the select split"):
        select_name(found, "test/r2")
    with pytest.raises(RunError, match="did you mean fit/select_r2"):
        select_name(found, "fit/select_r3")
    best = write_report(tmp_path, "Sweep", found, select="fit/select_r2", test="")
    assert best.name == "b"  # by its test number it would be the last
    page = (tmp_path / "report.md").read_text()
    first = page.partition("All runs")[0]
    assert "0.2500 [0.1500, 0.3500]" in first
    assert "0.9" not in first
    assert "it went wrong" in page
    assert "[0.1500, 0.3500]" in (tmp_path / "report.html").read_text()


def test_of_losses_the_smallest_is_best():
    def of(name, loss):
        return Outcome(name, {}, {"select/loss_nats": loss})

    found = [of("a", 2.0), of("b", 1.0), of("c", 1.0)]
    assert best_outcome(found, "select/loss_nats").name == "b"
    assert best_outcome([Outcome("a", {}, None)], "select/loss_nats") is None


def test_one_table_has_every_run(tmp_path):
    write_tables(tmp_path, outcomes())
    with (tmp_path / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["ended"] * 3 + ["failed"]
    assert [row["fit/select_r2"] for row in rows] == ["0.5", "0.75", "", ""]
    table = pyarrow.parquet.read_table(tmp_path / "sweep.parquet").to_pylist()
    assert table[1]["layer"] == 2
    assert table[1]["test/r2"] == 0.25
    assert table[3]["test/r2"] is None


@pytest.mark.slow
def test_a_sweep_that_is_killed_repeats_nothing(tmp_path):
    """One of three runs fails: its texts are too few, which shows as it reads them."""
    text, root = tmp_path / "text.jsonl", tmp_path / "w"
    lines = ({"text": f"{i} is a number and {i + 1} is too."} for i in range(300))
    text.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = ["--experiment=fit", f"--workdir={root}", "--list=limit=4"]
    words += ["--list=seed=1", "--list=seed=2"]
    words += ["--", "--tiny", "--max_tokens=16", f"--data={text}"]
    sweep = [sys.executable, "-m", "launch.sweep", *words]
    first = subprocess.Popen(sweep, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline().startswith("failed: limit=4: error: ")
    first.kill()  # the second run goes on
    first.wait()
    first.stdout.close()
    again = [*sweep[:3], "--retry=1", *sweep[3:]]
    done = subprocess.run(
        again, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 2
    assert "1 of 3 runs failed" in done.stderr
    assert done.stdout.count("failed: limit=4: error: ") == 2
    assert "best by fit/select_r2" in done.stdout
    assert [has_ended("fit", run) for run in plan_of(words)] == [False, True, True]
    assert len(list((root / "stores").iterdir())) == 6  # two sides, three splits
