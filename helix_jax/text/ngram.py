"""A trigram model with interpolated modified Kneser-Ney smoothing.

The baseline that a trained language model must beat on the same tokens:

    p(w | u v) = (c(u v w) - D3[c]) / c(u v) + g(u v) p(w | v)
    p(w | v)   = (n(v w) - D2[n]) / n(v)     + g(v) p(w)
    p(w)       = (n(w) - D1[n]) / n          + g / V

where c counts trigrams, n(v w) the distinct tokens before v w and n(w) those before w,
D is 0 for unseen and one of three discounts for seen 1, 2 and 3 or more times, and
g is the probability mass that discounting frees. Vectorised: n-grams are integers,
counted by sorting.

Reference: Chen and Goodman 1999, "An empirical study of smoothing techniques for
language modeling", section 3 (equations 26-27 for the discounts); Kneser and Ney 1995.
"""

from typing import NamedTuple

import numpy as np

# Used if counts of counts are too few for an estimate, as in KenLM's fallback.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


class TrigramModel(NamedTuple):
    """A fitted model; in contexts, index V means "before the beginning".

    Attributes:
      vocab_size: V.
      trigrams: [M3] int64, sorted (u (V+1) + v) (V+1) + w of the seen trigrams.
      trigram_mass: [M3] float64, their discounted relative frequencies.
      contexts: [C] int64, sorted u (V+1) + v of the seen contexts.
      context_backoff: [C] float64, g(u v).
      bigrams: [M2] int64, sorted v (V+1) + w of the seen bigrams.
      bigram_mass: [M2] float64, their discounted continuation frequencies.
      backoff: [V+1] float64, g(v); 1 for a context that was never seen.
      unigram: [V] float64, p(w).
    """

    vocab_size: int
    trigrams: np.ndarray
    trigram_mass: np.ndarray
    contexts: np.ndarray
    context_backoff: np.ndarray
    bigrams: np.ndarray
    bigram_mass: np.ndarray
    backoff: np.ndarray
    unigram: np.ndarray


