"""Rows from cross-covariances: by division, by projection, by choice."""

import numpy as np
import pytest

from helix_jax.attacks import (
    chance,
    row_division,
    row_lattice,
    row_packing,
    row_projection,
)
from helix_jax.errors import ProtocolError
from helix_jax.private import FitClient, FitProvider
from helix_jax.private.internals import integer_rows, unmasked_results
from helix_jax.stats import relative_error
from tests.conftest import cases


def fit(client, x, y, *, masked=True, **kwargs):
    """Both sides of an encrypted fit, with every message."""
    provider = FitProvider(y, profile=client.profile.name, **kwargs)
    provider.register(client.public_bundle())
    side = FitClient(client, provider.offer.to_bytes(), x)
    messages = list(side.chunks())
    for message in messages:
        provider.absorb(message)
    side.read_mean(provider.mean_message())
    answers = list(provider.results())
    for answer in answers if masked else unmasked_results(provider):
        side.read(answer)
    return provider, side, messages, answers


@pytest.mark.parametrize("width", cases([96], 64))
@pytest.mark.slow
def test_unmasked_second_parts_give_every_row(clients, width, rng):
    x, y = rng.standard_normal((200, width)), rng.standard_normal((200, 3))
    provider, side, messages, answers = fit(clients["guarded"], x, y, share=0.5)
    rows = row_division.row_polynomials(messages, side.plan, provider)
    raw = row_division.raw_covariance(provider)
    guess = row_division.solve_rows(rows, raw, provider)
    assert guess.ok
    np.testing.assert_array_equal(guess.integers, integer_rows(provider))
    sent = row_division.masked_covariance(answers, side.plan, provider)
    assert sent.shape == raw.shape
    guess = row_division.solve_rows(rows, sent, provider)
    found = chance.correlate(guess.integers, integer_rows(provider), rng=rng)
    assert abs(found.value) < 5 / np.sqrt(y.size)


def test_more_rows_than_equations_are_refused(clients):
    with pytest.raises(ValueError, match="4096 equations do not determine 5000"):
        row_division.solve_rows(np.zeros((5000, 1, 4096), int), None, None)


def test_few_rows_are_projected_onto_themselves(rng):
    x, y = rng.standard_normal((20, 24)), rng.standard_normal((20, 5))
    np.testing.assert_allclose(row_projection.recover_rows(x, x.T @ y), y, atol=1e-8)


def test_many_rows_leave_the_share_that_dimensions_have(rng):
    x, y = rng.standard_normal((2400, 24)), rng.standard_normal((2400, 50))
    guess = row_projection.recover_rows(x, x.T @ y)
    error = row_projection.row_errors(guess, y)
    assert abs(np.mean(error**2) - (1 - 24 / 2400)) < 0.005


@pytest.mark.slow
def test_an_encrypted_fit_of_few_rows_gives_them_where_the_guard_lets_it(clients, rng):
    x, y = rng.standard_normal((20, 24)), rng.standard_normal((20, 5))
    with pytest.raises(ProtocolError, match="could carry 100% of the bits"):
        fit(clients["guarded"], x, y)
    _, side, *_ = fit(clients["guarded"], x, y, masked=False, share=np.inf)
    cross = len(x) * np.asarray(side.moments().cov_xy)
    guess = row_projection.recover_rows(x - x.mean(axis=0), cross)
    assert relative_error(guess, y - y.mean(axis=0)) < 1e-3


def test_chosen_rows_pass_the_guard(clients, rng):
    y = rng.standard_normal((60, 5))
    targets = np.array([3, 17, 41])
    x = row_projection.chosen_rows(60, 8, targets)
    _, side, *_ = fit(clients["guarded"], x, y)
    moments = side.moments()
    read = 60 * np.asarray(moments.cov_xy)[:3] + np.asarray(moments.mean_y)
    assert 1e-4 < relative_error(read, y[targets]) < 2e-2  # to 12 bits or so


@pytest.mark.parametrize(
    ("precision", "first", "second"),
    [
        (None, (0, 1e-3), (0, 1e-2)),
        (20, (0, 1e-3), (0.5, 1e9)),
        (12, (1e-4, 2e-2), (0.9, 1e9)),
    ],
)
def test_two_rows_a_number_need_twice_the_bits(clients, rng, precision, first, second):
    """More rows than dimensions come back where results are exact, and only there."""
    y = rng.standard_normal((49, 5))
    packing = row_packing.pack(49, 25)
    settings = {"precision": precision, "masked": precision is not None}
    _, side, *_ = fit(clients["guarded"], packing.x, y, share=np.inf, **settings)
    cross = 49 * np.asarray(side.moments().cov_xy)
    found = row_packing.unpack(packing, cross, side.offer.exponents)
    truth = (y - y.mean(axis=0))[:48]
    for place, (least, most) in enumerate((first, second)):
        error = relative_error(found[place::2], truth[place::2])
        assert least <= error <= most
    with pytest.raises(ProtocolError, match="of the bits of the target's rows"):
        fit(clients["guarded"], packing.x, y, precision=precision)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.slow
def test_honest_rows_fall_to_lattices_where_results_are_exact(clients, rng, masked):
    pytest.importorskip("fpylll")
    x, y = rng.standard_normal((27, 16)), rng.standard_normal((27, 2))
    provider, side, *_ = fit(clients["guarded"], x, y, share=np.inf, masked=masked)
    truth = integer_rows(provider)
    units = np.ldexp(1.0, side.offer.exponents)
    cross = 27 * np.asarray(side.moments().cov_xy) / units
    x = x - x.mean(axis=0)
    error = max(np.abs(cross - x.T @ truth).std(), 1e-4)
    found = row_lattice.solve_lattice(x, cross[:, 0], error=error)
    assert (found is not None and (found == truth[:, 0]).all()) != masked
