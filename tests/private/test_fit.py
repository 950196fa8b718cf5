"""The encrypted fit against plain moments, integer twins, and every misuse."""

import dataclasses
import shutil
import threading

import numpy as np
import pytest

from helix_jax.alignment import accumulate, fit_ridge, ridge_at, select_by_gcv
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import (
    Client,
    FitClient,
    FitProvider,
    fit_plan,
    fit_products,
    flooding,
    residues,
)
from helix_jax.private.fit_bits import held_bits
from helix_jax.private.ledger import Ledger
from helix_jax.private.profiles import PROFILES
from tests.conftest import cases

pytest.importorskip("Pyfhel")
ROWS, WIDTH, TARGET = 150, 30, 12


def make_rows(rows=ROWS, width=WIDTH, target=TARGET, seed=0):
    """Rows with means far from zero and columns of very different size."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, width)) * np.logspace(-2, 2, width) + 7
    y = x[:, :target] / np.logspace(-2, 2, width)[:target]
    y = y @ generator.normal(size=(y.shape[1], target)) - 40
    return x, (y + generator.normal(size=y.shape)) * np.logspace(1, -3, target)


@pytest.fixture(scope="module")
def clients(client):
    return {name: client(name) for name in PROFILES}


def play(client, x, y, *, ids=None, rank=None, **kwargs):
    """Both sides of a fit; the client's side with everything read."""
    provider = FitProvider(y, ids=ids, profile=client.profile.name, **kwargs)
    provider.register(client.public_bundle())
    fit = FitClient(client, provider.offer.to_bytes(), x, ids=ids, rank=rank)
    for message in fit.chunks():
        provider.absorb(message)
    fit.read_mean(provider.mean_message())
    for message in provider.results():
        fit.read(message)
    return fit


EXACT = {"precision": None, "share": np.inf}


def scaled_error(found, wanted, x, y):
    scales = np.outer(x.std(0), y.std(0))
    return np.abs((np.asarray(found) - np.asarray(wanted)) / scales).max()


def check_moments(moments, x, y, *, noise, mean_noise, predictions):
    """A fit's record against the plain one, in standard deviations of the columns."""
    plain = accumulate([(x, y)])
    error = np.abs(np.asarray(moments.cov_xy) - np.asarray(plain.cov_xy))
    assert (error <= 2e-5 * np.outer(x.std(0), y.std(0)) + 6 * noise).all()
    error = np.abs(np.asarray(moments.mean_y) - y.mean(0)) / y.std(0)
    assert error.max() < 1e-5 + 6 * mean_noise
    np.testing.assert_allclose(moments.cov_xx, plain.cov_xx, rtol=1e-6, atol=1e-12)
    assert float(moments.count) == ROWS
    energy = np.trace(np.asarray(plain.cov_yy))
    np.testing.assert_allclose(np.trace(np.asarray(moments.cov_yy)), energy, rtol=2e-4)
    for choose in (
        lambda m: ridge_at(fit_ridge(m, penalties=[1e-4]), 0).map,
        lambda m: select_by_gcv(fit_ridge(m), m).fit.map,
    ):
        read = [
            x @ np.asarray(m.kernel) + np.asarray(m.bias)
            for m in (choose(moments), choose(plain))
        ]
        assert np.abs((read[0] - read[1]) / y.std(0)).max() < predictions


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.slow
def test_moments_equal_the_plain_ones(clients, name):
    x, y = make_rows()
    ids = [f"text-{i}" for i in range(ROWS)]
    fit = play(clients[name], x, y, ids=ids, **EXACT)
    check_moments(fit.moments(), x, y, noise=0, mean_noise=0, predictions=2e-3)


@pytest.mark.parametrize("precision", [8, 12, 16])
def test_a_precision_adds_the_noise_that_it_says(clients, precision):
    x, y = make_rows()
    fit = play(clients["guarded"], x, y, precision=precision, share=1.0)
    found, plain = fit.moments().cov_xy, accumulate([(x, y)]).cov_xy
    error = (np.asarray(found) - np.asarray(plain)) / fit.noise
    assert 0.8 < np.std(error) < 1.25  # of 360: five standard deviations
    # The units of the means are 2^-15 of the largest deviation, some 2.5 of them.
    mean_noise = (
        2.0**-precision
        / np.sqrt(3)
        * (np.abs(y - y.mean(0)).max(0) / y.std(0)).max()
        * 2
    )
    check_moments(
        fit.moments(),
        x,
        y,
        noise=fit.noise,
        mean_noise=mean_noise,
        predictions=2e-3 + 120 * 2.0**-precision,  # observed: half of it
    )


