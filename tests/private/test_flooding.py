"""The flooding bound: its constant, small cases by enumeration, and exact draws."""

import itertools

import numpy as np
import pytest

from helix_jax.private import PROFILES, flooding, packing, residues, sampling
from helix_jax.private.key_proof_sizes import extracted_norms
from helix_jax.private.profiles import Profile

from .twins import lift

LIMIT = 0.778931  # of S R^2: a quarter of the Fisher information of four uniforms' sum


def flood_pmf(r: int) -> np.ndarray:
    """Probabilities of the sum of four uniform integers below R; counts are exact."""
    counts = np.ones(1)
    for _ in range(4):
        counts = np.convolve(counts, np.ones(r))
    assert counts.sum() == float(r) ** 4
    return counts / float(r) ** 4


def constant(r: int) -> float:
    roots = np.sqrt(np.concatenate([[0], flood_pmf(r), [0]]))
    return float((np.diff(roots) ** 2).sum()) * r**2


def test_constant_of_the_bound():
    found = [constant(2**bits) for bits in range(2, 13)]
    assert max(found) <= 1
    assert sorted(found, reverse=True) == found
    assert 0 < found[-1] - LIMIT < 1e-5


@pytest.mark.parametrize("bits", [2, 4])
def test_total_variation_of_joint_shifts(bits):
    r = 2**bits
    pmf = flood_pmf(r)
    for shift in itertools.product(range(-2, 3), repeat=2):
        size = len(pmf) + 4
        laws = []
        for moves in ((0, 0), shift):
            parts = []
            for move in moves:
                part = np.zeros(size)
                part[2 + move : 2 + move + len(pmf)] = pmf
                parts.append(part)
            laws.append(np.multiply.outer(*parts))
        variation = np.abs(laws[0] - laws[1]).sum() / 2
        norm = np.hypot(*shift)
        assert variation <= np.sqrt(constant(r)) / r * norm + 1e-12
        assert variation <= norm / r + 1e-12
        if norm:  # and the bound is not idle
            assert variation > 0.2 * min(1, norm / r)


def test_bits_hide_the_shift():
    for shift in (0.0, 1.0, 3.5, 2.0**30, 2.0**30 + 1):
        bits = flooding.flood_bits(shift, 40)
        assert max(shift, 1.0) / 2.0**bits <= 2.0**-40
        assert max(shift, 1.0) / 2.0 ** (bits - 1) > 2.0**-40


@pytest.mark.parametrize(
    ("width", "classes", "tiles"), [(4, 16, 1), (10, 7, 2), (3, 40, 1)]
)
def test_the_shift_bound_is_met_by_the_worst_errors(width, classes, tiles):
    """Errors fill all coefficients: |w', e| reaches 21 times all weights of an answer,
    and passes 21 times the weights of one row."""
    profile = Profile("tiny", 99, 64, (12289,), 0)
    plan = packing.plan_tiles(width, classes, profile, tiles)
    generator = np.random.default_rng(0)
    kernel = generator.integers(-9, 10, (width, classes))
    kernel[kernel == 0] = 1
    norms = packing.answer_norms(np.abs(kernel).sum(axis=0), plan, order=1)
    packed = packing.pack_kernel(kernel, plan)
    for result in range(classes):
        answer, row = divmod(result, plan.rows)
        position = plan.positions[row]
        index = (position - np.arange(64)) % 64
        sign = np.where(np.arange(64) <= position, 1, -1)
        # e such that every product w_j e_(position - j) is positive
        errors = np.zeros((plan.tiles, 64), int)
        errors[:, index] = sampling.ERROR_BOUND * np.sign(packed[answer]) * sign
        shift = (packed[answer] * sign * errors[:, index]).sum()
        assert shift == sampling.ERROR_BOUND * norms[result]
    rows = np.abs(kernel).sum(axis=0)
    assert (norms >= rows).all()
    assert plan.rows == 1 or norms.max() > rows.max()
    least = np.linalg.norm(np.hypot(21 * norms, flooding.mask_noise(profile)))
    assert least <= flooding.shift_bound(norms, profile) <= least * (1 + 1e-6)


def test_the_noise_of_masks_under_the_worst_key_is_of_its_bound():
    """e'' u + s'' e1 + 2 e0 with s'' and e'' of all that a proof allows."""
    profile, n, draws = Profile("tiny", 99, 16, (12289,), 40), 16, 2000
    secret, errors = (
        norm * np.ones(n) / np.sqrt(n) for norm in extracted_norms(profile)
    )
    u = sampling.ternary((draws, n))
    e0, e1 = (sampling.centred_binomial((draws, n)) for _ in range(2))

    def times(one, others):
        rows = [np.concatenate([-one[n - j :], one[: n - j]]) for j in range(n)]
        return others @ np.stack(rows)

    noise = times(errors, u) + times(secret, e1) + 2 * e0
    size = np.sqrt((noise**2).mean())
    assert 0.9 < size / flooding.mask_noise(profile) < 1.1  # 1.00 to 1 part in 100


@pytest.mark.parametrize("bits", [1, 5, 40, 50, 51, 78, 97])
def test_floods_are_exact_integers(bits, monkeypatch):
    """Modulo every prime they are one integer: the sum of the four that were drawn."""
    profile, drawn = PROFILES["guarded"], []
    draw = sampling.uniform_bits

    def record(size, shape):
        drawn.append((size, draw(size, shape)))
        return drawn[-1][1]

    monkeypatch.setattr(sampling, "uniform_bits", record)
    found = lift(flooding.draw_flood(bits, (2, 500), profile), profile)
    total, above = 0, 0
    for size, values in drawn:
        total = total + values.astype(object).sum(axis=0) * 2**above
        above += size
    assert above == bits
    assert (found == total - 2 * (2**bits - 1)).all()
    assert np.abs(found).max() <= 2 * (2**bits - 1)


def test_floods_have_their_spread_and_all_bits():
    profile, r = PROFILES["guarded"], 2**78
    found = lift(flooding.draw_flood(78, (4, 1000), profile), profile).reshape(-1)
    scaled = (found / r).astype(float)
    assert abs(scaled.mean()) < 6 * 3**-0.5 / 4000**0.5
    assert abs(scaled.std() * 3**0.5 - 1) < 0.1
    # A float64 flood would have zeros in its low 25 bits.
    low = (found % 16).astype(int)
    assert np.bincount(low, minlength=16).min() > 100


def test_floods_beyond_a_word_are_exact():
    """High and low parts of 104 bits, joined modulo each prime, as big integers are."""
    profile = PROFILES["guarded"]
    generator = np.random.default_rng(0)
    high = generator.integers(-(2**56), 2**56, (1, 256))
    low = generator.integers(0, 2**52, (1, 256))
    found = residues.split_residues(high, low, 50, profile)
    for number, prime in enumerate(profile.primes):
        pairs = zip(high[0].tolist(), low[0].tolist())
        wanted = [(a * 2**50 + b) % prime for a, b in pairs]
        assert found[0, number].tolist() == wanted
    for bits in (-1, 105):
        with pytest.raises(ValueError, match="bits must be from 0 to 104"):
            flooding.draw_flood(bits, (1, 4), profile)
