"""Pairs of tokens against a brute-force twin and the texts' own bytes."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.text.pairing import pair_tokens
from helix_jax.text.token_bytes import token_bytes
from helix_jax.text.tokens import encode_texts, private_tokenizer

from .tokenizers import EMBEDDED, REAL, get_tokenizer

ENDS = st.lists(st.integers(-1, 12), max_size=10)  # falling ends and specials too
PAIRS = st.lists(st.tuples(ENDS, st.one_of(ENDS, ENDS.map(sorted))), max_size=6)


def completing(ends):
    """[(position, furthest end)] of tokens that complete a character, one by one."""
    furthest, kept = 0, []
    for position, end in enumerate(ends):
        if end <= 0:
            continue
        furthest = max(furthest, end)
        if kept and kept[-1][1] == furthest:
            kept.pop()
        kept.append((position, furthest))
    return kept


def brute_force(x_ends, y_ends, loop, exact):
    """The definition as two loops."""
    found = []
    for text, (x, y) in enumerate(zip(x_ends, y_ends)):
        looped, other = (y, x) if loop == "target" else (x, y)
        for position, end in completing(looped):
            for partner, reached in completing(other):
                if reached >= end:
                    if reached == end or not exact:
                        pair = (partner, position)
                        found.append(
                            (text, *(pair if loop == "target" else pair[::-1]))
                        )
                    break
    return found


def arrays(lists):
    return [np.array(one, np.int32) for one in lists]


def as_list(pairing):
    return list(zip(pairing.text.tolist(), pairing.x.tolist(), pairing.y.tolist()))


@pytest.mark.parametrize("loop", ["target", "source"])
@pytest.mark.parametrize("exact", [False, True])
def test_equals_brute_force(loop, exact):
    @settings(max_examples=300, deadline=None)
    @given(PAIRS)
    def equal(texts):
        x, y = [one for one, _ in texts], [one for _, one in texts]
        got = pair_tokens(arrays(x), arrays(y), loop=loop, exact=exact)
        want = brute_force(x, y, loop, exact)
        assert as_list(got) == want
        if exact:
            other = {"target": "source", "source": "target"}[loop]
            assert as_list(got) == brute_force(x, y, other, True)
        coverage = got.coverage
        assert coverage.texts == len(texts)
        assert coverage.pairs == len(want)
        assert coverage.x_tokens == sum(len(completing(one)) for one in x)
        assert coverage.x_paired == len({(t, i) for t, i, _ in want})
        assert coverage.y_paired == len({(t, i) for t, _, i in want})
        assert coverage.exact == len(brute_force(x, y, loop, True))

    equal()


def test_the_paper_rule():
    # "The cat sat": y The| cat| sat, x The cat| sa|t
    x, y = arrays([[7, 10, 11]]), arrays([[3, 7, 11]])
    assert as_list(pair_tokens(x, y)) == [(0, 0, 0), (0, 0, 1), (0, 2, 2)]
    swapped = [(0, 0, 1), (0, 1, 2), (0, 2, 2)]
    assert as_list(pair_tokens(x, y, loop="source")) == swapped
    for loop in ("source", "target"):
        got = pair_tokens(x, y, loop=loop, exact=True)
        assert as_list(got) == [(0, 0, 1), (0, 2, 2)]


def test_specials_bytes_and_truncation():
    x = arrays([[-1, 1, 4, -1], [2, 2, 2]])  # a template; one character of three bytes
    y = arrays([[1, 4, 6, 9], [1, 2]])  # x was cut at character 4
    got = pair_tokens(x, y)
    assert as_list(got) == [(0, 1, 0), (0, 2, 1), (1, 2, 0), (1, 2, 1)]
    assert got.coverage == (2, 3, 6, 3, 4, 4, 3)


@pytest.mark.parametrize("batch", [[], [[]], [[-1]]])
def test_nothing_to_pair(batch):
    got = pair_tokens(arrays(batch), arrays(batch))
    assert as_list(got) == []
    assert got.coverage == (len(batch), 0, 0, 0, 0, 0, 0)


def real_texts(shared):
    lines = (shared / "data" / "ag_news" / "test.jsonl").read_text().splitlines()[:150]
    odd = ["", " ", "\n\n漢字 😀👩‍👧 e\u0301 naïve\t\t x  ", "   12,345", "日本語"]
    return [json.loads(line)["text"] for line in lines] + odd


def encode(name, shared, texts, max_tokens=10_000):
    backend = private_tokenizer(get_tokenizer(name, shared), max_tokens=max_tokens)
    return encode_texts(backend, texts, with_ends=True)


@pytest.mark.parametrize("name", [*EMBEDDED, *REAL])
def test_completing_tokens_are_those_whose_bytes_end_a_character(name, shared):
    tokenizer, texts = get_tokenizer(name, shared), real_texts(shared)
    table, encoded = token_bytes(tokenizer), encode(name, shared, texts)
    if "characters outside the vocabulary" in table.loses:
        pytest.skip("its unknown token has no bytes")
    for text, ids, ends in zip(texts, encoded.ids, encoded.ends):
        if "e\u0301" in text and table.loses:
            continue  # NFC makes one character of two
        read = -1 if table.dummy_space else 0
        of_bytes = {0: 0} | {
            size: place + 1
            for place, size in enumerate(
                itertools.accumulate(len(one.encode()) for one in text)
            )
        }
        by_bytes = []
        for position, index in enumerate(ids):
            read += len(table.pieces[index] or b"")
            if table.pieces[index] is not None and of_bytes.get(read, 0) > 0:
                by_bytes.append((position, of_bytes[read]))
        assert completing(ends.tolist()) == by_bytes


@pytest.mark.slow
def test_real_tokenizers(shared):
    texts = real_texts(shared)
    few = texts[-20:]
    names = [*EMBEDDED, *REAL]
    sides = [encode(name, shared, texts) for name in names]
    for a, b in itertools.permutations(sides, 2):
        got = pair_tokens(
            a.ends, b.ends
        ).coverage  # of whole texts nothing is left over
        assert got.pairs == got.y_paired == got.y_tokens
        assert pair_tokens(b.ends, a.ends, loop="source").coverage.pairs == got.pairs
    for a, b in itertools.pairwise(sides):
        ends = a.ends[-len(few) :], b.ends[-len(few) :]
        for loop in ("target", "source"):
            got = pair_tokens(*ends, loop=loop)
            assert as_list(got) == brute_force(*ends, loop, False)
    for side in sides:  # a tokenizer with itself
        got = pair_tokens(side.ends, side.ends)
        assert np.array_equal(got.x, got.y)
        assert got.coverage.exact == got.coverage.pairs


def test_a_side_that_is_cut(shared):
    texts = real_texts(shared)
    whole = encode("tokenizers/gpt2", shared, texts)
    cut = encode("models/stories260K", shared, texts, max_tokens=20)
    got = pair_tokens(cut.ends, whole.ends)
    assert 0 < got.coverage.pairs < got.coverage.y_tokens
    for text, x, y in as_list(got):
        assert whole.ends[text][y] <= cut.ends[text][x] <= cut.ends[text].max()
    inside = sum(
        int((whole.ends[t] <= e.max()).sum()) for t, e in enumerate(cut.ends) if len(e)
    )
    assert got.coverage.pairs <= inside


def test_bad_input():
    x = arrays([[1, 2]])
    with pytest.raises(ValueError, match=r"loop must be .target. or .source., got 'x'"):
        pair_tokens(x, x, loop="x")
    with pytest.raises(ValueError, match="the same texts, got 1 and 2"):
        pair_tokens(x, x * 2)
    with pytest.raises(ValueError, match="y_ends must be vectors of signed integers"):
        pair_tokens(x, [np.zeros(2)])
