"""The program that plans: from a config alone, with and without a mesh."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import plan
from helix_jax.errors import HelixError
from helix_jax.models.checkpoint import read_spec
from helix_jax.models.mesh import parse_mesh
from helix_jax.reports.durations import format_duration

ROOT = Path(__file__).parents[2]
LLAMA_70B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
}


@pytest.fixture
def large(tmp_path):
    """A folder with a config and nothing else."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_70B))
    return str(tmp_path)


def test_what_does_not_fit_is_said_with_what_would(large, capsys):
    numbers = plan.run(
        plan.PlanConfig(
            source=large, dtype="bfloat16", token_budget=512, utilisation=0.7
        )
    )
    assert numbers["plan/parameter_bytes"] == 2 * 70_553_706_496
    assert not any(numbers[f"{chip}/fits"] for chip in plan.CHIPS)
    assert numbers["H100/devices"] == 4
    assert numbers["v5e/devices"] == 16
    hours = 1e9 * numbers["plan/flops_per_token"] / (4 * 0.7 * 989e12) / 3600
    assert numbers["H100/seconds"] == pytest.approx(3600 * hours)
    shown = capsys.readouterr().out
    assert "tensor:4" in shown
    # By tensor:16 a v5e waits for its links, for 36% of the time.
    assert numbers["v5e/share_of_peak"] == pytest.approx(0.64, abs=0.005)
    seconds = 1e9 * numbers["plan/flops_per_token"] / (16 * 197e12)
    seconds /= numbers["v5e/share_of_peak"]
    assert numbers["v5e/seconds"] == pytest.approx(seconds)
    assert numbers["H100/tokens_for_half"] < 512
    assert "tokens for half" in shown
    times = sorted(
        (numbers[f"{chip}/seconds"], f"{numbers[f'{chip}/devices']} x {chip}")
        for chip in plan.CHIPS
    )
    said = " ".join(shown.split("answer: ")[1].split())
    assert said.startswith(
        f"The models and a batch take {numbers['plan/device_bytes'] / 1e9:.3g} GB on "
        f"one device; 1e+09 tokens take from {format_duration(times[0][0])} on "
        f"{times[0][1]} to {format_duration(times[-1][0])} on {times[-1][1]}."
    )


@pytest.mark.slow
def test_a_mesh_is_planned_without_its_devices(large):
    words = [f"--source={large}", "--dtype=bfloat16", "--mesh=tensor:2"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.plan",
            *words,
            "--token_budget=64",
            "--max_tokens=32",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    (row,) = (row for row in rows if "parameters of" in row)
    assert "70.56" in row  # half of 141.1, and norms
    assert "tensor:2" in done.stdout


def test_what_is_no_model_is_refused_by_its_flag(large):
    for flags, said in (
        ({"source": "nowhere-model"}, "--source"),
        ({"source": large, "mesh": "tensor:7"}, "tensor:7"),
        ({"source": large, "mesh": "rows:2"}, "'rows' is no axis"),
        ({"source": large, "layers": (81,)}, "81"),
    ):
        with pytest.raises((HelixError, ValueError), match=said):
            plan.run(plan.PlanConfig(**flags))


def test_the_page_on_scale_says_what_the_plan_says(large):
    spec, rows = read_spec(large), 0
    for line in (ROOT / "docs/scale.md").read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")[1:-1]]
        if len(cells) != 9 or cells[0] not in plan.CHIPS:
            continue
        name, mesh, _, budget, *said = cells
        budget = int(budget.replace(",", ""))
        config = plan.PlanConfig(dtype="bfloat16", token_budget=budget)
        found = plan.layer_numbers(name, spec, parse_mesh(mesh), config)
        *times, share = list(found.values())[:5]
        del times[3]  # reading
        half = found.get("tokens_for_half")
        shown = [f"{1e3 * one:.2f}" for one in times] + [f"{100 * share:.0f}"]
        shown.append("none" if half is None else f"{half:,.0f}")
        assert said == shown, line
        rows += 1
    assert rows == 14


def test_two_models_have_their_moments_and_the_time_of_both():
    tiny = plan.PlanConfig(source="pebble-llama", utilisation=1e-6, tiny=True)
    one = plan.run(tiny)
    both = plan.run(dataclasses.replace(tiny, target="pebble-neox"))
    assert one["plan/moment_bytes"] == 0
    assert both["plan/moment_bytes"] > 0
    assert both["plan/parameter_bytes"] > one["plan/parameter_bytes"]
    for found in (one, both):
        work = tiny.tokens * found["plan/flops_per_token"]
        for name, chip in plan.CHIPS.items():
            seconds = work / (1e-6 * chip.flops(tiny.dtype))
            assert found[f"{name}/seconds"] == pytest.approx(seconds)
