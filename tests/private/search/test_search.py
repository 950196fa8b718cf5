"""A search under encryption finds what the clear one finds, and reads its text."""

import gc
import weakref

import numpy as np
import pytest

from helix_jax.errors import BudgetError, KeyRoleError, ProtocolError
from helix_jax.private import Client, Ledger
from helix_jax.private.admission import Admission
from helix_jax.private.search import Hit, SearchClient, SearchProvider, converse

from .conftest import BLOCK, DECOYS, WIDTH, make_texts, make_vectors

GENERATOR = np.random.default_rng(3)
QUERIES = GENERATOR.normal(size=(6, WIDTH))


def clear_scores(index, x):
    return index.vectors.astype(np.float64) @ (x / np.linalg.norm(x))


@pytest.mark.slow
def test_all_rows_are_scored_as_in_the_clear(open_search):
    index, provider, own = open_search("scores")
    for x in QUERIES:
        hits = converse(own.search(x, 200), provider)
        clear = clear_scores(index, x)
        error = own.about.vectors.error
        assert error < 1e-4
        np.testing.assert_allclose(
            [hit.score for hit in hits], clear[[hit.row for hit in hits]], atol=error
        )
        # Sorted by true scores, up to twice the error.
        assert np.diff(clear[[hit.row for hit in hits]]).max() <= 2 * error
        assert sorted(hit.row for hit in hits) == list(range(200))


def test_rounded_scores_have_the_noise_that_the_policy_says(open_search):
    index, provider, own = open_search("scores", policy="rounded:8")
    differences = []
    for x in QUERIES:
        hits = converse(own.search(x, 200), provider)
        clear = clear_scores(index, x)
        differences += [hit.score - clear[hit.row] for hit in hits]
    assert 2.0**-9 < np.std(differences) < 2.0**-6


@pytest.mark.slow
def test_clusters_are_searched_as_the_same_rows_in_the_clear(open_search):
    index, provider, own = open_search("clusters")
    layout, known = index.layout, 0
    for x in QUERIES:
        hits = converse(own.search(x, 10), provider)
        sets = {hit.chosen for hit in hits}
        assert len(sets) == 1
        blocks = layout.sets[sets.pop()]
        rows = np.concatenate(
            [np.arange(*layout.rows(block).indices(600)) for block in blocks]
        )
        clear = clear_scores(index, x)
        best = rows[np.argsort(-clear[rows])[:10]]
        assert [hit.row for hit in hits] == best.tolist()
        for hit in hits:
            assert layout.rows(hit.block).start <= hit.row < layout.rows(hit.block).stop
        known += len({*best} & {*np.argsort(-clear)[:10]})
    assert known >= 45  # of 60 that a search of all rows finds


@pytest.mark.parametrize("name", ["scores", "clusters"])
@pytest.mark.slow
def test_every_kind_of_text_is_read_exactly(open_search, name):
    index, provider, own = open_search(name)
    given = make_vectors(len(index.vectors))
    texts = make_texts(len(index.vectors))
    for old in range(6):  # empty, plain, unicode, with NUL, longest
        (hit,) = converse(own.search(given[old], 1), provider)
        assert index.layout.order[hit.row] == old
        found = converse(own.read(hit), provider)
        assert found == (texts["ids"][old], texts["texts"][old])


def test_one_message_asks_all_clusters_and_decoys(open_search):
    index, provider, own = open_search("clusters")
    log = []
    hits = converse(own.search(QUERIES[0], 5), provider, log=log)
    centroids, clusters = log
    assert centroids.parts == ("centroids/0",)
    numbers = [int(part.removeprefix("cluster/")) for part in clusters.parts]
    assert numbers == sorted(set(numbers))
    assert {*index.layout.sets[hits[0].chosen]} < {*numbers}
    assert len(numbers) <= 4 * (DECOYS + 1)
    converse(own.read(hits[0]), provider, log=log)
    read = [int(part.removeprefix("texts/")) for part in log[-1].parts]
    assert hits[0].block in read
    assert {*read} <= {*numbers}
    assert len(read) <= DECOYS + 1


