"""Shared vocabularies and matching tokens, counted plainly."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from helix_jax.text.compatibility import (
    RATES,
    SPELLINGS,
    match_counts,
    spell,
    vocabulary_jaccard,
)
from helix_jax.text.token_bytes import token_bytes
from helix_jax.text.tokens import encode_texts, private_tokenizer

from .tokenizers import EMBEDDED, gemma_like, get_tokenizer, metaspace, prefixed_bytes

TEXTS = ["a ab  b", " ab", "", "é a漢ab\n", "ab ab ab"]


def encode(tokenizer, texts, max_tokens=1_000_000):
    backend = private_tokenizer(tokenizer, max_tokens=max_tokens)
    return encode_texts(backend, texts, with_ends=True)


def wrapped(core):
    return SimpleNamespace(backend_tokenizer=core)


def rates(x, y, texts):
    counts = match_counts(spell(x), spell(y), encode(x, texts), encode(y, texts))
    assert set(counts) == set(RATES)
    assert all(one.shape == (len(texts), 2) for one in counts.values())
    assert all((one[:, 0] <= one[:, 1]).all() for one in counts.values())
    return counts


def plain_spans(tokenizer, text):
    """{end: first byte} of the tokens that complete a character."""
    table, encoded = token_bytes(tokenizer), encode(tokenizer, [text])
    ends = {len(text[:end].encode()): end for end in range(1, len(text) + 1)}
    spans, at = {}, -1 if table.dummy_space else 0
    for index in encoded.ids[0]:
        start, at = at, at + len(table.pieces[index] or b"")
        if at in ends:
            spans[ends[at]] = max(start, 0)
    return spans


@pytest.mark.parametrize("y", [gemma_like(), metaspace("never")])
@pytest.mark.parametrize("x", [gemma_like(), metaspace("first")])
def test_span_and_boundary_counted_plainly(x, y):
    x, y = wrapped(x), wrapped(y)
    texts = [text for text in TEXTS if not text.startswith(" ")]
    counts = rates(x, y, texts)
    for row, text in enumerate(texts):
        a, b = plain_spans(x, text), plain_spans(y, text)
        shared = a.keys() & b.keys()
        assert counts["boundary"][row, 0] == len(shared)
        same = sum(a[end] == b[end] for end in shared)
        assert counts["span"][row, 0] == same


def test_a_tokenizer_with_itself():
    tokenizer = get_tokenizer(EMBEDDED[0], None)
    for name, one in rates(tokenizer, tokenizer, TEXTS).items():
        # Tokens inside a character end nowhere, and are counted by span and boundary.
        if name in ("span", "boundary"):
            assert one[0, 0] == one[0, 1]
        else:
            assert np.array_equal(one[:, 0], one[:, 1]), name
    for spelling in SPELLINGS:
        own = spell(tokenizer)
        assert vocabulary_jaccard(own, own, spelling=spelling) == 1


def test_alphabets_make_equal_tokens_differ():
    # Byte by byte on both sides: only the alphabets and the dummy space differ.
    x, y = wrapped(prefixed_bytes()), wrapped(metaspace("always"))
    counts = rates(x, y, ["12 34", "5 6"])
    assert counts["position_raw"].tolist() == [[0, 6], [0, 4]]
    assert counts["position_bytes"].tolist() == [[6, 6], [4, 4]]
    spelled = spell(x), spell(y)
    assert vocabulary_jaccard(*spelled, spelling="raw") == 2 / (256 + 262 - 2)  # a, b
    assert (
        vocabulary_jaccard(*spelled, spelling="bytes") == 256 / 259
    )  # and  a, ab,  ab


def test_positions_shift_and_pairs_do_not():
    x, y = wrapped(gemma_like()), wrapped(prefixed_bytes())
    # x: ab | SPACE a | 9      y: SPACE | a | b | SPACE | a | 9
    counts = rates(x, y, ["ab a9"])
    assert counts["position_bare"].tolist() == [[1, 6]]  # the third: 9 is not b
    assert counts["pair_bare"].tolist() != counts["position_bare"].tolist()
    assert counts["pair_bytes"].tolist() == [[1, 5]]  # 9; y's first token is empty
    assert counts["span"].tolist() == [[1, 3 + 6 - 1]]
    assert counts["boundary"].tolist() == [[3, 3 + 6 - 3]]


def test_special_tokens_count_in_raw_special_only():
    tokenizer = get_tokenizer(EMBEDDED[0], None)  # puts one before every text
    counts = rates(tokenizer, tokenizer, ["the cat"])
    extra = counts["position_raw_special"] - counts["position_raw"]
    assert extra.tolist() == [[1, 1]]


@pytest.mark.slow
def test_published_vocabulary_of_two_real_tokenizers(shared):
    qwen = spell(get_tokenizer("tokenizers/qwen2.5", shared))
    mistral = spell(get_tokenizer("tokenizers/mistral/tokenizer.model.v1", shared))
    # The paper: .061, so of raw strings. Spelled in bytes they share three times that.
    raw = vocabulary_jaccard(qwen, mistral, spelling="raw_special")
    assert raw == pytest.approx(0.061, abs=5e-4)
    assert vocabulary_jaccard(qwen, mistral, spelling="bytes") > 3 * raw


@pytest.mark.slow
def test_real_text_matches_in_bytes_not_in_raw_strings(shared):
    names = ("tokenizers/qwen2.5", "tokenizers/mistral/tokenizer.model.v1")
    lines = (shared / "data" / "ag_news" / "test.jsonl").read_text().splitlines()[:100]
    texts = [json.loads(line)["text"] for line in lines]
    counts = rates(*(get_tokenizer(name, shared) for name in names), texts)
    rate = {name: one[:, 0].sum() / one[:, 1].sum() for name, one in counts.items()}
    assert rate["pair_raw"] < 0.3 < 0.65 < rate["pair_bytes"]
    assert rate["position_raw"] < 0.1
    assert rate["position_raw_special"] < 0.02  # <s> shifts every position
    assert rate["span"] < rate["boundary"]


def test_bad_input():
    x = get_tokenizer(EMBEDDED[0], None)
    own = spell(x)
    with pytest.raises(ValueError, match="spelling must be one of raw_special, raw, "):
        vocabulary_jaccard(own, own, spelling="letters")
    cut = encode(x, ["the cat sat on the mat"], 3)
    with pytest.raises(ValueError, match="match_counts: needs whole texts"):
        match_counts(own, own, cut, cut)
