"""Division reads all weights of raw answers, and nothing of masked ones."""

import numpy as np
import pytest

from helix_jax.attacks import chance, division, raw_answers
from helix_jax.stats import relative_error


def ask(parties, count):
    queries = [
        parties.client.encrypt(parties.layer, x)
        for x in np.random.default_rng(1).standard_normal((count, len(parties.kernel)))
    ]
    seconds = [raw_answers.read_query(q, parties.layer).second for q in queries]
    return queries, seconds


@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.slow
def test_raw_answers_give_every_weight_exactly(parties, tiles):
    own = parties(width=24, classes=300, tiles=tiles)  # several answers
    queries, seconds = ask(own, tiles)
    answers = [raw_answers.raw_answer(own.provider, q).second for q in queries]
    guess = division.divide(seconds, answers, own.layer)
    assert guess.ok
    truth = raw_answers.integer_kernel(own.kernel, own.layer)
    np.testing.assert_array_equal(guess.integers, truth)
    # What the provider's own rounding of weights near 1 leaves.
    rounding = 2.0 ** (own.layer.query_bits - own.layer.result_bits)
    assert relative_error(guess.kernel, own.kernel) < rounding < 1e-5


@pytest.mark.parametrize("profile", ["guarded", "open"])
@pytest.mark.slow
def test_words_of_a_profile_give_nothing(parties, profile, rng):
    own = parties(width=64, classes=8, tiles=1, profile=profile)
    queries, seconds = ask(own, 1)
    words = [
        raw_answers.read_answer(own.provider.answer(again), own.layer).second
        for again in (
            division.resend(queries[0], own.client, own.layer) for _ in range(16)
        )
    ]
    for one in (words[0], division.average_words(words)):
        back = division.scale_back(one, own.layer.profile)
        guess = division.divide(seconds, [back], own.layer)
        found = chance.correlate(guess.integers, own.kernel, rng=rng)
        assert abs(found.value) < 5 / np.sqrt(own.kernel.size)
        assert relative_error(guess.kernel, own.kernel) > 10


def test_a_raw_answer_is_what_the_provider_computes(parties):
    own = parties(width=24, classes=5, profile="open")
    x = np.linspace(-1, 1, 24)
    query = own.client.encrypt(own.layer, x)
    raw = raw_answers.raw_answer(own.provider, query)
    phases = raw_answers.raw_phases(own.client, raw)[:, own.layer.plan.positions]
    results = np.ldexp(phases.astype(float), -own.layer.result_bits)
    np.testing.assert_allclose(
        results.reshape(-1)[:5], x @ own.kernel, atol=own.layer.error
    )
    words = raw_answers.read_answer(own.provider.answer(query), own.layer)
    again = raw_answers.words_to_residues(words.second, own.layer.profile)
    exact = raw_answers.lift(again, own.layer.profile)
    inverse = raw_answers.inverse_transform(raw.second, profile=own.layer.profile)
    whole = raw_answers.lift(np.asarray(inverse), own.layer.profile)
    off = (exact - whole).astype(float) / own.layer.profile.modulus
    assert np.abs((off + 0.5) % 1 - 0.5).max() < 2.0**-40


def test_divide_needs_a_query_for_every_tile(parties):
    own = parties(width=24, classes=5, tiles=2)
    with pytest.raises(ValueError, match="2 tiles needs as many"):
        division.divide([], [], own.layer)
