"""An index of texts as a program, and private search beside the clear one."""

import json

import numpy as np
import pytest

from experiments import index, private_search
from helix_jax.errors import RunError
from helix_jax.private.search import open_index
from helix_jax.private.search.records import read_record
from tests.experiments.told import require_answered

pytest.importorskip("Pyfhel")


def test_an_index_of_texts_holds_their_ids_and_beginnings(texts, tmp_path):
    config = index.IndexConfig(
        workdir=str(tmp_path / "run"),
        stores=str(tmp_path / "stores"),
        model="pebble-llama",
        data=str(texts),
        limit=100,
        max_tokens=32,
        text_bytes=40,
    )
    summary = index.run(config)
    found = open_index(tmp_path / "run" / "index")
    assert len(found.vectors) == summary["index/rows"] == 100
    whole = [json.loads(line)["text"].encode() for line in texts.open()]
    beginnings = {text[:40].decode(errors="ignore") for text in whole}
    for row in range(100):
        document = read_record(found.name, row, found.records[row].tobytes())
        assert document.text in beginnings
    assert summary["index/texts_cut"] > 0
    facts = ("rows", "width", "texts_cut", "longest_text_bytes")
    require_answered(tmp_path / "run", *(str(summary[f"index/{one}"]) for one in facts))


@pytest.mark.slow
def test_private_search_through_a_map_finds_what_its_control_does_not(texts, tmp_path):
    config = private_search.SearchConfig(
        workdir=str(tmp_path / "run"),
        source="pebble-llama",
        target="pebble-neox",
        data=str(texts),
        tiny=True,
        limit=300,
        max_tokens=32,
        queries=12,
        policies=("rounded:12", "rounded:4"),
    )
    summary = private_search.run(config)
    assert summary["recall/native"] == 1
    assert summary["recall/native_rounded_12"] > 0.95
    assert summary["recall/native_rounded_4"] < summary["recall/native_rounded_12"]
    assert summary["recall/mapped_rounded_12"] > summary["recall/shuffled_rounded_12"]
    assert abs(summary["recall/mapped_rounded_12"] - summary["recall/mapped"]) < 0.1
    arms = ("mapped", "native", "shuffled")
    recalls = (f"{100 * summary[f'recall/{a}_rounded_12']:.1f}%" for a in arms)
    seconds = f"{summary['cost/mapped_rounded_12_seconds']:.3f} s"
    require_answered(tmp_path / "run", "10", *recalls, seconds)


@pytest.mark.slow
def test_made_up_rows_in_clusters_are_searched(tmp_path):
    config = private_search.SearchConfig(
        workdir=str(tmp_path),
        tiny=True,
        index="clusters",
        policies=("logits",),
        decoys=3,
    )
    summary = private_search.run(config)
    assert summary["recall/native_logits"] > 0.8
    assert summary["guess/chance"] == 0.25
    assert summary["cost/native_logits_parts"] > 10
    recall = f"{100 * summary['recall/native_logits']:.1f}%"
    seconds = f"{summary['cost/native_logits_seconds']:.3f} s"
    require_answered(tmp_path, "10", recall, seconds)


def test_the_nearest_of_many_rows_are_those_of_all_at_once():
    """More rows than are compared at a time, with the nearest in both blocks."""
    made = np.random.default_rng(0).normal(size=(70_000, 3)).astype(np.float32)
    rows = made / np.linalg.norm(made, axis=1, keepdims=True)
    queries = 2 * rows[[7, 66_000, 69_999]]
    found = private_search.nearest(rows, queries, 20)
    wanted = np.argsort(-queries @ rows.T, axis=1, kind="stable")[:, :20]
    assert (found > 65_536).any()
    assert [set(own) for own in found.tolist()] == [set(own) for own in wanted.tolist()]
    assert found[:, 0].tolist() == [7, 66_000, 69_999]


def test_policies_that_are_none_are_refused_before_anything_is_done(tmp_path):
    config = private_search.SearchConfig(
        workdir=str(tmp_path / "run"), policies=("rounded:99",), tiny=True
    )
    with pytest.raises(RunError, match="--policies=rounded:99"):
        private_search.run(config)
    assert not (tmp_path / "run").exists()
