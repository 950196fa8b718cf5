"""Distributions, by chi-square: a right sampler fails once in 10^9 runs."""

import hashlib
import itertools
from typing import get_args

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from scipy import stats

from helix_jax.private import PROFILES, sampling

LEAST_P = 1e-9
# Of the seed 0, 1, ..., 31 of a query in profile "open".
KNOWN = [[2036233865, 2656126819, 814850503], [340600415, 506255407, 183899919]]
SIZE = 2**19


def fits(counts, probabilities) -> bool:
    expected = np.asarray(probabilities) * np.sum(counts)
    return stats.chisquare(counts, expected).pvalue > LEAST_P


def test_ternary():
    # So many that a byte of 256 values taken modulo 3 would be told from a fair one.
    values = sampling.ternary((8 * SIZE,))
    assert set(np.unique(values)) == {-1, 0, 1}
    assert fits(np.bincount(values + 1), [1 / 3] * 3)
    # Neighbours are independent.
    pairs = 3 * (values[::2] + 1) + values[1::2] + 1
    assert fits(np.bincount(pairs, minlength=9), [1 / 9] * 9)


def test_centred_binomial():
    values = sampling.centred_binomial((2, SIZE // 2)).reshape(-1)
    assert np.abs(values).max() <= sampling.ERROR_BOUND
    assert abs(values.mean()) < 6 * np.sqrt(sampling.ERROR_VARIANCE / SIZE)
    assert abs(values.var() / sampling.ERROR_VARIANCE - 1) < 0.015
    law = stats.binom(42, 0.5)
    inner = np.arange(-10, 11)
    counts = [(values == i).sum() for i in inner]
    counts += [(values < -10).sum(), (values > 10).sum()]
    probabilities = [*law.pmf(inner + 21), law.cdf(10), law.sf(31)]
    assert fits(counts, np.array(probabilities) / np.sum(probabilities))


@pytest.mark.parametrize("bits", [1, 8, 50, 62])
def test_uniform_bits(bits):
    values = sampling.uniform_bits(bits, (2, SIZE // 8)).reshape(-1)
    assert values.min() >= 0
    assert values.max() < 2**bits
    size = min(bits, 6)
    for part in (values & (2**size - 1), values >> (bits - size)):
        assert fits(np.bincount(part, minlength=2**size), [2.0**-size] * 2**size)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_uniform_residues(name):
    profile = PROFILES[name]
    values = sampling.uniform_residues(b"s" * 32, (3, 8), profile, "query")
    assert values.shape == (3, 8, len(profile.primes), profile.degree)
    for number, prime in enumerate(profile.primes):
        own = values[:, :, number].reshape(-1)
        assert own.min() >= 0
        assert own.max() < prime
        bins = np.array([int(value) * 64 // prime for value in own])
        edges = [-(-prime * i // 64) for i in range(65)]
        assert fits(np.bincount(bins, minlength=64), np.diff(edges) / prime)
        assert fits(np.bincount(own & 63, minlength=64), [1 / 64] * 64)


def test_uniform_residues_are_a_function_of_the_seed():
    profile = PROFILES["guarded"]
    seeds = b"a" * 32, b"a" * 32, b"b" + b"a" * 31
    one, same, other = (
        sampling.uniform_residues(seed, (2,), profile, "query") for seed in seeds
    )
    np.testing.assert_array_equal(one, same)
    assert (one == other).mean() < 1e-3
    # Nor do two polynomials, or two primes, of one seed agree.
    assert (one[0] == one[1]).mean() < 1e-3
    assert (one[:, 0] % 2**40 == one[:, 1] % 2**40).mean() < 1e-3


def test_the_keystream_is_that_of_the_standard():
    """RFC 8439, section 2.4.2: block 1 of the key 0, 1, ..., 31."""
    nonce = bytes.fromhex("000000000000004a00000000")
    found = sampling.keystream(bytes(range(32)), 128, int.from_bytes(nonce, "little"))
    assert found[64:].hex() == (
        "224f51f3401bd9e12fde276fb8631ded8c131f823d2c06e27e4fcaec9ef3cf78"
        "8a3b0aa372600a92b57974cded2b9334794cba40c63e34cdea212c4cf07d41b7"
    )


def test_secrets_differ():
    assert len({sampling.secret_bytes(16) for _ in range(100)}) == 100


def test_one_seed_gives_each_use_and_each_ring_its_own():
    """Primes are those of one ring in "open" and "swift"; their names are not."""
    uses = [("open", use) for use in get_args(sampling.Use)]
    found = [
        sampling.uniform_residues(bytes(32), (), PROFILES[name], use)
        for name, use in [*uses, ("swift", "key")]
    ]
    for one, other in itertools.combinations(found, 2):
        assert (one == other).mean() < 1e-3


def test_a_known_expansion():
    """Both sides must expand seeds alike, in every release: these never change."""
    seed = bytes(range(32))
    values = sampling.uniform_residues(seed, (), PROFILES["open"], "query")
    assert values[:, :3].tolist() == KNOWN
    key = hashlib.sha256(b"helix_jax uniform residues 1: query/open/" + seed).digest()
    for number, prime in enumerate(PROFILES["open"].primes):
        cipher = ChaCha20(key, bytes(4) + number.to_bytes(12, "little"))
        words = np.frombuffer(Cipher(cipher, None).encryptor().update(bytes(40)), "<u4")
        assert [word for word in words if word < prime][:3] == KNOWN[number]
