"""Maps without pairs, end to end."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.unpaired import ARMS, UnpairedConfig, compute, require_others, run
from helix_jax.alignment import fit_unpaired
from helix_jax.errors import RunError
from helix_jax.reports import Bars, Table, load_blocks
from helix_jax.runs import Run
from helix_jax.text.corpora import load_corpus
from helix_jax.text.hashing import split_of, unit_hash
from tests.experiments.told import require_told
from tests.twins import best_probe, best_ridge, r2


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_arms_are_those_of_scikit_learn_and_numpy(tmp_path):
    generator = np.random.default_rng(0)
    names = [f"words/{row}" for row in range(900)]  # those of words.jsonl
    labels = generator.integers(3, size=900)
    x = 3 * generator.normal(size=(3, 8))[labels] + generator.normal(size=(900, 8))
    y = x @ generator.normal(size=(8, 6)) + generator.normal(size=(900, 6))
    lines = [{"text": n, "label": f"c{label}"} for n, label in zip(names, labels)]
    path = tmp_path / "words.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = {"data": str(path), "workdir": str(tmp_path)}
    for side, rows in (("source", x), ("target", y)):
        file = tmp_path / f"{side}.npz"
        np.savez(file, embeddings=rows.astype(np.float32), ids=names)
        flags[side] = f"embeddings:{file}"
    config = UnpairedConfig(seeds=1, starts=1, resamples=20, **flags)
    numbers = compute(compute.prepare(config), Run(tmp_path)).numbers

    splits = np.array([split_of(name) for name in names])
    x, y = x.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
    fit, select, test = (splits == name for name in ("fit", "select", "test"))
    half = np.array([unit_hash(name, salt="deal 0") < 0.5 for name in names])
    ours, others = fit & half, fit & ~half
    ridge = best_ridge(x[ours], y[ours], x[select], y[select])
    key, _ = jax.random.split(jax.random.key(0))
    sides = (z.astype(np.float32) for z in (x[ours], y[others]))
    unpaired = fit_unpaired(*sides, key=key, starts=1)
    mapped = {
        "paired": ridge.predict(x[test]),
        "mean": np.tile(y[ours].mean(0), (test.sum(), 1)),
        "unpaired": x[test] @ np.asarray(unpaired.map.kernel, float)
        + np.asarray(unpaired.map.bias, float),
    }
    probe = best_probe(y[fit], labels[fit], y[select], labels[select])
    for arm, rows in mapped.items():
        a, b = rows - y[others].mean(0), y[test] - y[others].mean(0)
        cosines = a @ b.T / np.linalg.norm(b, axis=1)
        wanted = {
            "r2": r2(y[test], rows),
            "recall": np.mean(cosines.argmax(1) == np.arange(test.sum())),
            "accuracy": np.mean(probe.predict(rows) == labels[test]),
        }
        for measure, value in wanted.items():
            interval = numbers[f"unpaired/{arm}_{measure}"]
            assert interval.value == pytest.approx(value, abs=1e-5), (arm, measure)
    assert numbers["unpaired/unpaired_agreement"].value == float(unpaired.agreement)
    assert numbers["unpaired/source_rows"] == ours.sum()
    assert numbers["unpaired/target_rows"] == others.sum()


def test_a_corpus_of_the_targets_own_may_not_hold_the_sources_texts(common, tmp_path):
    config = UnpairedConfig(
        workdir=str(tmp_path / "w"), target_data=common["data"], **common
    )
    with pytest.raises(RunError, match="none in common"):
        run(config)


def test_texts_of_both_corpora_are_seen_by_one_side_alone(tmp_path, capsys):
    def corpus(name, texts):
        lines = (json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / name).write_text("".join(lines))
        return load_corpus(tmp_path / name)

    texts = [f"text {number}" for number in range(60)]
    own = corpus("a.jsonl", texts)
    with pytest.raises(RunError, match=r"--target_data shares .* with --data"):
        require_others(own, corpus("copy.jsonl", texts))
    more = corpus("more.jsonl", [*texts, *map(str, range(60))])
    assert require_others(own, more) == set(texts)
    assert "are also in --data" in capsys.readouterr().out
    assert require_others(own, corpus("other.jsonl", map(str, range(60))))
    assert not capsys.readouterr().out
