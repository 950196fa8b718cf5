"""The ledger: claims are tested once, missing data are said, rules decide."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

from experiments.claims import all_claims, compatibility
from experiments.claims.bench import missing
from experiments.claims.benches import BENCHES, BenchOptions
from experiments.replicate import ReplicateConfig, choose_claims, compute, run
from helix_jax.errors import RunError
from helix_jax.reports import load_blocks
from helix_jax.reports.ledger import (
    FAILS,
    HOLDS,
    PARTLY,
    UNTESTABLE,
    Case,
    Finding,
    tally,
    verdict_of,
)
from helix_jax.runs import Run
from tests.conftest import WIDE, cases
from tests.experiments.told import require_answered
from tests.twins import r2

PARTS = (slice(64), slice(64, None))  # fitting rows of the claim few_rows, others


def test_verdicts_follow_the_cases():
    assert verdict_of([True, True]) == HOLDS
    assert verdict_of([True, False]) == PARTLY
    assert verdict_of([False, False]) == FAILS
    assert verdict_of([]) == UNTESTABLE


def test_cases_are_tallied_into_one_finding():
    cases = [
        Case("a: 1", True, {"a": 1.0}),
        Case("b: -", None),
        Case("c: 2", False, {"c": 2.0}),
    ]
    found = tally(iter(cases), "above 0", none=missing("model"))
    assert found == Finding("a: 1; b: -; c: 2", PARTLY, "above 0", {"a": 1, "c": 2})
    assert tally(cases[:1], "above 0").verdict == HOLDS
    none = tally(cases[1:2], "above 0", none=missing("model"))
    assert none == Finding("b: -", UNTESTABLE, "there is no model here")
    assert tally([], "above 0") == Finding("", UNTESTABLE, "above 0")


def test_claims_have_names_of_their_own():
    names = [claim.name for claim in all_claims()]
    assert len(names) == len(set(names)) > 25
    assert [one.name for one in choose_claims(("cka", "stsb"))] == ["cka", "stsb"]
    with pytest.raises(RunError, match="no claim 'gravity'"):
        choose_claims(("gravity",))


def test_a_ledger_is_written_and_resumes(tmp_path):
    config = ReplicateConfig(
        workdir=str(tmp_path / "w"),
        tiny=True,
        shared=str(tmp_path),
        claims=("few_rows", "stsb", "own_map_trec", "jaccard"),
    )
    summary = run(config)
    assert summary["few_rows/outside"] < 0 < summary["few_rows/inside"]
    counts, ledger = load_blocks(tmp_path / "w")
    verdicts = [row[3] for row in ledger.rows]
    assert verdicts == [HOLDS, UNTESTABLE, UNTESTABLE, UNTESTABLE]
    assert counts.rows == [[HOLDS, 1], [UNTESTABLE, 3]]
    require_answered(tmp_path / "w", "4", "holds 1", "not testable here 3")
    text = Path(config.workdir, "ledger.md").read_text()
    assert "holds: 1; not testable here: 3" in text
    assert "**not testable here**: there is no trec here" in text
    assert "\n- here:\n  - R2 0." in text
    Path(config.workdir, "DONE").unlink()
    place = Path(config.workdir, "findings", "few_rows.json")
    record = json.loads(place.read_text())
    record["finding"]["numbers"]["inside"] = 77.0  # only read, not tested again
    place.write_text(json.dumps(record))
    assert run(config)["few_rows/inside"] == 77.0


@pytest.mark.slow
def test_a_finding_equals_scikit_learn(tmp_path):
    # Least squares beside ridge at a penalty of 1e-6: R2 .7898789 of both on the
    # fitting rows; -4.1991 and -4.1994 on the others.
    scores = []
    for seed in range(10):
        generator = np.random.default_rng(seed)
        x, y = (generator.standard_normal((512, 50)) for _ in range(2))
        fitted = LinearRegression().fit(x[:64], y[:64])
        scores.append([r2(y[rows], fitted.predict(x[rows])) for rows in PARTS])
    config = ReplicateConfig(
        workdir=str(tmp_path), shared=str(tmp_path), claims=("few_rows",), tiny=True
    )
    report = compute(config, Run(tmp_path))
    inside, outside = np.mean(scores, axis=0)
    assert report.numbers["few_rows/inside"] == pytest.approx(inside, abs=1e-6)
    assert report.numbers["few_rows/outside"] == pytest.approx(outside, rel=1e-3)
    counts, ledger = report.blocks
    assert counts.rows == [[HOLDS, 1]]
    (row,) = ledger.rows
    assert row[3] == HOLDS
    assert f"R2 {inside:.2f} [" in row[2]
    assert report.text.count("**holds**") == 1


@pytest.mark.slow
def test_a_real_claim_on_real_data(tmp_path, shared):
    data = tmp_path / "shared" / "data"
    data.mkdir(parents=True)
    (data / "trec").symlink_to(shared / "data" / "trec")
    config = ReplicateConfig(
        workdir=str(tmp_path / "w"),
        tiny=True,
        shared=str(tmp_path / "shared"),
        claims=tuple(cases(("own_map_trec", "public_and_few", "intercept"), "cka")),
    )
    summary = run(config)
    losses = [v for k, v in summary.items() if k.endswith("/loss")]
    assert len(losses) == 1
    assert -0.3 < losses[0] < 0.5
    errors = {k.split("/")[-1]: v for k, v in summary.items() if "intercept" in k}
    assert 0 < errors["with"] < 1
    assert 0 < errors["without"] < 2
    if WIDE:
        assert 0.3 < summary["cka/pebble-neox/pebble-llama"] < 1
    _, ledger = load_blocks(tmp_path / "w")
    assert all(row[3] != UNTESTABLE for row in ledger.rows)
    bench = BENCHES["local"](config)
    assert bench.corpora == {"trec": str(data / "trec")}


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a folder"):
        run(ReplicateConfig(workdir=str(tmp_path / "w"), shared=str(tmp_path / "no")))
    with pytest.raises(
        RunError, match="--preset must be local, pebble or paper, got 'large'"
    ):
        run(ReplicateConfig(workdir=str(tmp_path / "w"), preset="large"))


def test_a_claim_that_fails_does_not_stop_the_others(tmp_path):
    broken = [tmp_path / "tokenizers" / name for name in ("gpt2", "qwen2.5")]
    for folder in broken:
        folder.mkdir(parents=True)
    config = ReplicateConfig(
        workdir=str(tmp_path / "w"),
        tiny=True,
        shared=str(tmp_path),
        claims=("jaccard", "stsb"),
    )
    with pytest.raises(RunError, match=r"1 of 2 claims .*first jaccard: .*qwen2\.5"):
        run(config)
    assert "STS-B" in (tmp_path / "w" / "ledger.md").read_text()
    for folder in broken:
        folder.rmdir()
    assert run(config)["stsb/seconds"] >= 0


def test_the_real_models_are_taken_from_where_they_lie_or_from_the_hub(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HELIX_REAL", str(tmp_path))
    (tmp_path / "gemma3-270m").mkdir()
    (tmp_path / "gemma3-270m" / "config.json").write_text("{}")
    bench = BENCHES["local"](BenchOptions(workdir=str(tmp_path), shared=str(tmp_path)))
    smollm2, gemma = bench.pairs[0]
    assert smollm2 == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert gemma == str(tmp_path / "gemma3-270m")
    assert len({model for pair in bench.pairs for model in pair}) == 4
    assert bench.options["limit"] == 3000
    assert len(bench.causal) + len(bench.trained) >= 8
    limited = BenchOptions(workdir=str(tmp_path), shared=str(tmp_path), limit=50)
    assert BENCHES["paper"](limited).options["limit"] == 50


@pytest.mark.slow
def test_compatibility_is_spearmans_over_all_ordered_pairs():
    pairs = list(itertools.permutations("abcd", 2))
    alike = {
        f"{a}/{b}/{name}": value
        for (a, b), value in zip(itertools.combinations("abcd", 2), range(6))
        for name in compatibility.LIKENESS
    }
    keys = ["/".join(sorted((a, b))) + "/jaccard_raw" for a, b in pairs]
    likeness = np.array([alike[key] for key in keys])
    lost = np.random.default_rng(0).normal(size=len(pairs))
    wanted = spearmanr(likeness, -lost).statistic
    match, jaccard = compatibility.correlations(pairs, alike, lost)
    assert jaccard.numbers["jaccard_raw"] == pytest.approx(wanted, abs=1e-12)
    assert match.numbers["match_position_bytes"] == pytest.approx(wanted, abs=1e-12)
    assert "4 models, 12 pairs" in jaccard.told
    perfect, _ = compatibility.correlations(pairs, alike, -likeness)
    assert perfect.holds


@pytest.mark.slow
def test_bits_lost_of_a_pair_and_too_few_models(tmp_path):
    config = BenchOptions(str(tmp_path), str(tmp_path), 100, 32, tiny=True)
    bench = dataclasses.replace(
        BENCHES["pebble"](config), causal=("pebble-llama", "pebble-neox")
    )
    assert compatibility.compatibility.check(bench).verdict == UNTESTABLE
    lost = compatibility.bits_lost(bench, bench.causal)
    place = tmp_path / "compatibility" / "pairs" / "pebble-llama-to-pebble-neox"
    summary = json.loads((place / "summary.json").read_text())
    more = "generation/bits_per_character_"
    assert lost == pytest.approx(
        summary[f"{more}mapped"] - summary[f"{more}native_source"], abs=1e-6
    )
    assert lost > 0
