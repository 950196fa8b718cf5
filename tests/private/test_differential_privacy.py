"""Noise, clipping, sensitivity and the account, each against a twin that can fail."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from helix_jax.alignment import fit_ridge, ridge_at, select_by_gcv
from helix_jax.errors import ProtocolError
from helix_jax.private import Client, FitClient, FitProvider, fit_noise
from helix_jax.private import discrete_gaussian as noise
from helix_jax.private.accountant import (
    Privacy,
    gaussian_delta,
    most_rho,
    noise_multiplier,
    zcdp_delta,
)
from helix_jax.private.curator import private_moments
from helix_jax.private.fit_plan import FitOffer
from helix_jax.private.ledger import Ledger
from helix_jax.private.noisy_moments import (
    SENSITIVITY,
    covariance_sigma,
    lift_spectrum,
    moment_sums,
    own_moments,
    read_sums,
)
from helix_jax.private.unit_rows import expand_map, unit_integers, unit_rows

LEAST_P = 1e-9


def random_rows(rows, width, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, width)) * np.logspace(0, -2, width) + 3
    return x


@pytest.mark.parametrize("scale", [1, 2, 7, 1000])
def test_noise_is_discrete_gaussian(scale):
    values = noise.discrete_gaussian(scale, (100_000,))
    edge = max(4 * scale, 4)
    support = np.arange(-12 * scale - 12, 12 * scale + 13)
    law = np.exp(-(support**2) / (2 * scale**2))
    law /= law.sum()
    cells = np.digitize(support, np.linspace(-edge, edge, 18))
    expected = np.bincount(cells, law, minlength=19)
    counts = np.bincount(
        np.digitize(values, np.linspace(-edge, edge, 18)), minlength=19
    )
    some = expected > 1e-4
    assert counts[~some].sum() < 100
    expected = expected[some] / expected[some].sum() * counts[some].sum()
    assert stats.chisquare(counts[some], expected).pvalue > LEAST_P
    # The law is told from that of a sigma 5% larger.
    other = np.exp(-(support**2) / (2 * (1.05 * scale) ** 2))
    other = np.bincount(cells, other / other.sum(), minlength=19)[some]
    other *= counts[some].sum() / other.sum()
    assert stats.chisquare(counts[some], other).pvalue < LEAST_P


def test_coins_of_integer_exponents():
    """exp(-n / d) above and below one, and at the ends."""
    for n, d in ((0, 3), (1, 3), (3, 3), (7, 3)):
        heads = noise._heads(np.full(50_000, n), d).sum()
        p = math.exp(-n / d)
        assert stats.binomtest(int(heads), 50_000, p).pvalue > LEAST_P


@pytest.mark.parametrize("bits", [40, 100])
def test_noise_on_a_grid_is_as_wide_as_it_says_and_counts_its_rounding(bits):
    sensitivity, count = 2.0**bits, 5000
    step, scale = noise.grid_scale(sensitivity, 3.0, count)
    assert scale * 2.0**step >= 3.0 * (sensitivity + 2.0**step * math.sqrt(count))
    assert noise.grid_sigma(sensitivity, 3.0, count) < 3.02 * sensitivity
    # Rounding by any threshold moves neighbours by no more than is counted.
    generator = np.random.default_rng(bits)
    a = generator.integers(-(2**40), 2**40, count)
    b = a + generator.integers(-(2**9), 2**9, count)
    low = generator.integers(0, 2**8, count)
    rounded = [-((low - value) >> 8) for value in (a, b)]  # ceil((C - low) / 2^8)
    moved = np.linalg.norm(rounded[0] - rounded[1])
    assert moved <= np.linalg.norm(a - b) / 2**8 + math.sqrt(count)
    drawn = noise.draw_grid_noise(2.0**30, 3.0, (count,)).integers()
    sigma = noise.grid_sigma(2.0**30, 3.0, count)
    assert abs(drawn.std() / sigma - 1) < 0.06
    assert len(np.unique(drawn & 7)) == 8  # the low bits are not bare


def test_the_account_is_that_of_others():
    """Balle and Wang's sigma for (1, 1e-5) and their delta; zCDP is never below."""
    rho = most_rho(1.0, 1e-5, delta_of=gaussian_delta)
    assert noise_multiplier(rho) == pytest.approx(3.7306, abs=1e-4)
    # sigma = 1, epsilon = 1: Phi(-.5) - e Phi(-1.5)
    known = stats.norm.cdf(-0.5) - math.e * stats.norm.cdf(-1.5)
    assert gaussian_delta(0.5, 1.0) == pytest.approx(known, rel=1e-12)
    for epsilon in (0.01, 0.5, 1, 8):
        exact, bound = (
            most_rho(epsilon, 1e-6, delta_of=f) for f in (gaussian_delta, zcdp_delta)
        )
        assert 0.7 * exact < bound < exact
        assert zcdp_delta(bound, epsilon) <= 1e-6 < zcdp_delta(1.001 * bound, epsilon)
        # No order of a grid is better than what was found.
        orders = 1 + np.logspace(-3, 6, 20_000)
        logs = (orders - 1) * (orders * bound - epsilon) - np.log(orders - 1)
        logs += orders * np.log1p(-1 / orders)
        assert zcdp_delta(bound, epsilon) <= np.exp(logs.min()) * (1 + 1e-6)
    # Bun and Steinke's epsilon = rho + 2 sqrt(rho log(1 / delta)) is more.
    assert zcdp_delta(0.03, 0.03 + 2 * math.sqrt(0.03 * math.log(1e5))) < 1e-5
    split = Privacy(1.0, 1e-5, share=0.25)
    assert 4 * split.rho == pytest.approx(split.total_rho)