@pytest.mark.parametrize("name", ["scores", "clusters"])
@pytest.mark.slow
def test_the_same_is_asked_among_the_same_whoever_restarts(open_search, name):
    asked = []
    for _ in range(2):
        _, provider, own = open_search(name, secret=b"s" * 32)
        for _ in range(2):
            log = []
            hits = converse(own.search(QUERIES[1], 3), provider, log=log)
            for hit in hits:
                converse(own.read(hit), provider, log=log)
            asked.append([request.parts for request in log])
    assert asked[0] == asked[1] == asked[2] == asked[3]


def test_a_search_without_decoys_asks_one_set(open_search):
    index, provider, own = open_search("clusters", decoys=0)
    log = []
    hits = converse(own.search(QUERIES[2], 5), provider, log=log)
    wanted = sorted(index.layout.sets[hits[0].chosen].tolist())
    assert log[1].parts == tuple(f"cluster/{i}" for i in wanted)
    converse(own.read(hits[0]), provider, log=log)
    assert log[2].parts == (f"texts/{hits[0].block}",)


def test_answers_are_the_same_where_no_weights_are_kept(open_search):
    _, provider, own = open_search("clusters", secret=b"s" * 32)
    _, scarce, again = open_search("clusters", secret=b"s" * 32, weights_bytes=0)
    assert provider.prepare() > 20
    assert scarce.prepare() == 1
    first, second = (
        converse(one.search(QUERIES[3], 10), other)
        for one, other in ((own, provider), (again, scarce))
    )
    assert [hit.row for hit in first] == [hit.row for hit in second]
    np.testing.assert_allclose(
        [hit.score for hit in first], [hit.score for hit in second], atol=1e-6
    )


def test_the_layer_of_all_rows_is_kept_while_texts_come_and_go(open_search):
    _, provider, own = open_search("scores", weights_bytes=1)
    kept = provider._blocks.get("scores")
    for hit in converse(own.search(QUERIES[3], 3), provider):
        converse(own.read(hit), provider)
    assert provider._blocks.get("scores") is kept
    assert len(provider._blocks._made) == 2  # and the last block of texts


def start_search(own, provider, parts):
    """A query for some parts of clusters, encrypted and not sent."""
    return own._client.encrypt(own.about.vectors, np.eye(WIDTH)[0], answers=len(parts))


def test_each_part_answers_a_message_once(open_search):
    _, provider, own = open_search("clusters")
    message = start_search(own, provider, ["cluster/1", "cluster/2"])
    provider.answer(message, ["cluster/1"])
    provider.answer(message, ["cluster/2"])
    for part in ("cluster/1", "cluster/2"):
        with pytest.raises(ProtocolError, match="; start anew"):
            provider.answer(message, [part])


def test_an_answer_is_read_once_for_one_part(open_search):
    _, provider, own = open_search("clusters")
    parts = ["cluster/1", "cluster/2"]
    answers = provider.answer(start_search(own, provider, parts), parts)
    own._client.decrypt(answers[0])
    with pytest.raises(ProtocolError, match="read before, as another layer's"):
        own._client.decrypt(answers[0])
    own._client.decrypt(answers[1])
    with pytest.raises(ProtocolError, match="its answer was read before"):
        own._client.decrypt(answers[1])


