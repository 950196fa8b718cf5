"""Several queries in one message: the same results, masks, budget and refusals."""

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private import packing, sum_answers, wire

WIDTH, CLASSES = 12, 5


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17, 1024])
def test_groups_cover_all_queries(count):
    groups = packing.groups(count)
    found = [i for group in groups for i in range(count)[group]]
    assert found == list(range(count))
    assert {group.stop - group.start for group in groups} <= {1, packing.GROUP}


@pytest.mark.parametrize("name", ["guarded", "compact"])
@pytest.mark.slow
def test_batches(parties, ask, name):
    client, provider, layer, kernel, bias = parties(profile=name)
    x = np.random.default_rng(0).standard_normal((10, WIDTH))
    found = ask(client, provider, layer, x)
    assert found.shape == (10, CLASSES)
    assert np.abs(found - (x @ kernel + bias)).max() <= layer.error
    for part in (x[::-3], np.asfortranarray(x)[:1], x[:2].astype(np.float32)):
        expected = part.astype(float) @ kernel + bias
        found = ask(client, provider, layer, part)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= layer.error


@pytest.mark.slow
def test_batches_of_many_answers(parties, ask):
    """Chunks of answers and groups of queries at once, each with its own bias."""
    client, provider, layer, kernel, bias = parties(2048, 70, "compact", tiles=1)
    x = np.random.default_rng(0).standard_normal((9, 2048)) / 10
    found = ask(client, provider, layer, x)
    assert np.abs(found - (x @ kernel + bias)).max() <= layer.error


def test_each_query_of_a_batch_has_its_mask(parties):
    """Equal queries in one message: no two answers share a word's mask."""
    client, provider, layer, _, _ = parties(profile="guarded")
    pool = provider.masks(client.key)
    pool.prepare(9)
    answer = provider.answer(client.encrypt(layer, np.ones((9, WIDTH))))
    assert len(pool) == 0
    raw = memoryview(answer)[wire.HEADER_BYTES :]
    words = wire.unpack_integers(raw, (9, len(raw) // 45), 5)
    for one in range(9):
        for other in range(one):
            apart = (words[one] - words[other]) % 2**40
            assert abs(np.mean(apart >> 39) - 0.5) < 0.1
            assert (apart == 0).mean() < 0.01
    found = client.decrypt(answer)
    # The results differ by their floods alone.
    assert 0 < np.ptp(found, axis=0).max() <= 2 * layer.error


def test_masks_beyond_the_prepared_ones_are_made_with_their_part(parties):
    """None of the message's masks waits in memory: the pool is left as it was found."""
    client, provider, layer, kernel, bias = parties(profile="guarded")
    pool = provider.masks(client.key)
    while pool.take_prepared() is not None:
        pass
    before = pool.take().number
    pool.prepare(3)
    x = np.random.default_rng(0).standard_normal((9, WIDTH))
    pieces = provider.answer_pieces(client.encrypt(layer, x))
    assert len(pool) == 3  # nothing is taken before it is needed
    found = client.decrypt(pieces)
    assert np.abs(found - (x @ kernel + bias)).max() <= layer.error
    assert len(pool) == 0
    pool.prepare(1)
    assert pool.take().number == before + 4  # no other was made by this pool


def test_batches_that_are_refused(parties):
    client, provider, layer, _, _ = parties(profile="open")
    for rows in (0, packing.MAX_QUERIES + 1):
        with pytest.raises(ValueError, match=f"1 to 1024 queries, got {rows}"):
            client.encrypt(layer, np.zeros((rows, WIDTH)))
    x = np.zeros((3, WIDTH))
    x[1] = 8.0
    with pytest.raises(ValueError, match=r"\|x\| is 27.7"):
        client.encrypt(layer, x)
    x[1] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        client.encrypt(layer, x)
    query = client.encrypt(layer, np.zeros((3, WIDTH)))
    for count in (0, 2, 4, 1025, 2**32 - 1):
        changed = query[:68] + count.to_bytes(4, "little") + query[72:]
        with pytest.raises(ProtocolError, match=r"expected sizes|1 to 1024 queries"):
            provider.answer(changed)
    answer = provider.answer(query)
    for count in (0, 1, 4):
        changed = answer[:68] + count.to_bytes(4, "little") + answer[72:]
        with pytest.raises(ProtocolError, match="expected sizes"):
            client.decrypt(changed)
    empty = answer[:68] + bytes(12)  # no queries, and a length of nothing
    for read in (client.decrypt, lambda data: sum_answers([data], layer)):
        with pytest.raises(ProtocolError, match="expected sizes"):
            read(empty)
    assert client.decrypt(answer).shape == (3, CLASSES)
