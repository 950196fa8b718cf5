"""Retrieval through a map, and the ranks that it is measured by."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from experiments.embedding_migration import MigrationConfig, compute, run
from helix_jax import assets
from helix_jax.activations import open_store
from helix_jax.errors import CorpusError
from helix_jax.linalg import unit_rows
from helix_jax.reports import load_blocks
from helix_jax.runs import Run
from helix_jax.similarity.retrieval import relevant_ranks, score_ranks, with_width
from helix_jax.text.corpora import load_corpus
from helix_jax.text.views import halves
from tests.experiments.told import require_told
from tests.twins import best_ridge


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


@pytest.mark.slow
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
    assert len(load_blocks(tmp_path)) == 3
    require_told(tmp_path, "pebble-llama -> pebble-qwen3, docstrings", "to test on")


def states(folder, model, half, *splits):
    """split -> {id: row} of what a run has extracted, in float64."""
    rows = {}
    for split in splits:
        (place,) = folder.glob(f"{model}-docstrings-{half}-{split}-*")
        store = open_store(place)
        rows[split] = dict(zip(store.ids, store.read().astype(float)))
    return rows


@pytest.mark.slow
def test_recalls_are_those_counted_plainly_on_the_stored_states(tmp_path):
    config = MigrationConfig(
        workdir=str(tmp_path),
        source="pebble-llama",
        target="pebble-neox",
        limit=300,
        max_tokens=48,
        cutoffs=(1, 5),
        rows=(40,),
        epochs=2,
        resamples=20,
    )
    numbers = compute(compute.prepare(config), Run(tmp_path)).numbers
    stores, models = tmp_path / "stores", ("pebble-llama", "pebble-neox")
    new, old = (
        states(stores, model, "second", "fit", "select", "test") for model in models
    )
    asked_new, asked_old = (
        np.stack(list(states(stores, model, "first", "test")["test"].values()))
        for model in models
    )
    ids = [name for rows in old.values() for name in rows]
    wanted = [ids.index(name) for name in old["test"]]
    x, y = (
        {split: np.stack(list(rows.values())) for split, rows in side.items()}
        for side in (new, old)
    )
    index_new, index_old = (np.concatenate(list(z.values())) for z in (x, y))
    forward, backward = (
        best_ridge(a["fit"], b["fit"], a["select"], b["select"]).predict
        for a, b in ((x, y), (y, x))
    )
    cut = asked_new[:, : y["fit"].shape[1]]
    missing = y["fit"].shape[1] - cut.shape[1]
    searches = {
        "native": (asked_old, index_old, y),
        "reindexed": (asked_new, index_new, x),
        "mapped": (forward(asked_new), index_old, y),
        "backward": (asked_new, backward(index_old), x),
        "unmapped": (np.pad(cut, [(0, 0), (0, missing)]), index_old, y),
    }
    found = {}
    for arm, (asked, index, side) in searches.items():
        centre = side["fit"].mean(0)
        a, b = asked - centre, index - centre
        cosines = a @ b.T / np.linalg.norm(a, axis=1)[:, None]
        cosines /= np.linalg.norm(b, axis=1)
        ranks = [1 + np.sum(row > row[w] + 1e-7) for row, w in zip(cosines, wanted)]
        start = f"migration/mean_reciprocal_rank_{arm}"
        assert numbers[start] == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-6)
        for k in (1, 5):
            recall = np.mean(np.array(ranks) <= k)
            name = f"migration/recall_at_{k}_{arm}"
            assert float(numbers[name].value) == pytest.approx(recall, abs=1e-7), name
        own = np.arange(len(ids)) == np.array(wanted)[:, None]
        ndcg = float(numbers[f"migration/ndcg_{arm}"].value)
        assert ndcg == pytest.approx(ndcg_score(own, cosines, k=10), abs=1e-6), arm
        found[arm] = np.argsort(-cosines, axis=1)[:, :10]
    for arm, rows in found.items():
        new = zip(rows, found["reindexed"])
        alike = np.mean([len(set(a) & set(b)) / 10 for a, b in new])
        name = f"migration/as_reindexed_{arm}"
        assert float(numbers[name].value) == pytest.approx(alike, abs=1e-7), name
    assert numbers["migration/queries"] == len(wanted)
    assert numbers["migration/index_rows"] == len(ids)


def test_scores_of_ranks():
    scores = score_ranks(np.array([1, 2, 4, 1]), list("abcd"), cutoffs=(1, 3))
    assert {k: float(one.value) for k, one in scores.recall.items()} == {
        1: 0.5,
        3: 0.75,
    }
    assert scores.mean_reciprocal_rank == (1 + 1 / 2 + 1 / 4 + 1) / 4
    rows = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(with_width(rows, 2), rows[:, :2])
    np.testing.assert_array_equal(with_width(rows, 4), [[0, 1, 2, 0], [3, 4, 5, 0]])


def test_embeddings_cannot_be_cut_in_two(tmp_path):
    np.savez(
        tmp_path / "x.npz", embeddings=np.eye(3, dtype=np.float32), ids=list("abc")
    )
    config = MigrationConfig(
        workdir=str(tmp_path / "w"),
        source=f"embeddings:{tmp_path / 'x.npz'}",
        target="pebble-neox",
    )
    with pytest.raises(CorpusError, match="must be models and not embeddings:FILE"):
        run(config)
    assert not (tmp_path / "w").exists()
