"""Parameters are sound, within the security table, and those that SEAL makes."""

import math
import warnings

import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private import PROFILES
from helix_jax.private.profiles import find_profile

names = pytest.mark.parametrize("name", sorted(PROFILES))


def is_prime(n: int) -> bool:
    """Miller and Rabin with the bases that decide every n below 3.3e24."""
    if n < 2 or any(n % p == 0 for p in (2, 3, 5, 7, 11, 13)):
        return n in (2, 3, 5, 7, 11, 13)
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        if not any((x := x * x % n) == n - 1 for _ in range(twos - 1)):
            return False
    return True


@names
def test_primes(name):
    profile = PROFILES[name]
    assert len(set(profile.primes)) == len(profile.primes)
    for prime, size in zip(profile.primes, profile.residue_bytes):
        assert is_prime(prime)
        assert prime % (2 * profile.degree) == 1
        assert prime < 2**56
        assert 256 ** (size - 1) < prime < 256**size
    assert profile.modulus == math.prod(profile.primes)


@names
def test_security_table(name):
    """Limits of the standard's table 1; costs are in attacks/test_lattice_cost.py."""
    profile, classical = PROFILES[name], {2048: 54, 4096: 109}
    quantum = {2048: 51, 4096: 101}
    limit = classical if name == "wide" else quantum
    assert math.log2(profile.modulus) <= limit[profile.degree]
    assert profile.guarded == (profile.statistical_bits > 0)


def test_names_and_codes():
    assert all(profile.name == name for name, profile in PROFILES.items())
    assert len({profile.code for profile in PROFILES.values()}) == len(PROFILES)
    assert find_profile("open") is PROFILES["open"]
    with pytest.raises(ProtocolError, match=r"unknown profile 'loose'.*guarded"):
        find_profile("loose")


@names
def test_seal_makes_the_same_primes(name):
    Pyfhel = pytest.importorskip("Pyfhel").Pyfhel
    profile = PROFILES[name]
    seal = Pyfhel()
    sizes = [prime.bit_length() for prime in profile.primes]
    with warnings.catch_warnings():  # about rescaling, which nothing here does
        warnings.simplefilter("ignore")
        seal.contextGen("CKKS", n=profile.degree, scale=2.0**20, qi_sizes=sizes)
    assert tuple(seal.qi) == profile.primes
