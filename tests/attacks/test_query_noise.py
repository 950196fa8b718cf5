"""Errors of zero queries give the weights, but for the flood."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from helix_jax.attacks import chance, query_noise, raw_answers
from helix_jax.private.packing import Plan, pack_kernel


def noise_of(own, count):
    """Errors, phases of raw answers and sent results, of `count` queries of zero."""
    x = np.zeros(len(own.kernel))
    errors, phases, sent = [], [], []
    for _ in range(count):
        query = own.client.encrypt(own.layer, x)
        errors.append(raw_answers.query_errors(own.client, own.layer, query, x))
        raw = raw_answers.raw_answer(own.provider, query)
        phases.append(raw_answers.raw_phases(own.client, raw))
        sent.append(own.client.decrypt(own.provider.answer(query)))
    return np.stack(errors), np.stack(phases), np.stack(sent)


@pytest.mark.slow
def test_errors_are_small_and_known(parties):
    own = parties(width=16, classes=3)
    errors, *_ = noise_of(own, 2)
    assert errors.shape == (2, own.layer.plan.tiles, 4096)
    assert np.abs(errors).max() <= 21
    assert 9 < errors.var() < 12


@pytest.mark.parametrize(("classes", "tiles"), [(3, 1), (5, 2)])
@pytest.mark.slow
def test_noise_of_raw_answers_gives_every_weight_exactly(parties, classes, tiles):
    own = parties(width=16, classes=classes, tiles=tiles)
    errors, phases, _ = noise_of(own, 24)
    noise = query_noise.zero_results(phases, own.layer.plan)
    weights = query_noise.solve_weights(errors, noise, own.layer)
    truth = raw_answers.integer_kernel(own.kernel, own.layer)
    np.testing.assert_array_equal(np.rint(weights), truth)


@pytest.mark.parametrize(("profile", "leaks"), [("guarded", False), ("open", True)])
@pytest.mark.slow
def test_the_flood_hides_it_and_rounding_does_not(parties, profile, leaks, rng):
    own = parties(width=24, classes=4, profile=profile, zero_bias=True, tiles=1)
    errors, _, sent = noise_of(own, 60)
    noise = np.ldexp(sent, own.layer.result_bits)
    weights = query_noise.solve_weights(errors, noise, own.layer)
    found = chance.correlate(weights, own.kernel, rng=rng)
    assert found.value > 0.99 if leaks else abs(found.value) < 5 / np.sqrt(24 * 4)


@pytest.mark.parametrize("tiles", [1, 2])
def test_several_answers_against_products_by_hand(tiles, rng):
    degree, tile, classes = 16, 4, 6  # 4 results in the first answer, 2 in the last
    plan = Plan(tile * tiles, classes, degree, tiles, tile, 4, 2)
    kernel = rng.integers(-1000, 1000, (plan.width, classes))
    errors = rng.integers(-21, 22, (30, tiles, degree))
    packed = pack_kernel(kernel, plan)
    phases = np.zeros((30, plan.answers, degree))
    for q, a, t in itertools.product(range(30), range(plan.answers), range(tiles)):
        whole = np.convolve(errors[q, t], packed[a, t])
        phases[q, a] += whole[:degree] - np.append(whole[degree:], 0)  # X^N = -1
    noise = query_noise.zero_results(phases, plan)
    weights = query_noise.solve_weights(errors, noise, SimpleNamespace(plan=plan))
    np.testing.assert_array_equal(np.rint(weights), kernel)


def test_too_few_queries_are_refused(parties):
    own = parties(width=16, classes=3)
    with pytest.raises(ValueError, match="need more than 16 queries"):
        query_noise.solve_weights(np.ones((4, 1, 4096)), np.ones((4, 3)), own.layer)
