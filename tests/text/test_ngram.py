"""The vectorised model against a plain one of dictionaries, on real text."""

import json
import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from helix_jax.text.docstrings import read_docstrings
from helix_jax.text.ngram import (
    FALLBACK_DISCOUNTS,
    cross_entropy,
    fit_trigram,
    token_log_probabilities,
)


class PlainTrigram:
    """Interpolated modified Kneser-Ney, written for reading (Chen and Goodman)."""

    def __init__(self, sequences, vocab_size):
        self.v = vocab_size
        tri = Counter()
        for sequence in sequences:
            padded = [-1, -1, *sequence]
            for i in range(2, len(padded)):
                tri[tuple(padded[i - 2 : i + 1])] += 1
        bi = Counter((v, w) for _, v, w in tri)
        uni = Counter((w,) for _, w in bi)
        self.orders = [self._order(counts) for counts in (uni, bi, tri)]

    def _order(self, counts):
        n = Counter(counts.values())
        discount = dict(zip((1, 2, 3), FALLBACK_DISCOUNTS))
        if n[1] and n[2] and n[3]:
            y = n[1] / (n[1] + 2 * n[2])
            found = {i: i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)}
            if min(found.values()) > 0:
                discount = found
        total, freed = defaultdict(int), defaultdict(float)
        for gram, count in counts.items():
            total[gram[:-1]] += count
            freed[gram[:-1]] += discount[min(count, 3)]
        return counts, discount, total, freed

    def probability(self, context, word):
        if context is None:
            return 1 / self.v
        counts, discount, total, freed = self.orders[len(context)]
        lower = self.probability(context[1:] if context else None, word)
        if context not in total:
            return lower
        count = counts.get((*context, word), 0)
        seen = count - discount[min(count, 3)] if count else 0.0
        return (seen + freed[context] * lower) / total[context]

    def log_probabilities(self, sequences):
        out = []
        for sequence in sequences:
            padded = [-1, -1, *sequence]
            out += [
                np.log(self.probability(tuple(padded[i - 2 : i]), padded[i]))
                for i in range(2, len(padded))
            ]
        return np.array(out)


def join_sequences(sequences):
    """All tokens [N], and where each sequence that has any starts [S]."""
    lengths = np.array([len(sequence) for sequence in sequences if len(sequence)])
    tokens = np.array([t for sequence in sequences for t in sequence], np.int64)
    return tokens, np.cumsum(lengths) - lengths