def test_the_flood_leaves_the_bits_that_it_says(clients):
    """Sums of four uniform integers: the entropy that the bound needs, and more."""
    profile = PROFILES["guarded"]
    for precision in (8, 12, 20):
        bits = flooding.coarse_bits(precision, profile)
        assert precision - 1 < flooding.carried_bits(bits, profile) <= precision
    counts = np.ones(1)
    for _ in range(4):  # the distribution at R = 2^8, exactly
        counts = np.convolve(counts, np.full(2**8, 2.0**-8))
    counts = counts[counts > 0]
    assert -(counts * np.log2(counts)).sum() > 8 + 1


@pytest.mark.slow
def test_the_noise_is_that_of_the_larger_flood(clients):
    """Of many results it hides errors, and leaves fewer bits than the precision."""
    rng = np.random.default_rng(0)
    client, x = clients["guarded"], rng.normal(size=(4, 2049))
    y = rng.integers(-(2**14), 2**14, (2, 40)).astype(float)
    y[0] = 2**15 - 1
    y = np.concatenate([y, -y])  # integers of mean zero: nothing is rounded
    fit = play(client, x, y, precision=20, share=np.inf)
    plain = accumulate([(x, y)])
    error = np.asarray(fit.moments().cov_xy) - np.asarray(plain.cov_xy)
    assert 0.97 < np.std(error / fit.noise) < 1.03  # of 80,000
    offer = FitProvider(y, **EXACT).offer.to_bytes()
    np.testing.assert_array_equal(FitClient(client, offer, x).noise, fit.noise)


@pytest.mark.slow
def test_a_constant_column_of_the_source_has_no_weight(clients):
    x, y = make_rows()
    x = x[:, :8] / x[:, :8].std(axis=0) * 1e-3
    constant = [3, 5]
    x[:, constant] = 0.0, 1.0
    fit = play(clients["guarded"], x, y)
    assert not fit.noise[constant].any()
    moments = fit.moments()
    assert not np.asarray(moments.cov_xy)[constant].any()
    kernel = np.asarray(ridge_at(fit_ridge(moments, penalties=[1e-9]), 0).map.kernel)
    assert np.abs(kernel[constant]).max() <= 1e-6 * np.abs(kernel).max()


@pytest.mark.slow
def test_rows_wider_than_a_ciphertext(clients):
    x, y = make_rows(60, 2100, 4)
    fit = play(clients["compact"], x, y)
    assert (fit.plan.tiles, fit.plan.tile, fit.plan.blocks) == (2, 1050, 1)
    plain = accumulate([(x, y)])
    assert scaled_error(fit.moments().cov_xy, plain.cov_xy, x, y) < 1e-4


@pytest.mark.slow
def test_many_messages_and_many_targets(clients):
    """More than one message of rows, block of targets, and message of results."""
    x, y = make_rows(1500, 8, 8)
    y = np.tile(y, 36)[:, :270]
    y += np.random.default_rng(1).normal(size=y.shape) * y.std(0)
    client = clients["compact"]
    provider = FitProvider(y, profile="compact")
    provider.register(client.public_bundle())
    fit = FitClient(client, provider.offer.to_bytes(), x)
    assert fit.plan.chunks == 3
    for message in fit.chunks():
        provider.absorb(message)
    fit.read_mean(provider.mean_message())
    results = list(provider.results())
    assert len(results) == 9
    for message in reversed(results):
        fit.read(message)
    plain = accumulate([(x, y)])
    assert scaled_error(fit.moments().cov_xy, plain.cov_xy, x, y) < 1e-5