def test_a_budget_that_ends_midway_charges_for_nothing_that_was_not_answered(
    open_search,
):
    _, provider, own = open_search("clusters")
    first = []
    converse(own.search(QUERIES[4], 3), provider, log=first)
    name = f"key {own._client.key.hex()}"
    bits, texts = provider.spent(name)
    assert bits > 0
    assert texts == 0
    # Room for the centroids and for half of the clusters.
    _, provider, own = open_search("clusters", budget=bits / 2)
    log = []
    with pytest.raises(BudgetError, match="more are above the"):
        converse(own.search(QUERIES[4], 3), provider, log=log)
    assert len(log) == 2
    one = bits / sum(len(request.parts) for request in first)
    assert provider.spent(name)[0] == pytest.approx(one)
    # Texts have a budget of their own, which is not spent.
    hit = Hit(0, 1.0, 0, int(np.flatnonzero(own.about.layout.sets == 0)[0] // 4))
    converse(own.read(hit), provider)
    assert provider.spent(name)[1] > 0


def test_a_client_may_have_a_budget_of_its_own(open_search):
    _, provider, own = open_search("scores", text_budget=1e9)
    bundle = own._client.public_bundle()
    (hit,) = converse(own.search(QUERIES[4], 1), provider)
    provider.register(bundle, budget=1.0, text_budget=1.0)
    with pytest.raises(BudgetError, match="above the 1 that"):
        converse(own.search(QUERIES[4], 1), provider)
    with pytest.raises(BudgetError, match="above the 1 that"):
        converse(own.read(hit), provider)
    with pytest.raises(ValueError, match="must be positive"):
        provider.register(bundle, budget=-1.0)
    provider.register(bundle)
    converse(own.read(hit), provider)


def test_a_ledger_outlives_the_provider(indexes, client, tmp_path):
    own = client("guarded")
    spent = []
    for _ in range(2):
        provider = SearchProvider(
            indexes["scores"],
            decoys=DECOYS,
            policy="logits",
            ledger=Ledger(tmp_path / "ledger"),
        )
        provider.register(own.public_bundle())
        converse(SearchClient(own, provider.about).search(QUERIES[0]), provider)
        spent.append(provider.spent(f"key {own.key.hex()}")[0])
    assert spent[1] == pytest.approx(2 * spent[0])


def test_keys_are_admitted_by_ticket_and_share_an_identity(indexes, client, tmp_path):
    admission = Admission(tmp_path / "key")
    provider = SearchProvider(
        indexes["scores"], decoys=DECOYS, policy="logits", admission=admission
    )
    own = client("guarded")
    with pytest.raises(KeyRoleError, match="admitted here with a ticket"):
        provider.register(own.public_bundle())
    search = SearchClient(own, provider.about)
    with pytest.raises(KeyRoleError, match="not registered here"):
        converse(search.search(QUERIES[0]), provider)
    provider.register(own.public_bundle(), admission.issue("anna", own.key, seconds=60))
    converse(search.search(QUERIES[0]), provider)
    assert provider.spent("anna")[0] > 0
    with pytest.raises(KeyRoleError, match="make a key for each identity"):
        provider.register(
            own.public_bundle(), admission.issue("ben", own.key, seconds=60)
        )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "expected different parts"),
        (["cluster/1", "cluster/1"], "expected different parts"),
        (["scores"], "has no part 'scores'"),
        (["cluster/21"], "has no part 'cluster/21'"),
        (["cluster/01"], "is no part of an index"),
        (["cluster/-1"], "is no part of an index"),
        (["../1"], "is no part of an index"),
        ([7], "is no part of an index"),
        (["cluster/1", "texts/1"], "one kind of parts"),
        (["cluster/1", "centroids/0"], "one kind of parts"),
    ],
)
def test_parts_that_are_none_are_refused_and_not_charged(open_search, parts, message):
    _, provider, own = open_search("clusters")
    query = start_search(own, provider, ["cluster/1"])
    with pytest.raises(ProtocolError, match=message):
        provider.answer(query, parts)
    assert provider.spent(f"key {own._client.key.hex()}") == (0, 0)


def test_messages_of_other_layers_and_of_others_are_refused(open_search):
    _, provider, own = open_search("clusters")
    query = start_search(own, provider, ["cluster/1"])
    with pytest.raises(ProtocolError, match="encrypted for another layer"):
        provider.answer(query, ["texts/1"])
    with pytest.raises(ProtocolError, match="bytes follow"):
        provider.answer(query[:-1], ["cluster/1"])
    changed = bytearray(query)
    changed[500] ^= 1
    with pytest.raises(KeyRoleError, match="not signed by the owner"):
        provider.answer(bytes(changed), ["cluster/1"])
    stranger = Client("guarded")
    foreign = stranger.encrypt(own.about.vectors, np.eye(WIDTH)[0])
    with pytest.raises(KeyRoleError, match="not registered here"):
        provider.answer(foreign, ["cluster/1"])


