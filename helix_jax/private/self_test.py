"""A test of exact arithmetic on the current device, before anything is computed there.

Products of residues are exact if float64 quotients are right to about 2^-51 and int64
wraps at 2^64; products of a fit's matrices are exact if float64 sums below 2^53 are.
CPUs and GPUs do all three. On a device or with a compiler that does not (float64
emulated with fewer bits, sums in halves), results would be silently wrong, and so would
the masks that hide weights. So each kind of device answers questions with known
answers, once per process and profile, in a ring of the same primes and a small degree.
That takes about a second without JAX's compilation cache and a tenth of that with it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.private import residues
from helix_jax.private.fit_plan import KERNEL_BITS, MAX_BLOCK_ROWS
from helix_jax.private.fit_products import LIMB_BITS
from helix_jax.private.profiles import Profile
from helix_jax.types import Array

_SIDE = 96  # residues; all pairs of them are multiplied
_DEGREE = 64


def require_exact(profile: Profile) -> None:
    """Test a profile's arithmetic on the default device, if it was not tested yet.

    Raises:
      RuntimeError: the device computes wrongly.
    """
    device = jax.config.jax_default_device or jax.devices()[0]
    if isinstance(device, str):  # a platform
        device = jax.devices(device)[0]
    _tested(device.platform, device.device_kind, profile)


@functools.cache
def _tested(platform: str, kind: str, profile: Profile) -> None:
    refuse_wrong(find_wrong(profile), f"{kind} ({platform})", profile)


def refuse_wrong(wrong: list[str], device: str, profile: Profile) -> None:
    """Raise RuntimeError if the device computes anything wrongly."""
    if wrong:
        raise RuntimeError(
            f"{device} computes {', '.join(wrong)} of profile "
            f"{profile.name!r} wrongly: results would be wrong and weights not hidden. "
            "Use another device, such as JAX_PLATFORMS=cpu."
        )


def find_wrong(
    profile: Profile, compute: Callable[..., Mapping[str, Array]] | None = None
) -> list[str]:
    """The names of the operations that the default device computes wrongly.

    Args:
      profile: whose primes are used.
      compute: the function that answers the questions; None is `answer_questions`.
    """
    small = dataclasses.replace(profile, degree=_DEGREE)
    asked, expected = _questions(small)
    found = (compute or answer_questions)(asked, profile=small)
    return [
        name
        for name, answer in expected.items()
        if not np.array_equal(np.asarray(found[name]), answer)
    ]


class _Questions(NamedTuple):
    """Numbers to compute with.

    Attributes:
      a, b: [L, Q] int64, residues: all pairs of edges of the range and other values.
      dense: [L, N] int64, a polynomial.
      monomial: [L, N] int64, -3 X^place.
      rows: [8, ROWS] float64, integers of a fit's rows.
      limbs: [ROWS, 8] float64, limbs of residues.
      shares: [N] float64, dense / q.
    """

    a: np.ndarray
    b: np.ndarray
    dense: np.ndarray
    monomial: np.ndarray
    rows: np.ndarray
    limbs: np.ndarray
    shares: np.ndarray


@residues.exact("profile")
def answer_questions(asked: _Questions, *, profile: Profile) -> dict[str, Array]:
    """Compute, by name, the operations that every answer is made of."""
    primes = residues.column(profile)
    dense, monomial = (
        residues.transform(part, profile) for part in (asked.dense, asked.monomial)
    )
    polynomial = residues.near_product(dense, monomial, primes)
    sums = residues.near_product(8 * (asked.a - asked.b), asked.b, primes)
    off = residues.fractions(asked.dense, profile) - asked.shares
    return {
        "products": residues.multiply(asked.a, asked.b, primes),
        "products of sums": residues.reduce(sums, primes),
        "products of polynomials": residues.inverse_transform(polynomial, profile),
        "products of matrices": jnp.matmul(
            asked.rows, asked.limbs, precision=jax.lax.Precision.HIGHEST
        ),
        "fractions": jnp.abs(off) < 2.0**-48,
    }


def _questions(profile: Profile) -> tuple[_Questions, dict[str, np.ndarray]]:
    """The questions, and their answers computed with Python's integers."""
    generator = np.random.default_rng(0)  # nothing here is secret
    primes = residues.column(profile)
    edges = [
        [0, 1, 2, p // 2, p // 2 + 1, p - 2, p - 1]
        + [2**i - 1 for i in range(8, p.bit_length())]
        for p in profile.primes
    ]
    # Primes and edges are near powers of two, so random values catch more errors.
    others = generator.integers(0, primes, (len(primes), _SIDE))
    factors = np.array([[*one, *some][:_SIDE] for one, some in zip(edges, others)])
    a, b = np.broadcast_arrays(factors[:, :, None], factors[:, None])
    a, b = (part.reshape(len(primes), -1) for part in (a, b))
    dense = generator.integers(0, primes, (len(primes), profile.degree))
    monomial, place = np.zeros_like(dense), profile.degree // 3
    monomial[:, place] = primes[:, 0] - 3
    turned = np.concatenate([-dense[:, -place:], dense[:, :-place]], axis=1)
    rows = generator.integers(
        -(2**KERNEL_BITS), 2**KERNEL_BITS + 1, (8, MAX_BLOCK_ROWS)
    )
    rows[0], rows[1] = 2**KERNEL_BITS, -(2**KERNEL_BITS)
    limbs = generator.integers(0, 2**LIMB_BITS, (MAX_BLOCK_ROWS, 8))
    limbs[:, 0] = 2**LIMB_BITS - 1
    whole: Any = 0  # becomes a numpy array of Python integers at the first prime
    modulus = profile.modulus
    for prime, row in zip(profile.primes, dense.astype(object)):
        rest = modulus // prime
        whole = whole + row * (rest * pow(rest, -1, prime))
    shares = np.array([value % modulus / modulus for value in whole])
    asked = _Questions(
        a, b, dense, monomial, rows.astype(float), limbs.astype(float), shares
    )
    wide = [part.astype(object) for part in (a, b, turned)]
    answers = {
        "products": wide[0] * wide[1] % primes,
        "products of sums": 8 * (wide[0] - wide[1]) * wide[1] % primes,
        "products of polynomials": -3 * wide[2] % primes,
        "products of matrices": rows @ limbs,
        "fractions": np.ones(profile.degree, bool),
    }
    return asked, {name: part.astype(np.int64) for name, part in answers.items()}