@pytest.mark.parametrize("name", PROFILES)
def test_residue_products_equal_big_integers(name):
    """Sums of turned ciphertexts, against polynomials over Python's integers."""
    profile = PROFILES[name]
    generator = np.random.default_rng(2)
    plan = fit_plan.plan_fit(5, profile.degree // 3, profile)
    assert (plan.blocks, plan.groups, plan.chunk) == (3, 2, 2)
    primes = residues.column(profile)
    shape = (plan.chunk, 1, 2, len(profile.primes), profile.degree)
    pairs = generator.integers(0, primes, shape)
    y = generator.integers(-(2**15), 2**15, (plan.chunk * plan.blocks, 2))
    weights = y.reshape(plan.chunk, plan.blocks, 2).swapaxes(0, 1).reshape(-1, 2)
    limbs = fit_products.split_limbs(pairs, plan=plan, profile=profile)
    zeros = np.zeros((2, *shape[1:]), np.int64)
    found = fit_products.add_products(
        zeros, weights.astype(np.float64), limbs, profile=profile
    )
    invert = residues.exact("profile")(residues.inverse_transform)
    coefficients = np.asarray(invert(pairs, profile=profile)).astype(object)
    found = np.asarray(invert(np.asarray(found), profile=profile))
    wanted = np.zeros(found.shape, object)
    for group in range(plan.chunk):
        for block in range(plan.blocks):
            # X^(-b m): the first b m coefficients come back at the end, negated.
            turned = np.roll(coefficients[group], -block * plan.tile, axis=-1)
            if block:
                turned[..., -block * plan.tile :] *= -1
            for column in range(2):
                own = int(y[group * plan.blocks + block, column])
                wanted[column] += own * turned
    assert (found == wanted % primes.astype(object)).all()


@pytest.mark.slow
def test_a_killed_provider_resumes(clients, tmp_path):
    x, y = make_rows(1500, 8, 5)
    client = clients["guarded"]

    def begin():
        provider = FitProvider(y, **EXACT)
        provider.register(client.public_bundle())
        return provider

    provider = begin()
    fit = FitClient(client, provider.offer.to_bytes(), x)
    messages = list(fit.chunks())
    assert len(messages) == 3
    assert begin().restore(tmp_path) == 0
    provider.absorb(messages[0])
    provider.save(tmp_path)
    provider.absorb(messages[1])  # lost
    provider = begin()
    assert provider.restore(tmp_path) == 1 == provider.next_chunk
    for message in fit.chunks(start=provider.next_chunk):
        provider.absorb(message)
    fit.read_mean(provider.mean_message())
    for message in provider.results():
        fit.read(message)
    plain = accumulate([(x, y)])
    assert scaled_error(fit.moments().cov_xy, plain.cov_xy, x, y) < 1e-5
    assert {"sums.npz", "ledger.db"} <= {path.name for path in tmp_path.iterdir()}
    order = np.random.default_rng(0).permutation(len(y))
    for other in (y + 1e3 * np.arange(1500)[:, None], y[order], y[:, ::-1]):
        provider = FitProvider(other, **EXACT)
        provider.register(client.public_bundle())
        with pytest.raises(ProtocolError, match="other rows or another client"):
            provider.restore(tmp_path)


def begin_fit(client, x, y, **kwargs):
    """Both sides, all rows absorbed."""
    provider = FitProvider(y, **kwargs)
    provider.register(client.public_bundle())
    fit = FitClient(client, provider.offer.to_bytes(), x)
    for message in fit.chunks():
        provider.absorb(message)
    return provider, fit


def test_a_restored_provider_does_not_answer_again(clients, tmp_path):
    """Two answers to the same sums would differ by noise that averages out."""
    x, y = make_rows()
    client = clients["guarded"]
    x = x[:, :8]
    provider, fit = begin_fit(client, x, y)
    mean = provider.mean_message()
    assert provider.mean_message() == mean
    provider.save(tmp_path)
    list(provider.results())
    for mean_is_kept in (True, False):
        provider = FitProvider(y)
        provider.register(client.public_bundle())
        assert provider.restore(tmp_path) == fit.plan.chunks
        assert provider.offer.number == fit.offer.number
        with pytest.raises(ProtocolError, match="given to client ''"):
            provider.results()
        if mean_is_kept:
            assert provider.mean_message() == mean
        else:
            provider._mean_message = None
            with pytest.raises(ProtocolError, match="given to client ''"):
                provider.mean_message()


@pytest.mark.slow
def test_fits_on_the_same_rows_add_up(clients, tmp_path):
    """With other source rows, other columns or another key, in another order."""
    x, y = make_rows()
    x, ledger = x[:, :12], Ledger(tmp_path / "ledger.db")
    client = clients["guarded"]
    again = {"ledger": ledger, "identity": "a"}
    provider, _ = begin_fit(client, x, y, **again)
    list(provider.results())
    provider.mean_message()
    order = np.random.default_rng(0).permutation(len(y))
    for other, rows in ((x[:, ::-1], y), (x[order], y[order])):
        provider, _ = begin_fit(client, other, rows, **again)
        list(provider.results())  # three fits of 12 dimensions fit into the share
    for key in (client, Client("guarded")):
        with pytest.raises(ProtocolError, match="20% were given before"):
            begin_fit(key, x, y, **again)
    begin_fit(client, x, y, ledger=ledger, identity="b")
    begin_fit(client, x, y, **again, share=0.5)


def test_rows_of_few_values_hold_few_bits(clients):
    """Signs in 15-bit integers: eight of them would fit into one result."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (512, 16))
    x = np.random.default_rng(1).normal(size=(512, 64))
    with pytest.raises(ProtocolError, match="carry 100% of the bits"):
        begin_fit(clients["guarded"], x, signs)
    normal = np.random.default_rng(2).normal(size=(512, 16))
    assert held_bits(np.rint(signs * 2**14)) == pytest.approx(512 * 16, rel=0.01)
    assert held_bits(np.rint(normal * 2**12)) == 512 * 16 * 15
    low = np.rint(normal[:, :3] @ normal[:3] * 2**10)  # of rank 3
    assert held_bits(low) == 3 * (512 + 16 - 3) * 15


def test_rows_that_repeat_hold_what_one_of_each_does(clients):
    """60 rows ten times each: a fit of 64 dimensions would be all of them."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(60), 10)
    x, y = rng.normal(size=(60, 64))[which], rng.normal(size=(60, 16))[which]
    provider = FitProvider(y)
    provider.register(clients["guarded"].public_bundle())
    fit = FitClient(clients["guarded"], provider.offer.to_bytes(), x)
    with pytest.raises(ProtocolError, match="70% of the bits"):
        provider.absorb(next(fit.chunks()))
    integers = np.rint(y * 2**12)
    assert held_bits(integers) == pytest.approx(60 * 16 * 15 + 600 * np.log2(60))
    classes = np.eye(5)[rng.integers(0, 5, 2000)] * 2.0**14  # 2.3 bits a row
    assert held_bits(classes) < 2000 * np.log2(5) + 5 * 5 * 15


def test_constant_rows_hold_nothing(clients):
    x, y = make_rows()
    with pytest.raises(ProtocolError, match=r"100% of the bits .* and 0% were given"):
        begin_fit(clients["guarded"], x[:, :4], np.full_like(y, 3.0))
    assert held_bits(np.zeros((6, 3))) == 0
    few = np.rint(np.random.default_rng(0).normal(size=(20, 50)) * 2**12)
    assert held_bits(few - np.rint(few.mean(0))) == pytest.approx(
        20 * 50 * 15, rel=0.05
    )


def test_a_ledger_counts_though_the_state_is_gone(clients, tmp_path):
    x, y = make_rows()
    kept = {"share": 0.2}
    provider, _ = begin_fit(clients["guarded"], x, y, **kept)
    provider.save(tmp_path)
    list(provider.results())
    (tmp_path / "sums.npz").unlink()
    provider = FitProvider(y, **kept)
    provider.register(clients["guarded"].public_bundle())
    assert provider.restore(tmp_path) == 0
    fit = FitClient(clients["guarded"], provider.offer.to_bytes(), x)
    with pytest.raises(ProtocolError, match=r"1[678]% were given before"):
        provider.absorb(next(fit.chunks()))


def test_a_state_goes_with_its_ledger_identity_and_offer(clients, tmp_path):
    x, y = make_rows()
    client, x = clients["guarded"], x[:, :8]
    provider, _ = begin_fit(client, x, y, identity="a")
    for folder in ("a", "b"):  # the ledger lies in the first
        provider.save(tmp_path / folder)
    assert not (tmp_path / "a").stat().st_mode & 0o077  # sums are not masked
    list(provider.results())
    shutil.copy(tmp_path / "a" / "sums.npz", tmp_path / "alone.npz")
    given = [
        ({"identity": "a"}, "b", "the ledger"),
        ({"identity": "b"}, "a", "the identity"),
        ({"identity": "a", "precision": 8}, "a", "the offer"),
        ({"identity": "a", "ledger": Ledger()}, "a", "the ledger"),
    ]
    for settings, folder, wrong in given:
        other = FitProvider(y, **settings)
        other.register(client.public_bundle())
        with pytest.raises(ProtocolError, match=f"{wrong} of the fit in .* differs"):
            other.restore(tmp_path / folder)
    old = dict(np.load(tmp_path / "alone.npz"))
    del old["absorbed"]
    np.savez(tmp_path / "a" / "sums.npz", **old)
    other = FitProvider(y, identity="a")
    other.register(client.public_bundle())
    with pytest.raises(ProtocolError, match="absorbed"):
        other.restore(tmp_path / "a")


def test_a_ledger_that_cannot_be_kept_is_tried_again(clients, tmp_path):
    x, y = make_rows()
    provider, _ = begin_fit(clients["guarded"], x[:, :8], y)
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(ProtocolError, match="unable to open"):
        provider.save(tmp_path)
    (tmp_path / "ledger.db").rmdir()
    provider.save(tmp_path)
    assert (tmp_path / "ledger.db").is_file()


def test_means_before_a_key_are_refused_and_not_charged(clients):
    x, y = make_rows()
    provider = FitProvider(y)
    with pytest.raises(KeyRoleError, match="no client key is registered"):
        provider.mean_message()
    provider.register(clients["guarded"].public_bundle())
    fit = FitClient(clients["guarded"], provider.offer.to_bytes(), x)
    fit.read_mean(provider.mean_message())


@pytest.mark.parametrize(
    ("constant", "name"),
    cases(
        [(0.1, "guarded"), (3.0e38, "open"), (-1e-30, "compact"), (0.0, "open")],
        *((0.1, name) for name in ("open", "compact")),
        *((3.0e38, name) for name in ("guarded", "compact")),
        *((-1e-30, name) for name in ("guarded", "open")),
        *((0.0, name) for name in ("guarded", "compact")),
    ),
)
def test_a_constant_column_costs_the_others_nothing(clients, name, constant):
    """Its deviations are rounding, which is no unit to measure by."""
    x, y = make_rows()
    y[:, 4] = constant
    fit = play(clients[name], x, y, share=np.inf)
    error = np.abs(np.asarray(fit.moments().mean_y) - y.mean(0))
    assert error[4] <= 1e-3 * abs(constant) + 1e-80
    assert (np.delete(error, 4) <= 5e-3 * np.delete(y.std(0), 4)).all()


def test_an_acknowledgement_that_was_lost(clients):
    """The last message is made once; those before must have been made here."""
    x, y = make_rows()
    client = clients["guarded"]
    provider = FitProvider(y, **EXACT)
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    fit = FitClient(client, offer, x)
    message = next(fit.chunks())
    provider.absorb(message)
    assert next(fit.chunks()) == message
    fit.read(next(provider.results()))
    with pytest.raises(ProtocolError, match="were not made here"):
        next(FitClient(client, offer, x).chunks(1))
    for wrong in (-1, 2):
        with pytest.raises(ProtocolError, match=f"messages 0 to 0, not {wrong}"):
            next(fit.chunks(wrong))


@pytest.mark.parametrize(
    "changed",
    [
        {"exponents": np.full(TARGET, 301)},
        {"mean_bits": -3},
        {"mean_bits": 86},
        {"precision": 7},
        {"energy": 1e300},
        {"energy": np.nan},
        {"norm_bits": 99},
    ],
)
def test_offers_out_of_bounds(clients, changed):
    x, y = make_rows()
    offer = dataclasses.replace(FitProvider(y).offer, **changed)
    with pytest.raises(ProtocolError, match="out of bounds"):
        FitClient(clients["guarded"], offer.to_bytes(), x)


def test_a_flood_is_offered_by_guarded_profiles_only(clients):
    x, y = make_rows()
    offer = dataclasses.replace(FitProvider(y, profile="open").offer, precision=12)
    with pytest.raises(ProtocolError, match="out of bounds"):
        FitClient(clients["open"], offer.to_bytes(), x)


def test_two_processes_cannot_both_answer(clients, tmp_path):
    """The guard saw room for both; the ledger has it for one."""
    x, y = make_rows()
    ledger = Ledger(tmp_path / "ledger.db")
    both = [begin_fit(clients["guarded"], x, y, ledger=ledger) for _ in "ab"]
    list(both[0][0].results())
    with pytest.raises(ProtocolError, match="more are above"):
        both[1][0].results()


def test_threads_absorb_a_message_once(clients):
    x, y = make_rows()
    provider = FitProvider(y, **EXACT)
    provider.register(clients["guarded"].public_bundle())
    fit = FitClient(clients["guarded"], provider.offer.to_bytes(), x)
    (message,) = fit.chunks()
    refused = []

    def absorb():
        try:
            provider.absorb(message)
        except ProtocolError as wrong:
            refused.append(wrong)

    threads = [threading.Thread(target=absorb) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    fit.read_mean(provider.mean_message())
    for message in provider.results():
        fit.read(message)
    plain = accumulate([(x, y)])
    assert scaled_error(fit.moments().cov_xy, plain.cov_xy, x, y) < 2e-5


def test_messages_of_another_fit_are_not_read(clients):
    """The same key, sizes and offer; only the fit is another."""
    x, y = make_rows()
    client, sides = clients["guarded"], []
    for rows in (x, x[::-1]):
        provider, fit = begin_fit(client, rows, y, **EXACT)
        sides.append((provider, fit, provider.mean_message(), list(provider.results())))
    (_, fit, mean, results), (other, *_) = sides[1], sides[0]
    for read, message in (
        (sides[0][1].read_mean, mean),
        (sides[0][1].read, results[0]),
    ):
        with pytest.raises(ProtocolError, match="messages of other fits"):
            read(message)
    with pytest.raises(ProtocolError, match="messages of other fits"):
        other.absorb(next(fit.chunks()))


def test_results_of_other_rows_are_not_read(clients):
    """A message that was encrypted anew, and of which the provider has the first."""
    x, y = make_rows()
    provider, fit = begin_fit(clients["guarded"], x, y, **EXACT)
    fit._last = -1, b""  # as if it were not the last one
    next(fit.chunks())
    with pytest.raises(ProtocolError, match="other messages of rows than were sent"):
        fit.read(next(provider.results()))


def test_rank_projects_and_expands(clients):
    generator = np.random.default_rng(3)
    hidden = generator.normal(size=(ROWS, 8))
    x = hidden @ generator.normal(size=(8, WIDTH)) + 5
    y = hidden @ generator.normal(size=(8, TARGET))
    fit = play(clients["guarded"], x, y, rank=8, **EXACT)
    assert fit.moments().cov_xy.shape == (8, TARGET)
    affine = ridge_at(fit_ridge(fit.moments(), penalties=[1e-8]), 0).map
    wide = fit.expand(affine)
    assert wide.kernel.shape == (WIDTH, TARGET)
    assert np.abs(x @ wide.kernel + np.asarray(wide.bias) - y).max() < 1e-2


def test_masked_results_are_fresh_and_open_ones_are_not(clients):
    """The same sums sent twice: masked c1 differs everywhere, unmasked nowhere."""
    x, y = make_rows()
    for name, fresh in (("guarded", True), ("compact", False)):
        provider = FitProvider(y, profile=name)
        provider.register(clients[name].public_bundle())
        fit = FitClient(clients[name], provider.offer.to_bytes(), x)
        for message in fit.chunks():
            provider.absorb(message)
        made = provider._absorbed.plan, provider._absorbed.sums
        both = [b"".join(provider._results(*made)) for _ in range(2)]
        assert (both[0] != both[1]) == fresh


@pytest.mark.slow
def test_the_guard_and_the_order_of_messages(clients):
    x, y = make_rows()
    client = clients["guarded"]

    def begin(y=y, **kwargs):
        provider = FitProvider(y, **kwargs)
        return provider, FitClient(client, provider.offer.to_bytes(), x[: len(y)])

    provider, fit = begin()
    with pytest.raises(KeyRoleError, match="no client key is registered"):
        provider.absorb(next(fit.chunks()))
    provider.register(client.public_bundle())
    provider.register(client.public_bundle())
    with pytest.raises(KeyRoleError, match="make a FitProvider for each client"):
        provider.register(Client("guarded").public_bundle())
    with pytest.raises(ProtocolError, match="messages of rows are missing"):
        provider.results()
    message = next(fit.chunks())
    provider.absorb(message)
    with pytest.raises(ProtocolError, match="rows"):
        provider.absorb(message)
    list(provider.results())
    with pytest.raises(ProtocolError, match="was already given to client"):
        provider.results()
    with pytest.raises(ProtocolError, match="results are missing"):
        fit.moments()

    provider, fit = begin(y[:50])
    provider.register(client.public_bundle())
    with pytest.raises(ProtocolError, match=r"50 rows .* width 30 .* carry 51% of"):
        provider.absorb(next(fit.chunks()))
    assert provider.next_chunk == 0


def test_rows_must_be_the_same_texts(clients):
    x, y = make_rows()
    client, ids = clients["open"], [f"t{i}" for i in range(ROWS)]
    provider = FitProvider(y, ids=iter(ids), profile="open")
    offer = provider.offer.to_bytes()
    FitClient(client, offer, x, ids=ids)
    for wrong in (None, ids[::-1], [*ids[:-1], "t"]):
        with pytest.raises(ProtocolError, match="row ids are not those"):
            FitClient(client, offer, x, ids=wrong)
    with pytest.raises(ProtocolError, match="the provider has 150 rows"):
        FitClient(client, offer, x[:-1], ids=ids[:-1])


def test_bad_rows_are_refused(clients):
    x, y = make_rows()
    open_offer = FitProvider(y, profile="open").offer.to_bytes()
    for scale in (1e200, 1e-200):
        with pytest.raises(ValueError, match="scale y to numbers near 1"):
            FitProvider(y * scale)
        with pytest.raises(ValueError, match="scale x to numbers near 1"):
            FitClient(clients["open"], open_offer, x * scale)
    for wrong in (7, 21, 12.5):
        with pytest.raises(ValueError, match="precision must be from 8 to 20 bits"):
            FitProvider(y, precision=wrong)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="share must be positive"):
            FitProvider(y, share=wrong)
    with pytest.raises(ValueError, match="y must be finite"):
        FitProvider(np.where(y == y[3, 3], np.nan, y))
    with pytest.raises(ValueError, match=r"shape \[n, d_y\]"):
        FitProvider(y[:, 0])
    offer = FitProvider(y, profile="open").offer.to_bytes()
    with pytest.raises(ValueError, match="must be finite"):
        FitClient(clients["open"], offer, np.where(x == x[3, 3], np.inf, x))
    with pytest.raises(TypeError, match="real numbers"):
        FitClient(clients["open"], offer, x.astype(complex))
    with pytest.raises(ValueError, match="rank must be from 1 to 30"):
        FitClient(clients["open"], offer, x, rank=31)


@pytest.mark.slow
def test_constant_columns_and_float32(clients):
    x, y = make_rows()
    x[:, 3], y[:, 2] = 4.0, -1.0
    x, y = x.astype(np.float32), y.astype(np.float32)
    moments = play(clients["guarded"], x, y, **EXACT).moments()
    plain = accumulate([(x, y)])
    assert np.abs(np.asarray(moments.cov_xy)[:, 2]).max() < 1e-6
    # What hides errors stays in an entry that is zero: observed up to 2.1e-6.
    assert np.abs(np.asarray(moments.cov_xy)[3]).max() < 1e-5
    keep = np.ix_(np.arange(WIDTH) != 3, np.arange(TARGET) != 2)
    error = scaled_error(
        np.asarray(moments.cov_xy)[keep],
        np.asarray(plain.cov_xy)[keep],
        x[:, keep[0].ravel()],
        y[:, keep[1].ravel()],
    )
    assert error < 2e-5
