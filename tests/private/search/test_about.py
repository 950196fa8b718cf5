"""A description goes through JSON as it is; a hostile one is refused by name."""

import base64
import json

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.profiles import find_profile
from helix_jax.private.search.about import read_about

GUARDED = find_profile("guarded")


def packed(values):
    return base64.b64encode(np.asarray(values, "<u4").tobytes()).decode()


@pytest.mark.parametrize("name", ["scores", "clusters"])
def test_a_description_goes_through_json(open_search, name):
    index, provider, _ = open_search(name)
    about = read_about(json.loads(json.dumps(provider.about)), GUARDED)
    assert about.name == index.name
    assert about.model == {"name": "made up"}
    assert about.rows == len(index.vectors)
    assert about.clustered == (name == "clusters")
    np.testing.assert_array_equal(about.layout.sizes, index.layout.sizes)
    if about.clustered:
        np.testing.assert_array_equal(about.layout.sets, index.layout.sets)
        np.testing.assert_array_equal(about.layout.weights, index.layout.weights)


CHANGES = [
    ({"format": 2}, "expected format 1, got 2"),
    ({"metric": "dot"}, "metric 'cosine'"),
    ({"profile": "open"}, "expected profile 'guarded', got 'open'"),
    ({"rows": 10**12}, "rows must be a whole number from 1"),
    ({"rows": True}, "rows must be a whole number"),
    ({"rows": 599}, "21 blocks hold 600 of 599 rows"),
    ({"blocks": 10**9}, "blocks must be a whole number"),
    ({"blocks": 22}, "sizes needs 88 bytes, got 84"),
    ({"sizes": "A" * 10**6}, "sizes must be base64 of at most 84 bytes"),
    ({"sizes": "*" * 112}, "sizes is not base64"),
    ({"sizes": packed([33] * 21)}, "sizes must be below 33"),
    ({"record_bytes": 10**9}, "record_bytes must be a whole number"),
    ({"record_bytes": 18}, "the layer of texts has"),
    ({"width": 17}, "the layer of vectors has"),
    ({"block_rows": 64}, "the layer of vectors has"),
    ({"sets": 10**9}, "sets must be a whole number"),
    ({"probes": 22}, "probes must be a whole number from 1 to 21"),
    ({"vectors": "A" * 10**6}, "vectors must be base64 of at most"),
    ({"vectors": ""}, "layer: a message has at least"),
    ({"texts": None}, "texts must be base64"),
    ({"decoys": 10**6}, "decoys must be a whole number"),
    ({"name": "zz" * 16}, "not hexadecimal"),
    ({"name": "00"}, "a name of 32 hex digits"),
    ({"model": None}, "and a model"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_description_that_cannot_be_is_refused_by_name(open_search, change, message):
    about = open_search("clusters")[1].about
    with pytest.raises(ProtocolError, match=message):
        read_about(about | change, GUARDED)


def test_sets_of_equal_clusters_or_of_no_weight_are_refused(open_search):
    about = open_search("clusters")[1].about
    sets, probes = about["sets"], about["probes"]
    for change in (
        {"members": packed(np.zeros((sets, probes)))},
        {"weights": packed(np.zeros(sets))},
    ):
        with pytest.raises(ProtocolError, match="different clusters and positive"):
            read_about(about | change, GUARDED)
    with pytest.raises(ProtocolError, match="members must be below 21, got 21"):
        read_about(about | {"members": packed(np.full((sets, probes), 21))}, GUARDED)


def test_what_is_no_dictionary_or_lacks_something_is_refused(open_search):
    about = open_search("clusters")[1].about
    with pytest.raises(ProtocolError, match="expected a dictionary, got list"):
        read_about([], GUARDED)
    for name in about.keys() - {"sets"}:
        with pytest.raises(ProtocolError):
            read_about({key: about[key] for key in about if key != name}, GUARDED)
    without = {key: about[key] for key in about if key != "sets"}
    with pytest.raises(ProtocolError, match="need clusters, or whole blocks"):
        read_about(without, GUARDED)