def test_clipping_is_exact_and_sensitivities_are_bounds_that_are_reached():
    x = random_rows(200, 6)
    unit = unit_rows(x, rank=4)
    rows = unit.apply(np.concatenate([x, 1e9 * x]))
    assert np.linalg.norm(rows, axis=1).max() <= 1 + 2**-50
    integers = unit_integers("test", rows, 15)
    assert (np.sum(integers.astype(object) ** 2, axis=1) <= 2**30).all()
    inside = np.linalg.norm(unit._whiten(x), axis=1) <= 1
    assert 0.4 < inside.mean() < 0.6
    np.testing.assert_array_equal(unit.apply(x)[inside], unit._whiten(x)[inside])
    generator = np.random.default_rng(0)
    y = generator.normal(size=(3000, 3))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    y[::3] *= generator.uniform(size=(1000, 1))
    sums = np.array([moment_sums(row[None]) for row in y[:600]]) * 2.0**-30
    off = np.array([1, 1, 1, 1, 2, 2, 1, 2, 1])  # a triangle stands for a matrix
    moved = [np.sqrt(((a - b) ** 2 * off).sum()) for a, b in itertools.pairwise(sums)]
    assert 1.5 < max(moved) <= SENSITIVITY
    pair = np.array([[1.0, 0, 0], [-0.5, math.sqrt(0.75), 0]])
    a, b = (moment_sums(row[None]) * 2.0**-30 for row in pair)
    reached = np.sqrt(((a - b) ** 2 * off).sum())
    assert SENSITIVITY - 1e-3 < reached <= SENSITIVITY
    # The means with their energy, which costs nothing.
    whole = np.column_stack([y, (y**2).sum(axis=1)])
    far = [np.linalg.norm(a - b) for a, b in zip(whole, whole[::-1])]
    assert 1.5 < max(far) <= 2
    # The cross-covariance: one row of y against its opposite.
    assert np.linalg.norm(np.outer(y[1], y[2] - -y[2])) == pytest.approx(2)


def test_own_moments_of_many_rows_are_the_plain_ones_but_for_their_noise():
    rows = unit_rows(random_rows(400, 5), rank=3).apply(random_rows(3000, 5, seed=1))
    mean, covariance = own_moments(rows, None)
    np.testing.assert_allclose(covariance, np.cov(rows.T, bias=True), atol=1e-12)
    sums = moment_sums(rows)
    for found, exact in zip(read_sums(sums, len(rows)), (mean, covariance)):
        np.testing.assert_allclose(found, exact, atol=1e-4)  # integers of 15 bits
    privacy = Privacy(2.0, 1e-6)
    draws = [own_moments(rows, privacy) for _ in range(40)]
    sigma = covariance_sigma(len(sums), privacy.rho, len(rows))
    spread = np.std([(noisy - mean) / sigma for noisy, _ in draws])
    assert 0.7 < spread < 1.3
    assert np.linalg.eigvalsh(lift_spectrum(-np.eye(3), 0.1)).min() > 0.3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.0, 1e-5), "epsilon above 0"),
        ((-1.0, 1e-5), "epsilon above 0"),
        ((math.nan, 1e-5), "epsilon above 0"),
        ((1.0, 0.0), "delta above 0"),
        ((1.0, 1.0), "below 1"),
        ((1.0, 1e-5, 0.0), "share needs 0 to 1"),
    ],
)
def test_what_promises_nothing_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Privacy(*arguments)


