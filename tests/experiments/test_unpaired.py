"""Maps without pairs, end to end."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.unpaired import ARMS, UnpairedConfig, deal, require_others, run
from helix_jax.alignment import gaussian_like
from helix_jax.errors import RunError
from helix_jax.reports import Bars, Table, load_blocks
from helix_jax.text.corpora import load_corpus
from tests.experiments.told import require_told


@pytest.fixture(scope="module")
def common(models, texts, tmp_path_factory):
    return {
        "source": str(models["llama"]),
        "target": str(models["llama"]),
        "data": str(texts),
        "max_tokens": 64,
        "seeds": 1,
        "starts": 1,
        "resamples": 200,
        "stores": str(tmp_path_factory.mktemp("stores")),
    }


def test_arms_stand_beside_their_ceiling_and_controls(common, tmp_path):
    config = UnpairedConfig(workdir=str(tmp_path / "w"), **common)
    summary = run(config)
    for arm in ARMS:
        for measure in ("r2", "recall", "accuracy"):
            name = f"unpaired/{arm}_{measure}"
            low, value, high = (summary[name + end] for end in ("_low", "", "_high"))
            assert low <= value <= high, name
    assert summary["unpaired/paired_r2"] > 0.99  # the model itself
    assert summary["unpaired/paired_recall"] > 0.9
    assert summary["unpaired/mean_recall"] < 0.1
    assert summary["unpaired/mean_r2"] == pytest.approx(0, abs=0.05)
    assert summary["unpaired/paired_accuracy"] == pytest.approx(
        summary["unpaired/target_probe_accuracy"], abs=0.02
    )
    Path(config.workdir, "DONE").unlink()
    (place,) = Path(config.workdir).glob("deal-*.npz")
    before = place.stat().st_mtime_ns
    assert run(config) == summary  # a deal that has ended is only read
    assert place.stat().st_mtime_ns == before
    table, *bars = load_blocks(Path(config.workdir))
    assert isinstance(table, Table)
    assert [type(one) for one in bars] == [Bars] * 3
    assert len(table.rows) == len(ARMS) + 2
    require_told(config.workdir, "model -> model, texts.jsonl", "texts to test on")
    found = {row[0]: row[-1] for row in table.rows}
    assert found["without pairs"] in ("yes", "no map found")
    assert found["ridge on pairs"] is None


def test_a_corpus_of_the_targets_own_may_not_hold_the_sources_texts(common, tmp_path):
    config = UnpairedConfig(
        workdir=str(tmp_path / "w"), target_data=common["data"], **common
    )
    with pytest.raises(RunError, match="none in common"):
        run(config)


def test_no_text_is_dealt_to_both_sides():
    ids = [f"d{i // 3}#{i}" for i in range(300)]
    rows = np.arange(300.0)[:, None], -np.arange(300.0)[:, None]
    dealt, again = (deal(ids, rows, None, seed) for seed in (0, 1))
    assert len(dealt.x) + len(dealt.y) == 300
    np.testing.assert_array_equal(dealt.paired, -dealt.x)
    documents = {int(x) // 3 for x in dealt.x[:, 0]}
    assert not documents & {int(-y) // 3 for y in dealt.y[:, 0]}
    assert not np.array_equal(again.x, dealt.x)


def test_the_gaussian_control_spreads_like_the_target():
    rng = np.random.default_rng(0)
    y = (rng.exponential(size=(20_000, 4)) @ rng.normal(size=(4, 4))).astype("float32")
    drawn = gaussian_like(y, seed=0)
    np.testing.assert_allclose(drawn.mean(0), y.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(y.T), atol=0.2)
    third = ((y - y.mean(0)) ** 3).mean(0)
    assert np.abs(((drawn - drawn.mean(0)) ** 3).mean(0)).max() < np.abs(third).max()


def test_texts_of_both_corpora_are_seen_by_one_side_alone(tmp_path, capsys):
    def corpus(name, texts):
        lines = (json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / name).write_text("".join(lines))
        return load_corpus(tmp_path / name)

    texts = [f"text {number}" for number in range(60)]
    own = corpus("a.jsonl", texts)
    with pytest.raises(RunError, match=r"--target_data has .* from --data"):
        require_others(own, corpus("copy.jsonl", texts))
    more = corpus("more.jsonl", [*texts, *map(str, range(60))])
    assert require_others(own, more) == set(texts)
    assert "are also in --data" in capsys.readouterr().out
    assert require_others(own, corpus("other.jsonl", map(str, range(60))))
    assert not capsys.readouterr().out
