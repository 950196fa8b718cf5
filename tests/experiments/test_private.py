"""The encrypted experiments end to end, tiny, planted and on real states."""

import numpy as np
import pytest

pytest.importorskip("Pyfhel")

from experiments import encrypted, private_fit
from helix_jax.errors import RunError
from helix_jax.reports import Bars, Table, load_blocks
from tests.experiments.told import require_told


@pytest.mark.slow
def test_encrypted_made_up(tmp_path):
    config = encrypted.EncryptedConfig(workdir=str(tmp_path / "w"), tiny=True)
    summary = encrypted.run(config)
    # Noise of 12 bits may change one of eight decisions.
    assert summary["encrypted/argmax_agreement"] >= 7 / 8
    assert summary["encrypted/max_error"] <= summary["encrypted/stated_error"] < 0.3
    assert summary["encrypted/query_bytes"] <= 135_000
    assert summary["encrypted/answer_bytes"] <= 135_000
    before = load_blocks(tmp_path / "w")
    assert encrypted.run(config) == summary
    table, seconds, sent = blocks = load_blocks(tmp_path / "w")
    assert blocks == before
    assert (type(table), type(seconds), type(sent)) == (Table, Bars, Bars)
    assert "same answer as in the clear, %" in [row[0] for row in table.rows]
    require_told(tmp_path / "w", "synthetic embeddings", "8 queries")
    said = {row[0]: row[2] for row in table.rows}
    assert "percentile of the queries" in said["provider, ms"]
    low, middle, high = (
        1e3 * summary[f"encrypted/provider_seconds{end}"]
        for end in ("_low", "", "_high")
    )
    assert low <= middle <= high
    place = seconds.groups.index("provider")
    assert seconds.series["median"][place] == [middle, low, high]
    assert sent.series["encrypted"][0][0] == summary["encrypted/query_bytes"] / 1e3


@pytest.mark.slow
def test_encrypted_labels(tmp_path):
    config = encrypted.EncryptedConfig(
        workdir=str(tmp_path / "w"), policy="label", tiny=True
    )
    summary = encrypted.run(config)
    assert summary["encrypted/argmax_agreement"] == 1
    assert "encrypted/max_error" not in summary
    assert summary["encrypted/answer_bytes"] == 20_585 + 7_552  # both rounds


@pytest.mark.slow
def test_a_real_classifier_and_a_real_fit(models, texts, tmp_path):
    sides = {
        "source": str(models["llama"]),
        "target": str(models["gpt_neox"]),
        "data": str(texts),
        "stores": str(tmp_path / "stores"),
        "tiny": True,
    }
    summary = encrypted.run(
        encrypted.EncryptedConfig(workdir=str(tmp_path / "e"), policy="logits", **sides)
    )
    assert summary["encrypted/argmax_agreement"] == 1
    ends = [summary[f"encrypted/accuracy{end}"] for end in ("_low", "", "_high")]
    assert ends == sorted(ends)
    assert ends[1] == summary["encrypted/plain_accuracy"]
    assert summary["encrypted/max_error"] <= summary["encrypted/stated_error"]
    summary = private_fit.run(
        private_fit.PrivateFitConfig(workdir=str(tmp_path / "f"), precision=20, **sides)
    )
    assert summary["private_fit/relative_error"] < 1e-4
    difference = (
        summary["private_fit/test_accuracy"]
        - summary["private_fit/plain_test_accuracy"]
    )
    assert abs(difference) < 0.02  # of a hundred texts: at most two
    assert summary["private_fit/map_error"] < 1e-2
    for folder, said in (("e", "test texts among"), ("f", "to test on")):
        require_told(tmp_path / folder, "llama", "gpt_neox", "texts.jsonl", said)
    (table,) = require_told(tmp_path / "e")
    said = {row[0]: row[2] for row in table.rows}
    assert "bootstrap" in said["accuracy in the clear, %"]
    assert "percentile" in said["client encrypts, ms"]
    table, accuracy, seconds, sent = load_blocks(tmp_path / "f")
    assert isinstance(table, Table)
    assert accuracy.series["map fitted"][0] == [
        100 * summary[f"private_fit/test_accuracy{end}"]
        for end in ("", "_low", "_high")
    ]
    assert seconds.groups == ["client", "provider"]
    assert sent.series["fit"][0][0] == 1e-6 * summary["private_fit/upload_bytes"]


@pytest.mark.slow
def test_planted_fit_with_a_rank(tmp_path):
    both = {
        rank: private_fit.run(
            private_fit.PrivateFitConfig(
                workdir=str(tmp_path / str(rank)), rank=rank, precision=20, tiny=True
            )
        )
        for rank in (0, 6)
    }
    assert both[0]["private_fit/map_error"] < 1e-4
    assert both[6]["private_fit/map_error"] > 0.1
    assert both[6]["private_fit/upload_bytes"] < both[0]["private_fit/upload_bytes"]
    assert np.isfinite(both[6]["private_fit/map_error"])
    kinds = [type(one) for one in load_blocks(tmp_path / "0")]
    assert kinds == [Table, Bars, Bars]


def test_privacy_that_is_none_is_refused(tmp_path):
    options = {"rank": 4, "tiny": True, "share": 1.0, "delta": 1e-4}
    for wrong, said in (
        ({"epsilon": 1.0, "rank": 0}, "needs --rank from 1 to 24"),
        ({"epsilon": 1e-15}, "too much noise to be useful"),
        ({"curve": True}, "--curve needs --source"),
    ):
        config = private_fit.PrivateFitConfig(
            workdir=str(tmp_path / "wrong"), **options | wrong
        )
        with pytest.raises(RunError, match=said):
            private_fit.run(config)


@pytest.mark.slow
def test_a_fit_with_differential_privacy_and_its_price(models, texts, tmp_path):
    config = private_fit.PrivateFitConfig(
        workdir=str(tmp_path / "w"),
        source=str(models["llama"]),
        target=str(models["gpt_neox"]),
        data=str(texts),
        stores=str(tmp_path / "stores"),
        rank=4,
        share=1.0,
        epsilon=0.5,
        protect="pairs",
        curve=True,
        shadows=4,
        tiny=True,
    )
    summary = private_fit.run(config)
    # Noise, which the penalty has made small; without it 4 directions are left.
    assert abs(summary["private_fit/map_error"] - 1) < 0.3
    assert summary["private_fit/epsilon_0_auc_low"] > 0.6  # observed: 0.73
    assert summary["private_fit/epsilon_0.5_auc_low"] < 0.56
    assert summary["private_fit/epsilon_8_most_auc"] == pytest.approx(0.866, abs=2e-3)
    table, curves = load_blocks(tmp_path / "w")[-2:]
    assert [row[0] for row in table.rows] == ["0.5", "1", "2", "4", "8", "no noise"]
    assert len(curves.series["accuracy"]) == 5
