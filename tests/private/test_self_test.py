"""The self-test passes here, and finds arithmetic that is wrong."""

import jax
import numpy as np
import pytest

from helix_jax.private import PROFILES, residues, self_test


@pytest.mark.parametrize("name", ["guarded", "open"])
def test_this_device_is_exact(name):
    """Primes of 53 and of 32 bits, which are multiplied in two ways."""
    assert self_test.find_wrong(PROFILES[name]) == []
    with jax.default_device(jax.devices()[0]):
        self_test.require_exact(PROFILES[name])


def shortened(values, bits):
    """Floats as a device has them that emulates float64 by fewer bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


def device_of(bits):
    """Answers of a device whose quotients have so many bits: `multiply` in numpy."""

    def compute(asked, *, profile):
        primes = residues.column(profile)
        ratio = shortened(asked.b / primes, bits)
        quotient = np.rint(shortened(asked.a * ratio, bits)).astype(np.int64)
        rest = asked.a * asked.b - quotient * primes  # wraps
        quotient = np.floor(shortened(rest / primes, bits)).astype(np.int64)
        rest -= quotient * primes
        rest = np.where(rest < 0, rest + primes, rest)
        rest = np.where(rest >= primes, rest - primes, rest)
        right = self_test.answer_questions(asked, profile=profile)
        return right | {"products": rest}

    return compute


def test_floats_of_fewer_bits_are_found_out():
    profile = PROFILES["guarded"]
    assert self_test.find_wrong(profile, device_of(53)) == []
    assert self_test.find_wrong(profile, device_of(36)) == ["products"]


def test_sums_of_fewer_bits_are_found_out():
    def compute(asked, *, profile):
        right = self_test.answer_questions(asked, profile=profile)
        limbs = asked.limbs.astype(np.float32).astype(float)
        return right | {"products of matrices": asked.rows @ limbs}

    found = self_test.find_wrong(PROFILES["guarded"], compute)
    assert found == ["products of matrices"]


def test_a_device_that_computes_wrongly_is_refused_by_name():
    profile = PROFILES["guarded"]
    wrong = self_test.find_wrong(profile, device_of(36))
    with pytest.raises(RuntimeError, match="TPU v0 computes products of profile 'gua"):
        self_test.refuse_wrong(wrong, "TPU v0", profile)
    self_test.refuse_wrong([], "TPU v0", profile)
