"""Arithmetic on residues equals Python integers, bit for bit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.private import PROFILES, Profile, residues, sampling

from .twins import inverse_transform, lift, multiply, negacyclic, reduce, transform

names = pytest.mark.parametrize("name", sorted(PROFILES))
fractions = residues.exact("profile")(residues.fractions)
reduce_any = residues.exact()(residues.reduce)
TINY = Profile("tiny", 99, 8, (97, 17), 0)


def random_residues(profile: Profile, seed: int) -> np.ndarray:
    return sampling.uniform_residues(bytes([seed]) * 32, (), profile, "query")


@names
def test_transform_is_evaluation(name):
    profile = PROFILES[name]
    n = profile.degree
    a = random_residues(profile, 1)
    values = np.asarray(transform(a, profile=profile))
    bits = n.bit_length() - 1
    for number, prime in enumerate(profile.primes):
        psi = residues.smallest_root(prime, n)
        assert pow(psi, n, prime) == prime - 1
        coefficients = [int(c) for c in a[number]]
        for i in (0, 1, 2, n // 2, n - 1, 1234):
            point = pow(psi, 2 * int(f"{i:0{bits}b}"[::-1], 2) + 1, prime)
            value = 0
            for coefficient in reversed(coefficients):
                value = (value * point + coefficient) % prime
            assert int(values[number, i]) == value


def test_smallest_root_by_trial():
    for prime, degree in ((17, 8), (97, 16), (257, 128), (12289, 64)):
        roots = [r for r in range(prime) if pow(r, degree, prime) == prime - 1]
        assert residues.smallest_root(prime, degree) == min(roots)


@names
def test_inverse_of_transform(name):
    profile = PROFILES[name]
    a = random_residues(profile, 2)
    a[:, :3] = [[0, 1, prime - 1] for prime in profile.primes]
    there = transform(a, profile=profile)
    np.testing.assert_array_equal(inverse_transform(there, profile=profile), a)
    here = inverse_transform(a, profile=profile)
    np.testing.assert_array_equal(transform(here, profile=profile), a)


@names
def test_products_are_negacyclic(name):
    profile = PROFILES[name]
    a, b = random_residues(profile, 3), random_residues(profile, 4)
    a[:, -1] = np.array(profile.primes) - 1
    values = [transform(part, profile=profile) for part in (a, b)]
    product = multiply(*values, residues.column(profile))
    found = np.asarray(inverse_transform(product, profile=profile))
    for number, prime in enumerate(profile.primes):
        np.testing.assert_array_equal(
            found[number], negacyclic(a[number], b[number], prime)
        )


def test_products_by_schoolbook():
    """The long integers of the twin, against the definition."""
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 97, (2, 8))
    expected = np.zeros(8, int)
    for i in range(8):
        for j in range(8):
            sign = 1 if i + j < 8 else -1
            expected[(i + j) % 8] += sign * a[i] * b[j]
    np.testing.assert_array_equal(negacyclic(a, b, 97), expected % 97)
    values = [transform(reduce(part, TINY), profile=TINY) for part in (a, b)]
    product = multiply(*values, residues.column(TINY))
    found = lift(inverse_transform(product, profile=TINY), TINY)
    np.testing.assert_array_equal(found % 97, expected % 97)


@pytest.mark.parametrize(
    "prime", sorted({p for o in PROFILES.values() for p in o.primes})
)
def test_multiply_and_reduce_are_exact(prime):
    generator = np.random.default_rng(prime)
    edges = np.array([0, 1, 2, prime // 2, prime // 2 + 1, prime - 2, prime - 1])
    a = np.concatenate([np.repeat(edges, 7), generator.integers(0, prime, 20_000)])
    b = np.concatenate([np.tile(edges, 7), generator.integers(0, prime, 20_000)])
    # Products just above and below multiples of p are where a float quotient errs.
    near = [pow(int(x), -1, prime) for x in a[49:249]]
    a, b = np.concatenate([a, a[49:249]]), np.concatenate([b, near])
    primes = np.array(prime)
    expected = (a.astype(object) * b.astype(object) % prime).astype(np.int64)
    np.testing.assert_array_equal(multiply(a, b, primes), expected)
    wide = generator.integers(-(2**62), 2**62, 20_000)
    wide[:4] = [-(2**62), 2**62 - 1, -1, 0]
    expected = (wide.astype(object) % prime).astype(np.int64)
    np.testing.assert_array_equal(reduce_any(wide, primes), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.floats(-(2.0**20), 2.0**20, allow_subnormal=False), min_size=1, max_size=6
    ),
    st.integers(-10, 80),
)
def test_scaled_residues_round_exactly(values, bits):
    profile = PROFILES["guarded"]
    padded = np.zeros(6)
    padded[: len(values)] = values
    found = lift(residues.scaled_residues(padded, bits, profile), profile)
    exact = [round(Fraction(value) * Fraction(2) ** bits) for value in padded]
    assert found.tolist() == exact


@pytest.mark.parametrize("bits", [0, 59, 60, 61, 100])
def test_scaled_residues_at_edges(bits):
    """Halves go to even, and the low bits of large numbers are not lost."""
    profile = PROFILES["wide"]
    values = np.array(
        [0.5, 1.5, -0.5, -2.5, 1 + 2.0**-52, -1 + 2.0**-53, 0.0, 2.0**-70]
    )
    values = values * 2.0 ** min(0, 100 - bits)
    found = lift(residues.scaled_residues(values, bits, profile), profile)
    exact = [round(Fraction(value) * Fraction(2) ** bits) for value in values]
    assert found.tolist() == exact


def test_split_residues():
    profile = PROFILES["wide"]
    high = np.array([0, 1, -1, 2**50, -(2**50)])
    low = np.array([0, 2**40, -1, 2**50 - 1, 7])
    for low_bits in (0, 1, 50):
        found = lift(residues.split_residues(high, low, low_bits, profile), profile)
        exact = [int(h) * 2**low_bits + int(v) for h, v in zip(high, low)]
        assert found.tolist() == exact


@names
def test_fractions_of_the_modulus(name):
    profile = PROFILES[name]
    q = profile.modulus
    generator = np.random.default_rng(0)
    numbers = [0, 1, q - 1, q // 2, q // 3]
    numbers += [int(f * 2**40) * q // 2**40 for f in generator.random(200)]
    found = np.asarray(fractions(reduce(np.array(numbers), profile), profile=profile))
    assert found.min() >= 0
    assert found.max() < 1
    for number, value in zip(numbers, found):
        off = abs(Fraction(value) - Fraction(number, q))
        assert min(off, 1 - off) < 2.0**-50
