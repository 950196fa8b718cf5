"""A layer among others: its rows by split, and a classifier where there are classes."""

import dataclasses

import numpy as np
import pytest

from helix_jax.errors import RunError
from helix_jax.transfer.atlas import Node

from .planted_pairs import planted_store


@pytest.fixture(scope="module")
def node(rows):
    """The planted clusters as one layer of a model."""
    stores = {}
    for split, x in rows.x.items():
        store = planted_store("x", x, [f"{split}{i}" for i in range(len(x))])
        labels = rows.labels[split].astype(np.int32)
        stores[split] = dataclasses.replace(store, text_labels=labels)
    return Node("model-3", "model", "MODEL", stores, ("c0", "c1", "c2"))


def test_rows_and_labels_are_those_of_the_stores(node, rows):
    for split, x in rows.x.items():
        np.testing.assert_array_equal(node.rows[split], x.astype(np.float32))
        np.testing.assert_array_equal(node.labels[split], rows.labels[split])


def test_the_classifier_finds_clusters_far_apart(node, rows):
    kernel, bias = (np.asarray(one) for one in (node.probe.kernel, node.probe.bias))
    scores = node.rows["test"] @ kernel + bias
    assert np.mean(np.argmax(scores, axis=1) == rows.labels["test"]) > 0.95


def test_a_classifier_of_a_corpus_without_classes_is_refused(node):
    bare = dataclasses.replace(node, classes=None)
    with pytest.raises(RunError, match=r"MODEL has no classes .* a labelled corpus"):
        bare.probe  # noqa: B018  # it is refused
