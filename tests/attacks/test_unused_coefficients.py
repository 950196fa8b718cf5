"""Whole products show the weights to unit queries; what is sent instead is uniform."""

import numpy as np
import pytest

from helix_jax.attacks import chance, raw_answers, unused_coefficients


@pytest.mark.slow
def test_unit_queries_read_every_weight(parties):
    own = parties(width=24, classes=300, tiles=2)
    phases = []
    for tile in range(2):
        x = unused_coefficients.unit_query(own.layer, tile)
        query = own.client.encrypt(own.layer, x)
        raw = raw_answers.raw_answer(own.provider, query)
        phases.append(raw_answers.raw_phases(own.client, raw))
    guess = unused_coefficients.read_weights(phases, own.layer)
    truth = raw_answers.integer_kernel(own.kernel, own.layer)
    np.testing.assert_array_equal(guess.integers, truth)


@pytest.mark.slow
def test_what_a_guarded_answer_leaves_out_is_uniform(parties, rng):
    own = parties(width=64, classes=8, tiles=1)
    query = own.client.encrypt(own.layer, unused_coefficients.unit_query(own.layer, 0))
    answer = own.provider.answer(query)
    phases = unused_coefficients.filled_phases(own.client, own.layer, answer)
    fractions = unused_coefficients.unsent_fractions(phases, own.layer)
    assert fractions.shape == (1, 4096 - 8)
    assert chance.uniformity(fractions) > 1e-6
    guess = unused_coefficients.read_weights([phases], own.layer)
    # Results are sent, and are weights here: the first row of the kernel.
    hidden = (slice(1, None), slice(None))
    found = chance.correlate(guess.kernel[hidden], own.kernel[hidden], rng=rng)
    assert abs(found.value) < 5 / np.sqrt(own.kernel.size)
    np.testing.assert_allclose(
        guess.kernel[0], own.kernel[0] + own.bias / own.layer.input_norm, rtol=1e-3
    )
