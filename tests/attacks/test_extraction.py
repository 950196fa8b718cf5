"""Classifiers from exact, noisy and order-only answers."""

import numpy as np
import pytest

from helix_jax.alignment import AffineMap
from helix_jax.attacks import extraction
from helix_jax.stats import relative_error


def planted(rng, width, classes):
    return AffineMap(
        rng.standard_normal((width, classes)), rng.standard_normal(classes)
    )


def answers(affine, x):
    return x @ affine.kernel + affine.bias


def ordered(results, rng):
    """The policy in the clear."""
    scale = 2.0 ** rng.uniform(4, 12, (len(results), 1))
    return scale * results + 1e6 * rng.uniform(-1, 1, (len(results), 1))


def test_exact_logits_give_the_map_from_one_more_query_than_dimensions(rng):
    true = planted(rng, 12, 3)
    x = rng.standard_normal((13, 12))
    stolen = extraction.solve_logits(x, answers(true, x))
    np.testing.assert_allclose(stolen.kernel, true.kernel, atol=1e-9)
    np.testing.assert_allclose(stolen.bias, true.bias, atol=1e-9)
    few = extraction.solve_logits(x[:6], answers(true, x[:6]))
    assert relative_error(few.kernel, true.kernel) > 0.3


def test_order_of_many_classes_gives_all_differences(rng):
    true = planted(rng, 12, 5)
    x = rng.standard_normal((24, 12)) * np.logspace(0, -2, 12)
    stolen = extraction.solve_order(x, ordered(answers(true, x), rng))
    a, b = extraction.differences(stolen), extraction.differences(true)
    cosine = np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
    assert cosine > 1 - 1e-6
    assert 0.3 < np.linalg.norm(a) / np.linalg.norm(b) < 3  # the scale, from its range
    assert extraction.agreement(stolen, true, rng.standard_normal((500, 12))).all()


def test_order_of_two_classes_gives_the_boundary_from_more_queries(rng):
    true = planted(rng, 8, 2)
    x = rng.standard_normal((400, 8))
    stolen = extraction.solve_order(x, ordered(answers(true, x), rng))
    held = rng.standard_normal((1000, 8))
    assert extraction.agreement(stolen, true, held).mean() > 0.97


def test_order_of_one_class_is_refused(rng):
    with pytest.raises(ValueError, match="one class has no order"):
        extraction.solve_order(np.ones((3, 2)), np.ones((3, 1)))


@pytest.mark.parametrize(("policy", "least"), [("logits", 1.0), ("rounded:6", 0.8)])
def test_encryption_does_not_hinder_it(parties, policy, least, rng):
    own = parties(width=16, classes=4, policy=policy)
    true = AffineMap(own.kernel, own.bias)
    x = rng.standard_normal((34, 16))
    results = [
        own.client.decrypt(own.provider.answer(own.client.encrypt(own.layer, one)))
        for one in x
    ]
    noisy = policy != "logits"
    stolen = extraction.solve_logits(x, np.stack(results), noisy=noisy)
    held = rng.standard_normal((500, 16))
    assert extraction.agreement(stolen, true, held).mean() >= least - 0.01


def test_noise_calls_for_a_ridge(rng):
    true = planted(rng, 12, 3)
    x = rng.standard_normal((13, 12))
    results = answers(true, x) + 0.5 * rng.standard_normal((13, 3))
    errors = [
        relative_error(
            extraction.solve_logits(x, results, noisy=noisy).kernel, true.kernel
        )
        for noisy in (False, True)
    ]
    assert errors[1] < errors[0]


def test_few_answers_that_show_the_order_are_better_than_none(rng):
    true = planted(rng, 12, 5)
    x = rng.standard_normal((10, 12))
    stolen = extraction.solve_order(x, ordered(answers(true, x), rng))
    held = rng.standard_normal((2000, 12))
    same = extraction.agreement(stolen, true, held).mean()
    random = extraction.agreement(planted(rng, 12, 5), true, held).mean()
    assert same > random + 0.1


def test_a_shifted_query_shows_the_offset(parties, rng):
    own = parties(width=16, classes=4, policy="order", zero_bias=True, tiles=1)
    x = rng.standard_normal(16)
    query = extraction.shifted_query(own.client, own.layer, x)
    results = own.client.decrypt(own.provider.answer(query))
    scaled = (results[1:] - results[0]) / (x @ own.kernel[:, :-1])
    np.testing.assert_allclose(scaled, scaled.mean(), rtol=0.05)
    assert 15 < scaled.mean() < 4100


def test_a_full_layout_has_no_room_for_another_row(parties):
    own = parties(width=16, classes=300, tiles=1)
    with pytest.raises(ValueError, match="leave no room"):
        extraction.shifted_query(own.client, own.layer, np.ones(16))


def test_encrypted_order_gives_differences(parties, rng):
    own = parties(width=16, classes=4, policy="order")
    true = AffineMap(own.kernel, own.bias)
    x = rng.standard_normal((40, 16))
    results = [
        own.client.decrypt(own.provider.answer(own.client.encrypt(own.layer, one)))
        for one in x
    ]
    stolen = extraction.solve_order(x, np.stack(results))
    held = rng.standard_normal((500, 16))
    assert extraction.agreement(stolen, true, held).mean() > 0.98