@pytest.fixture(scope="module")
def client():
    pytest.importorskip("Pyfhel")
    return Client("guarded")


def planted(rows=400, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 6)) + 2
    y = x @ generator.normal(size=(6, 5)) + 0.1 * generator.normal(size=(rows, 5))
    source, target = unit_rows(x[:300], rank=6), unit_rows(y[:300])
    return source.apply(x), target.apply(y)


def play(client, x, y, privacy, *, own=None, folder=None, **kwargs):
    provider = FitProvider(y, privacy=privacy, **{"share": 1.0} | kwargs)
    provider.register(client.public_bundle())
    fit = FitClient(client, provider.offer.to_bytes(), x, privacy=own)
    for message in fit.chunks():
        provider.absorb(message)
    fit.read_mean(provider.mean_message())
    if folder is not None:
        provider.save(folder)
        again = FitProvider(y, privacy=privacy, **{"share": 1.0} | kwargs)
        again.register(client.public_bundle())
        again.restore(folder)
        assert again.mean_message() == provider.mean_message()  # no second noise
        provider = again
    for message in provider.results():
        fit.read(message)
    return fit


@pytest.mark.slow
def test_a_private_fit_is_the_curators(client):
    """Without noise to speak of the moments are the plain ones; with it, as it says."""
    x, y = planted()
    plain = private_moments(x, y, Privacy(1e5, 1e-9)).moments
    clear = np.cov(np.column_stack([x, y]).T, bias=True)
    fit = play(client, x, y, Privacy(1e5, 1e-9), precision=20)
    assert fit.noise.max() < 3e-5
    for found in (plain, fit.moments()):
        np.testing.assert_allclose(found.cov_xy, clear[:6, 6:], atol=2e-4)
        np.testing.assert_allclose(found.mean_y, y.mean(0), atol=2e-4)
        np.testing.assert_allclose(found.cov_xx, clear[:6, :6], atol=1e-12)
        trace = np.trace(np.asarray(found.cov_yy))
        assert trace == pytest.approx(np.trace(clear[6:, 6:]), abs=1e-3)
    privacy = Privacy(4.0, 1e-5)
    fit, twin = play(client, x, y, privacy), private_moments(x, y, privacy)
    np.testing.assert_allclose(fit.noise, twin.noise, rtol=0.02)
    for found in (fit.moments(), twin.moments):
        off = (np.asarray(found.cov_xy) - clear[:6, 6:]) / fit.noise
        assert 0.6 < np.sqrt(np.mean(off**2)) < 1.5  # of 30 and the means' share
    assert fit.noise.max() > 1e-3


@pytest.mark.slow
def test_a_private_fit_protects_pairs_and_survives_a_restart(client, tmp_path):
    x, y = planted()
    privacy = Privacy(8.0, 1e-6)
    fit = play(client, x, y, privacy, own=privacy, folder=tmp_path)
    moments = fit.moments()
    off = np.abs(np.asarray(moments.cov_xx) - np.cov(x.T, bias=True)).max()
    assert 1e-4 < off < 0.05
    chosen = select_by_gcv(fit_ridge(moments), moments, noise=fit.noise)
    kernel = np.asarray(chosen.fit.map.kernel)
    left = y - x @ kernel - np.asarray(chosen.fit.map.bias)
    assert (left**2).sum() < 0.3 * ((y - y.mean(0)) ** 2).sum()