def fit_trigram(
    tokens: np.ndarray, *, vocab_size: int, starts: np.ndarray | None = None
) -> TrigramModel:
    """Fit the model.

    Args:
      tokens: [N] integers in [0, V), all sequences one after the other.
      vocab_size: V.
      starts: [S] positions where sequences start, beginning with 0; contexts do not
        reach across them. Default: one sequence.

    Returns:
      The model. Ten million tokens take a few seconds and about 1 GB.

    Raises:
      ValueError: there are no tokens, a token is out of range, or starts are not
        increasing from 0.
    """
    tokens, starts = _check(tokens, starts, vocab_size)
    if not tokens.size:
        raise ValueError("fit_trigram: expected at least one token, got none.")
    base = vocab_size + 1
    trigrams, count = np.unique(
        _trigrams(tokens, starts, vocab_size), return_counts=True
    )
    contexts, mass3, backoff3 = _discount(trigrams // base, count)
    bigrams, count = np.unique(trigrams % base**2, return_counts=True)
    seen, mass2, backoff2 = _discount(bigrams // base, count)
    backoff = np.ones(base)
    backoff[seen] = backoff2
    words, count = np.unique(bigrams % base, return_counts=True)
    _, mass1, backoff1 = _discount(np.zeros_like(words), count)
    unigram = np.full(vocab_size, backoff1[0] / vocab_size)
    unigram[words] += mass1
    return TrigramModel(
        vocab_size=vocab_size,
        trigrams=trigrams,
        trigram_mass=mass3,
        contexts=contexts,
        context_backoff=backoff3,
        bigrams=bigrams,
        bigram_mass=mass2,
        backoff=backoff,
        unigram=unigram,
    )


def token_log_probabilities(
    model: TrigramModel, tokens: np.ndarray, *, starts: np.ndarray | None = None
) -> np.ndarray:
    """Natural logarithm of the probability of each token given the two before it.

    Args:
      model: fitted model.
      tokens: [N] integers in [0, V).
      starts: [S] positions where sequences start, as for `fit_trigram`.

    Returns:
      [N] float64.
    """
    tokens, starts = _check(tokens, starts, model.vocab_size)
    base = model.vocab_size + 1
    trigrams = _trigrams(tokens, starts, model.vocab_size)
    probability = model.unigram[tokens]
    bigrams = trigrams % base**2
    probability = (
        _look_up(model.bigrams, model.bigram_mass, bigrams, 0.0)
        + model.backoff[bigrams // base] * probability
    )
    backoff = _look_up(model.contexts, model.context_backoff, trigrams // base, 1.0)
    mass = _look_up(model.trigrams, model.trigram_mass, trigrams, 0.0)
    return np.log(mass + backoff * probability)


def cross_entropy(
    model: TrigramModel, tokens: np.ndarray, *, starts: np.ndarray | None = None
) -> float:
    """Mean negative log probability, nats per token; see `token_log_probabilities`."""
    log_probabilities = token_log_probabilities(model, tokens, starts=starts)
    if not log_probabilities.size:
        raise ValueError("cross_entropy: expected at least one token, got none.")
    return float(-log_probabilities.mean())


def _check(
    tokens: np.ndarray, starts: np.ndarray | None, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
        raise ValueError(
            f"trigram: expected a vector of integers, got shape {tokens.shape} and "
            f"dtype {tokens.dtype}."
        )
    # Three tokens are packed into 63 bits.
    if not 1 <= vocab_size < 2**21:
        raise ValueError(
            f"trigram: expected a vocabulary of 1 to {2**21 - 1} tokens, got "
            f"{vocab_size}."
        )
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab_size:
        raise ValueError(
            f"trigram: expected tokens in [0, {vocab_size}), got {tokens.min()} to "
            f"{tokens.max()}; is this another tokenizer's text?"
        )
    starts = np.zeros(1, np.int64) if starts is None else np.asarray(starts, np.int64)
    if tokens.size and (
        not starts.size
        or starts[0] != 0
        or starts[-1] >= tokens.size
        or np.any(np.diff(starts) <= 0)
    ):
        raise ValueError(
            f"trigram: expected starts increasing from 0 to below {tokens.size}, got "
            f"{starts.size} from {starts[:1]} to {starts[-1:]}."
        )
    return tokens.astype(np.int64, copy=False), starts if tokens.size else starts[:0]


def _trigrams(tokens: np.ndarray, starts: np.ndarray, outside: int) -> np.ndarray:
    """[N] int64, each token with the two before it in its sequence, as one integer."""
    base = outside + 1
    previous = np.full_like(tokens, outside)
    previous[1:] = tokens[:-1]
    previous[starts] = outside
    before = np.full_like(tokens, outside)
    before[1:] = previous[:-1]
    before[starts] = outside
    return (before * base + previous) * base + tokens


def _discount(
    contexts: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discounted relative frequencies of n-grams and the backoff of their contexts.

    Args:
      contexts: [M] sorted contexts of distinct n-grams.
      count: [M] counts of the n-grams.

    Returns:
      The distinct contexts [C], frequencies [M] and backoffs [C].
    """
    discount = _discounts(count)[np.minimum(count, 3)]
    first = np.flatnonzero(np.r_[True, contexts[1:] != contexts[:-1]])
    total = np.add.reduceat(count, first)
    freed = np.add.reduceat(discount, first)
    size = np.diff(np.r_[first, contexts.size])
    mass = (count - discount) / np.repeat(total, size)
    return contexts[first], mass, freed / total


def _discounts(count: np.ndarray) -> np.ndarray:
    """[4] discounts of counts 0, 1, 2 and 3 or more, from the counts of counts."""
    n1, n2, n3, n4 = (int(np.sum(count == i)) for i in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return np.array([0.0, *FALLBACK_DISCOUNTS])
    y = n1 / (n1 + 2 * n2)
    found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    if np.any(found[1:] <= 0):  # counts of counts that do not decrease
        return np.array([0.0, *FALLBACK_DISCOUNTS])
    return found


def _look_up(
    keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, default: float
) -> np.ndarray:
    position = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where(keys[position] == wanted, values[position], default)