def _words(texts, vocab_size):
    """Word tokens: the most frequent words, the rest by hash of their letters."""
    common = Counter(word for text in texts for word in text.split())
    index = {w: i for i, (w, _) in enumerate(common.most_common(vocab_size // 2))}
    rest = vocab_size - len(index)
    return [
        [index.get(w, len(index) + sum(map(ord, w)) % rest) for w in text.split()]
        for text in texts
    ]


@pytest.fixture(scope="module")
def sequences():
    texts = [text.text for text in read_docstrings()[:1500]]
    return _words(texts, 2000)


def test_equals_the_plain_model_on_real_text(sequences):
    fit, held = sequences[:1200], sequences[1200:]
    plain = PlainTrigram(fit, 2000)
    tokens, starts = join_sequences(fit)
    model = fit_trigram(tokens, vocab_size=2000, starts=starts)
    held_tokens, held_starts = join_sequences(held)
    found = token_log_probabilities(model, held_tokens, starts=held_starts)
    expected = plain.log_probabilities(held)
    assert len(found) > 10_000
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)
    mean = cross_entropy(model, held_tokens, starts=held_starts)
    assert mean == pytest.approx(-expected.mean(), abs=1e-9)


@pytest.mark.parametrize("vocab_size", [7, 30])
def test_equals_the_plain_model_on_letters_with_fallback_discounts(vocab_size):
    """So few tokens that counts of counts are missing in the lower orders."""
    sequences = [[ord(c) % vocab_size for c in "the cat sat on the mat " * 3], [1], [2]]
    plain = PlainTrigram(sequences, vocab_size)
    tokens, starts = join_sequences([*sequences, []])
    model = fit_trigram(tokens, vocab_size=vocab_size, starts=starts)
    np.testing.assert_allclose(
        token_log_probabilities(model, tokens, starts=starts),
        plain.log_probabilities(sequences),
        atol=1e-12,
    )


def test_probabilities_sum_to_one_in_every_kind_of_context(sequences):
    tokens, starts = join_sequences(sequences[:300])
    model = fit_trigram(tokens, vocab_size=2000, starts=starts)
    seen = tuple(tokens[10:12])
    half_seen = (1999, int(tokens[11]))
    unseen = int(np.flatnonzero(model.backoff[:-1] == 1)[0])
    for context in (seen, half_seen, (unseen, unseen)):
        text = np.array([[*context, word] for word in range(2000)]).ravel()
        parts = token_log_probabilities(model, text, starts=np.arange(0, len(text), 3))
        assert np.exp(parts[2::3]).sum() == pytest.approx(1, abs=1e-9)
        assert np.exp(parts[0::3])[0] > 0
    first = np.arange(2000)
    at_start = token_log_probabilities(model, first, starts=np.arange(2000))
    assert np.exp(at_start).sum() == pytest.approx(1, abs=1e-9)


def test_order_of_words_matters_and_contexts_end_with_their_sequence(sequences):
    tokens, starts = join_sequences(sequences[:1200])
    model = fit_trigram(tokens, vocab_size=2000, starts=starts)
    held, held_starts = join_sequences(sequences[1200:])
    shuffled = np.random.default_rng(0).permutation(held)
    entropy = cross_entropy(model, held, starts=held_starts)
    assert entropy < cross_entropy(model, shuffled, starts=held_starts) - 0.5
    assert entropy < np.log(2000) - 2
    alone = token_log_probabilities(model, held[:1])
    cut = token_log_probabilities(model, held[:9], starts=np.array([0, 5]))
    assert cut[0] == alone[0]
    fresh = token_log_probabilities(model, held[5:9])
    np.testing.assert_array_equal(cut[5:], fresh)


def test_ten_million_tokens_are_fast(shared):
    """Real letters in threes as tokens; the bound is ten times the usual time."""
    with open(shared / "corpora" / "imdb_unlabelled.jsonl", encoding="utf-8") as lines:
        text = " ".join(json.loads(line)["text"] for line in lines)
    letters = np.frombuffer(text.encode()[:10_300_000], np.uint8).astype(np.int64) % 32
    tokens = letters[:-2] * 1024 + letters[1:-1] * 32 + letters[2:]
    begin = time.process_time()
    model = fit_trigram(tokens[:10_000_000], vocab_size=2**15)
    entropy = cross_entropy(model, tokens[10_000_000:])
    assert time.process_time() - begin < 20
    assert 1.0 < entropy < np.log(32)


@pytest.mark.parametrize(
    ("tokens", "starts", "message"),
    [
        ([], None, "at least one token"),
        ([0, 9], None, r"tokens in \[0, 9\), got 0 to 9; is this another tokenizer"),
        ([0, -1], None, r"tokens in \[0, 9\), got -1"),
        ([0.5, 1.0], None, "vector of integers, got shape .* float64"),
        ([1, 2, 3], [1], "starts increasing from 0 to below 3"),
        ([1, 2, 3], [0, 3], "starts increasing from 0 to below 3"),
        ([1, 2, 3], [0, 2, 2], "starts increasing from 0"),
    ],
)
def test_bad_input_is_named(tokens, starts, message):
    with pytest.raises(ValueError, match=message):
        fit_trigram(np.array(tokens), vocab_size=9, starts=starts)


def test_a_vocabulary_too_large_to_pack_is_refused():
    with pytest.raises(ValueError, match="vocabulary of 1 to 2097151 tokens, got"):
        fit_trigram(np.array([1]), vocab_size=2**21)