def test_private_fits_of_the_same_rows_add_up_for_all_clients(client):
    x, y = planted()
    ledger, privacy = Ledger(), Privacy(1.0, 1e-4, share=0.5)
    play(client, x, y, privacy, ledger=ledger, identity="one")
    for identity in ("two", "three"):
        provider = FitProvider(
            y, privacy=Privacy(1.0, 1e-4), ledger=ledger, identity=identity
        )
        provider.register(client.public_bundle())
        if identity == "two":
            provider.mean_message()  # a tenth of one fit
    fit = FitClient(client, provider.offer.to_bytes(), x)
    for message in fit.chunks():
        provider.absorb(message)
    with pytest.raises(ProtocolError, match="have had 60% of the rho"):
        provider.results()


@pytest.mark.slow
def test_who_may_have_no_bits_spends_no_epsilon(client):
    _, y = planted()
    ledger, privacy = Ledger(), Privacy(1.0, 1e-4)
    for _ in range(11):  # ten of these means would be all of it
        provider = FitProvider(
            y, privacy=privacy, ledger=ledger, identity="poor", share=1e-6
        )
        provider.register(client.public_bundle())
        with pytest.raises(ProtocolError, match="'poor' has had 0 bits"):
            provider.mean_message()
    provider = FitProvider(y, privacy=privacy, ledger=ledger, identity="one")
    provider.register(client.public_bundle())
    provider.mean_message()


def test_a_private_fit_refuses_what_it_cannot_protect(client):
    x, y = planted()
    privacy = Privacy(1.0, 1e-4)
    with pytest.raises(ValueError, match="norm 1 at most"):
        FitProvider(2 * y, privacy=privacy)
    with pytest.raises(ValueError, match="revealed completely"):
        FitProvider(y, privacy=Privacy(1.0, 1 / 400))
    with pytest.raises(ValueError, match="guarded"):
        FitProvider(y, privacy=privacy, profile="open")
    provider = FitProvider(y, privacy=privacy)
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    with pytest.raises(ValueError, match="norm 1 at most"):
        FitClient(client, offer, 2 * x)
    with pytest.raises(ValueError, match="unit_rows"):
        FitClient(client, offer, x, rank=2)
    plain = FitProvider(y)
    with pytest.raises(ValueError, match="protects its own"):
        FitClient(client, plain.offer.to_bytes(), x, privacy=privacy)
    plain.register(client.public_bundle())
    fit = FitClient(client, plain.offer.to_bytes(), x)
    fit._rows = fit._rows._replace(row_bits=60)
    with pytest.raises(ProtocolError, match="integers of 60 bits"):
        plain.absorb(next(fit.chunks()))
    with pytest.raises(ProtocolError, match="integers of 55 bits"):
        fit_noise.require_row_bits(55, 0.1, 0)
    with pytest.raises(ProtocolError, match="expected 60"):
        fit_noise.require_row_bits(61, 0.1, 60)
    some = dataclasses.replace(provider.offer, rho=1e-14).to_bytes()
    with pytest.raises(ProtocolError, match="raise epsilon"):
        FitClient(client, some, x)


def test_the_offer_tells_nothing_of_private_rows():
    """Of other rows of the same number and width it is the same but for its number."""
    privacy = Privacy(1.0, 1e-4)
    offers = [
        FitProvider(planted(seed=seed)[1], privacy=privacy).offer for seed in (0, 1)
    ]
    first, second = (
        offer.to_bytes().replace(offer.number, bytes(16)) for offer in offers
    )
    assert first == second
    assert (
        FitOffer.from_bytes(offers[0].to_bytes(), offers[0].profile).rho == privacy.rho
    )


def test_a_map_of_the_unit_balls_is_one_of_the_rows():
    generator = np.random.default_rng(3)
    x = generator.normal(size=(500, 7)) + 5
    y = x @ generator.normal(size=(7, 4)) - 30
    y[:, 3] = 2.0  # holds nothing
    source = unit_rows(x, rank=7, quantile=1.0)
    target = unit_rows(y, quantile=1.0)
    xu, yu = source.apply(x), target.apply(y)
    moments = private_moments(xu, yu, Privacy(1e5, 1e-9)).moments
    affine = ridge_at(fit_ridge(moments, penalties=[1e-9]), 0).map
    whole = expand_map(affine, source, target)
    np.testing.assert_allclose(x @ whole.kernel + whole.bias, y, atol=0.05)
    with pytest.raises(ValueError, match="must not be projected"):
        expand_map(affine, source, source)
