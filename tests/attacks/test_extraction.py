"""Classifiers from exact and noisy answers."""

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


def test_exact_logits_give_the_map_from_one_more_query_than_dimensions(rng):
    true = planted(rng, 12, 3)
    x = rng.standard_normal((13, 12))
    stolen = extraction.solve_logits(x, answers(true, x))
    np.testing.assert_allclose(stolen.kernel, true.kernel, atol=1e-9)
    np.testing.assert_allclose(stolen.bias, true.bias, atol=1e-9)
    few = extraction.solve_logits(x[:6], answers(true, x[:6]))
    assert relative_error(few.kernel, true.kernel) > 0.3


@pytest.mark.parametrize(("policy", "least"), [("logits", 1.0), ("rounded:6", 0.8)])
@pytest.mark.slow
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


def test_differences_are_from_the_first_class_and_of_what_labels_tell(rng):
    """Labels tell a classifier up to one vector and number added to every class."""
    true = planted(rng, 5, 4)
    found = extraction.differences(true)
    np.testing.assert_allclose(found[:-1, 2], true.kernel[:, 3] - true.kernel[:, 0])
    np.testing.assert_allclose(found[-1], true.bias[1:] - true.bias[0])
    moved = AffineMap(true.kernel + rng.standard_normal((5, 1)), true.bias + 3)
    np.testing.assert_allclose(extraction.differences(moved), found, atol=1e-12)