def test_answers_that_are_cut_swapped_or_of_another_search_are_refused(open_search):
    _, provider, own = open_search("clusters")

    def answered(change):
        steps = own.search(QUERIES[5], 3)
        request = next(steps)
        request = steps.send(provider.answer(request.message, request.parts))
        answers = provider.answer(request.message, request.parts)
        assert {len(one) for one in answers} == {request.answer_bytes}
        with pytest.raises(ProtocolError) as error:
            steps.send(change(answers))
        return str(error.value)

    assert "expected" in answered(lambda answers: answers[:-1])
    assert "bytes" in answered(lambda answers: [*answers[:-1], answers[-1][:-1]])
    # Every answer is looked at, of decoys too.
    for i in (0, 1):
        doubled = answered(lambda answers, i=i: [*answers[:-1], answers[i]])
        assert "read before" in doubled


def test_a_changed_text_is_refused(open_search):
    _, provider, own = open_search("scores")
    (hit,) = converse(own.search(QUERIES[0], 1), provider)
    steps = own.read(hit)
    request = next(steps)
    answers = provider.answer(request.message, request.parts)
    own_part = request.parts.index(f"texts/{hit.block}")
    answers[own_part], answers[own_part - 1] = answers[own_part - 1], answers[own_part]
    with pytest.raises(ProtocolError, match=r"not the text of row|out of bounds"):
        steps.send(answers)


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (np.zeros(WIDTH), 1, "not zero"),
        (np.ones(WIDTH - 1), 1, f"expected width {WIDTH}"),
        (np.ones((2, WIDTH)), 1, "got 2 of norm"),
        (np.full(WIDTH, np.nan), 1, "finite"),
        (np.ones(WIDTH), 0, "k must be from 1"),
        (np.ones(WIDTH), 201, "k must be from 1 to 200"),
    ],
)
def test_queries_that_are_none_are_refused_before_anything_is_asked(
    open_search, x, k, message
):
    own = open_search("scores")[2]
    with pytest.raises(ValueError, match=message):
        own.search(x, k)


def test_hits_of_other_indexes_are_refused(open_search):
    own, clustered = open_search("scores")[2], open_search("clusters")[2]
    for search, hit in [
        (own, Hit(BLOCK, 1.0, 0, -1)),
        (own, Hit(0, 1.0, 99, -1)),
        (own, Hit(0, 1.0, 0, 3)),
        (clustered, Hit(0, 1.0, 0, -1)),
    ]:
        with pytest.raises(ValueError, match="is not a hit of this index"):
            search.read(hit)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "open", "policy": "logits"}, "'guarded' or 'wide'"),
        ({"policy": "label"}, "'logits' or 'rounded:BITS'"),
        ({"decoys": -1}, "decoys must be from 0"),
        ({"budget": 0}, "a budget must be positive"),
        ({"text_budget": -1}, "a budget must be positive"),
    ],
)
def test_settings_that_cannot_be_are_refused(indexes, settings, message):
    with pytest.raises(ValueError, match=message):
        SearchProvider(indexes["scores"], **settings)


@pytest.mark.slow
def test_what_is_dropped_is_freed_at_once(open_search):
    _, scarce, own = open_search("clusters", weights_bytes=0)
    gc.collect()
    gc.disable()  # memory of rings of objects would wait for it
    try:
        hits = converse(own.search(QUERIES[3], 3), scarce)
        dropped = [weakref.ref(one) for one in scarce._blocks._made.values()]
        converse(own.read(hits[0]), scarce)
        assert dropped
        assert not any(one() for one in dropped)
    finally:
        gc.enable()
