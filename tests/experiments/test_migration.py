"""Retrieval through a map, and the ranks that it is measured by."""

import numpy as np
import pytest

from experiments.embedding_migration import MigrationConfig, run
from helix_jax import assets
from helix_jax.linalg import unit_rows
from helix_jax.reports import load_blocks
from helix_jax.similarity.retrieval import relevant_ranks
from helix_jax.text.corpora import load_corpus
from helix_jax.text.views import halves
from tests.experiments.told import require_told


def brute_ranks(queries, index, relevant):
    ranks = []
    for query, wanted in zip(queries.astype(float), relevant):
        scores = index.astype(float) @ query
        scores[np.abs(scores - scores[wanted]) < 1e-6] = scores[wanted]
        others = np.delete(scores, wanted)
        ranks.append(1 + int(np.sum(others >= scores[wanted])))
    return ranks


@pytest.mark.parametrize("rows", [3, 700, 9000])
def test_ranks_equal_a_brute_force_count(rows):
    rng = np.random.default_rng(rows)
    index = np.array(unit_rows(rng.normal(size=(rows, 6)).astype(np.float32)))
    index[rows // 2] = index[0]  # a duplicate ties, and counts against
    relevant = rng.integers(0, rows, 300)
    queries = index[relevant] + rng.normal(size=(300, 6)).astype(np.float32) / 3
    relevant[0] = 0
    queries[0] = index[0]
    ranks = relevant_ranks(queries, index, relevant)
    assert ranks.tolist() == brute_ranks(queries, index, relevant)
    assert ranks[0] == 2


def test_bad_input_to_ranks_is_refused():
    x = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="row from 0 to 3"):
        relevant_ranks(x, x, np.array([0, 1, 2, 4]))
    with pytest.raises(ValueError, match="relevant_ranks"):
        relevant_ranks(x, x[:, :2], np.arange(4))
    with pytest.raises(ValueError, match="queries"):
        relevant_ranks(np.full((4, 3), np.nan), x, np.arange(4))


def test_halves_hold_the_text_between_them():
    corpus = load_corpus("docstrings", limit=60)
    first, second = halves(corpus, words=5)
    whole = {text.id: text.text.split() for text in corpus.read("fit")}
    pairs = list(zip(first.read("fit"), second.read("fit"), strict=True))
    assert 10 < len(pairs) < len(whole)
    for a, b in pairs:
        assert a.id == b.id
        assert a.text.split() + b.text.split() == whole[a.id]
    assert first.fingerprint != second.fingerprint


def test_the_map_finds_what_its_controls_do_not(tmp_path):
    config = MigrationConfig(
        workdir=str(tmp_path),
        source=str(assets.model_path("pebble-llama")),
        target=str(assets.model_path("pebble-qwen3")),
        tiny=True,
    )
    summary = run(config)
    recall = {
        arm: summary[f"migration/recall_at_100_{arm}"]
        for arm in ("native", "reindexed", "mapped", "unmapped", "shuffled", "random")
    }
    assert recall["mapped"] > 1.5 * max(recall["shuffled"], recall["random"])
    assert recall["mapped"] > 0.6 * recall["native"]
    assert summary["migration/recall_at_10_mapped_low"] <= recall["mapped"]
    assert run(config) == summary
    assert len(load_blocks(tmp_path)) == 2
    require_told(tmp_path, "pebble-llama -> pebble-qwen3, docstrings", "to test on")
