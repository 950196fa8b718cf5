"""Sweeps: every combination once, as commands or as runs."""

import json
import subprocess
import sys

import pytest
from absl import flags

from helix_jax.errors import HelixError
from helix_jax.runs.command_line import parse_flags
from launch.sweep import combinations, planned

FIT = ("--experiment=fit", "--workdir=w")


def test_every_combination_once():
    chosen = list(combinations(["a=1,2", "b=x"]))
    assert chosen == [{"a": "1", "b": "x"}, {"a": "2", "b": "x"}]
    assert list(combinations([])) == [{}]


@pytest.mark.parametrize("grid", [["a"], ["a="], ["a=1", "a=2"], ["a=1,1"]])
def test_a_malformed_grid_is_refused(grid):
    with pytest.raises(ValueError, match="--grid needs flag=value"):
        list(combinations(grid))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "missing: --experiment and --workdir"),
        (["--experiment=fot", "--workdir=w"], "--experiment must .* did you mean fit"),
        (["--experiment=fit", "--workdir=gs://b/w"], "--workdir must be a local"),
        ([*FIT, "--grid=limt=1,2"], "did you mean --limit"),
        ([*FIT, "--grid=pooling=maen", "--", "--tiny"], "did you mean mean"),
        ([*FIT, "--", "--source=a"], "missing: --target"),
        ([*FIT, "--", "--tiny", "x"], "'x'"),
        ([*FIT, "--", "--workdir=v"], "given twice"),
        (
            [*FIT, "--grid=data=a/b,a_b", "--", "--tiny"],
            "would both write to w/data=a_b",
        ),
    ],
)
def test_a_sweep_is_checked_as_a_whole_before_its_first_run(words, said):
    known = flags.FLAGS
    rest = parse_flags(words, known, own_words=True)
    try:
        with pytest.raises(HelixError, match=said):
            planned(rest)
    finally:
        for name in ("experiment", "workdir", "grid"):
            known[name].unparse()


@pytest.mark.slow
def test_a_sweep_of_tiny_trainings_collects_summaries(tmp_path):
    text = tmp_path / "text.txt"
    lines = (f"{i} is a number and {i + 1} is too." * 9 for i in range(600))
    text.write_text("\n\n".join(lines))
    sweep = [sys.executable, "-m", "launch.sweep", "--experiment=pretrain"]
    sweep += [f"--workdir={tmp_path / 'w'}", "--grid=learning_rate=0.001,0.01"]
    fixed = ["--", "--tiny", "--parts=1", f"--data={text}"]
    dry = subprocess.run(
        [*sweep, "--dry_run", *fixed], capture_output=True, text=True, check=True
    )
    assert dry.stdout.count("experiments.pretrain") == 2
    assert not (tmp_path / "w").exists()
    subprocess.run([*sweep, *fixed], check=True, capture_output=True, timeout=400)
    lines = (tmp_path / "w" / "sweep.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["flags"]["learning_rate"] for one in found] == ["0.001", "0.01"]
    assert found[1]["test/loss_nats"] < found[0]["test/loss_nats"]
