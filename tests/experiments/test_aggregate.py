"""aggregate end to end, tiny: planted rows and real stores."""

import pytest

pytest.importorskip("Pyfhel")
pytest.importorskip("cryptography")

from experiments import aggregate
from helix_jax.errors import RunError
from helix_jax.reports import Bars, Table, load_blocks
from tests.experiments.told import require_told


@pytest.mark.slow
def test_planted_silos(tmp_path):
    config = aggregate.AggregateConfig(
        workdir=str(tmp_path / "w"), silos=6, dropped=1, tiny=True
    )
    summary = aggregate.run(config)
    assert summary["aggregate/equal_to_clear_sum"] == 1.0
    assert summary["aggregate/survivors"] == 5
    assert summary["aggregate/rows"] == 5 * 400
    assert summary["aggregate/relative_error"] < 1e-9
    length = 1 + 22 + 22 * 23 // 2
    assert summary["aggregate/vector_length"] == length
    assert 0 < summary["aggregate/upload_bytes"] - 16 * length < 4096
    error, alone = (
        summary[f"aggregate/{name}_error"] for name in ("all_silos", "single_silo")
    )
    assert error < summary["aggregate/single_silo_error_least"] <= alone
    assert summary["aggregate/predictions_relative_error"] < 1e-4
    assert summary["aggregate/predictions_single_silo_gap"] > 0.01
    before = load_blocks(tmp_path / "w")
    assert aggregate.run(config) == summary
    table, bars = blocks = load_blocks(tmp_path / "w")
    assert blocks == before
    assert (type(table), type(bars)) == (Table, Bars)
    found = dict(table.rows)
    error = found["relative error of the map, against pooled rows"]
    assert error == summary["aggregate/relative_error"]
    assert found["total equal to the silos' integers, bit for bit"] is True
    require_told(tmp_path / "w", "planted", "402 rows to test on")
    assert bars.series["map"][0][0] == 100 * summary["aggregate/all_silos_error"]


@pytest.mark.slow
def test_stored_silos(models, texts, tmp_path):
    config = aggregate.AggregateConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        silos=4,
        dropped=1,
        target=str(models["gpt_neox"]),
        data=str(texts),
        split_by="label",
        tiny=True,
    )
    summary = aggregate.run(config)
    assert summary["aggregate/equal_to_clear_sum"] == 1.0
    assert summary["aggregate/relative_error"] < 1e-9
    assert "aggregate/private_error" not in summary


@pytest.mark.slow
def test_planted_silos_with_differential_privacy(tmp_path):
    errors = {}
    for epsilon in (4.0, 1e5):
        config = aggregate.AggregateConfig(
            workdir=str(tmp_path / f"{epsilon}"), epsilon=epsilon, rank=12, tiny=True
        )
        summary = aggregate.run(config)
        errors[epsilon] = summary["aggregate/private_error"]
        assert summary["aggregate/private_silos"] == 2  # four stay, two may collude
    clipped = summary["aggregate/clipped_error"]
    assert errors[1e5] == pytest.approx(clipped, abs=0.01)
    assert clipped + 0.01 < errors[4.0] < 1.05


def test_what_cannot_be_run_is_refused(tmp_path):
    def run(**flags):
        return aggregate.run(aggregate.AggregateConfig(tiny=True, **flags))

    with pytest.raises(RunError, match="missing: --workdir"):
        run()
    with pytest.raises(RunError, match="--source is given and --target is not"):
        run(workdir=str(tmp_path / "a"), source="pebble-llama")
    with pytest.raises(RunError, match="--dropped=5 of --silos=5 leaves 0"):
        run(workdir=str(tmp_path / "b"), dropped=5)
    with pytest.raises(RunError, match="leaves 3, but 4 must stay"):
        run(workdir=str(tmp_path / "c"), dropped=2)
    with pytest.raises(RunError, match="--epsilon needs --rank"):
        run(workdir=str(tmp_path / "c"), epsilon=1.0)
    with pytest.raises(RunError, match="too much noise to be useful"):
        run(workdir=str(tmp_path / "c"), epsilon=1e-15, rank=2)
    with pytest.raises(ValueError, match="beyond the public bound"):
        run(workdir=str(tmp_path / "d"), value_bits=-3)
