"""Overfitted maps tell their rows; sqrt(2 d_x d_y / n) holds; chance is chance."""

import numpy as np
import pytest

from helix_jax.attacks import membership
from helix_jax.attacks.private_membership import most_auc, private_membership
from helix_jax.private.accountant import Privacy
from helix_jax.private.unit_rows import unit_rows


def pool(rng, rows, dx, dy):
    x = rng.standard_normal((rows, dx))
    return x, x @ rng.standard_normal((dx, dy)) + rng.standard_normal((rows, dy))


def attack(rng, rows, dx, dy, penalty=1e-8, maps=16):
    x, y = pool(rng, rows, dx, dy)
    members = membership.draw_members(rows, maps, rng=rng)
    assert (members.sum(axis=1) == rows // 2).all()
    residuals = membership.shadow_residuals(x, y, members, penalty=penalty)
    return members, residuals


def test_overfitted_maps_tell_their_rows(rng):
    members, residuals = attack(rng, 48, 24, 16)  # as many rows as dimensions
    loss = membership.loss_scores(residuals, members)
    found = membership.roc(loss, members, rng=rng)
    assert found.auc.low > 0.95
    assert found.trials == 48 * 16
    members, residuals = attack(rng, 160, 24, 16)
    likelihood = membership.likelihood_scores(residuals)
    found = membership.roc(likelihood, members, rng=rng)
    assert found.auc.low > 0.95


@pytest.mark.parametrize("rows", [1000, 4000])
@pytest.mark.slow
def test_the_likelihood_follows_its_law(rng, rows):
    members, residuals = attack(rng, 2 * rows, 16, 12)
    found = membership.roc(membership.likelihood_scores(residuals), members, rng=rng)
    expected = membership.expected_auc(16, 12, rows)
    assert abs(found.auc.value - expected) < 0.03
    loss = membership.roc(membership.loss_scores(residuals, members), members, rng=rng)
    assert found.auc.value > loss.auc.value


def test_scores_that_know_nothing_are_at_chance(rng):
    members = membership.draw_members(3000, 4, rng=rng)
    found = membership.roc(rng.standard_normal(members.shape), members, rng=rng)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.tpr[0.01].low < 0.01 < found.tpr[0.01].high


def test_a_map_is_no_shadow_of_its_own(rng):
    """Its scores are what they are against maps that do not include it."""
    residuals = rng.standard_normal((6, 40, 3)) * np.linspace(1, 3, 40)[:, None]
    residuals += rng.standard_normal((40, 3))
    members = membership.draw_members(40, 6, rng=rng)
    mean = residuals.mean(axis=0)
    inverse = np.linalg.inv(mean.T @ mean / len(mean))
    found = membership.likelihood_scores(residuals)
    losses = np.log(np.sum(residuals**2, axis=2))
    away = {}
    for target, row in np.ndindex(6, 40):
        others = np.delete(residuals[:, row], target, axis=0).mean(axis=0)
        own = residuals[target, row] - others
        assert found[target, row] == pytest.approx(-others @ inverse @ own, rel=1e-5)
        known = np.delete(losses[:, row], target)
        inside = np.delete(members[:, row], target)
        if 0 < inside.sum() < 5:
            means = known[inside].mean(), known[~inside].mean()
            away[target, row] = losses[target, row] - np.array(means)
    ratios = {place: two[1] ** 2 - two[0] ** 2 for place, two in away.items()}
    scores = membership.loss_scores(residuals, members)
    spreads = [ratio / scores[place] / 2 for place, ratio in ratios.items()]
    assert len(spreads) > 200
    np.testing.assert_allclose(spreads, spreads[0], rtol=1e-5)


def test_losses_of_noise_tell_no_member(rng):
    members = membership.draw_members(2000, 4, rng=rng)
    noise = rng.standard_normal((*members.shape, 2))
    found = membership.roc(membership.loss_scores(noise, members), members, rng=rng)
    assert found.auc.low < 0.5 < found.auc.high


def test_roc_of_perfect_scores(rng):
    members = membership.draw_members(200, 2, rng=rng)
    found = membership.roc(members.astype(float), members, rng=rng, resamples=20)
    assert found.auc.value == 1
    assert found.tpr[0.001].value == 1


@pytest.mark.slow
def test_noise_for_differential_privacy_hides_members(rng):
    x, y = pool(rng, 400, 12, 16)
    x, y = unit_rows(x, rank=12).apply(x), unit_rows(y).apply(y)
    settings = {"shadows": 8, "resamples": 50, "rng": rng}
    bare = private_membership(x, y, None, **settings)
    assert bare.auc.low > 0.75  # observed: 0.83
    privacy, own = (Privacy(1.0, 1e-5, share=share) for share in (0.8, 0.2))
    assert most_auc(privacy, own) == pytest.approx(0.569, abs=1e-3)
    hidden = private_membership(x, y, privacy, own=own, **settings)
    assert hidden.auc.low < most_auc(privacy, own) < bare.auc.low
    assert hidden.auc.value < 0.6
