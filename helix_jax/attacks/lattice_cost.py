"""The cost of finding a secret key by lattice reduction: log2 of operations.

A public key (b, a), b = e - a s, is N samples of LWE of dimension N modulo q. With s
scaled to the size of e, (s, e) is a short vector of a lattice of dimension d and volume
q^m xi^N, m = d - N - 1. BKZ with block size beta brings its basis to the profile of the
geometric series assumption, with root Hermite factor

    delta = (beta (pi beta)^(1 / beta) / (2 pi e))^(1 / (2 (beta - 1)))

and finds that vector (`unique_shortest`) once its projection on the last block is no
longer than the block's own shortest, or finds it by one more sieve in eta > beta
dimensions (`bounded_distance`). The lattice estimator calls these attacks usvp and bdd.
Attacks on the dual lattice and by guessing are not computed here; for N = 8192 and
log2 q = 226 the estimator's manual gives them 121.8 bits, and these need 121.3.

Reference: Albrecht, Player, Scott 2015, eprint 2015/046; Alkim, Ducas, Poppelmann,
  Schwabe 2016, eprint 2015/1092, section 6.3 (when BKZ succeeds); Ducas 2018, eprint
  2017/999 (dimensions for free).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from helix_jax.private import sampling
from helix_jax.private.profiles import Profile

Model = Callable[[int, int], float]


class LWE(NamedTuple):
    """One instance of learning with errors.

    Attributes:
      dimension: of the secret, n.
      log_modulus: log2 q.
      secret: standard deviation of the secret's coefficients.
      error: standard deviation of the errors.
      samples: most samples that an attack may use.
    """

    dimension: int
    log_modulus: float
    secret: float
    error: float
    samples: int


class Cost(NamedTuple):
    """The cheapest parameters of an attack.

    Attributes:
      bits: log2 of its operations.
      block: beta of BKZ.
      sieve: eta of the last sieve; zero where there is none.
      dimension: d of the lattice.
    """

    bits: float
    block: int
    sieve: int
    dimension: int


def instance(profile: Profile) -> LWE:
    """The LWE instance of a profile's public key, with samples in plenty.

    Encryptions under one key are further samples of the same secret.
    """
    return LWE(
        profile.degree,
        math.log2(profile.modulus),
        math.sqrt(2 / 3),
        math.sqrt(sampling.ERROR_VARIANCE),
        4 * profile.degree,
    )


def classical(block: int, dimension: int) -> float:
    """log2 operations of BKZ by the model of MATZOV 2022, list decoding.

    Reference: zenodo.6412487, the lattice estimator's default. The dimensions for
    free are those of Kyber's authors.
    """
    slope, constant = 0.29613500308205365, 20.387885985467914
    free = block * math.log(4 / 3) / math.log(block / (2 * math.pi * math.e))
    calls = -2 * math.log2(1 - 2**-slope) + math.log2(max(dimension - block, 1))
    return slope * (block - free) + constant + calls


def quantum(block: int, dimension: int) -> float:
    """log2 operations of BKZ with a quantum sieve.

    Reference: Laarhoven, Mosca, van de Pol 2015, eprint 2014/907, in the form of the
      Homomorphic Encryption Security Standard (Albrecht et al. 2018).
    """
    return 0.265 * block + 16.4 + math.log2(8 * dimension)


def unique_shortest(problem: LWE, model: Model = classical) -> Cost:
    """Cost of BKZ alone, with the smallest block that succeeds.

    Raises:
      ValueError: no block below 2,000 does.
    """
    first = problem.dimension + 2
    dimensions = np.arange(first, first + problem.samples, dtype=np.int64)
    roots = _log_root_volume(problem, dimensions)
    for block in range(60, 2000):
        reach = _log_delta(block) * (2 * block - dimensions - 1) + roots
        short = 0.5 * math.log2(problem.error**2 * (block - 1) + 1)
        succeeds = np.flatnonzero(reach >= short)
        if len(succeeds):
            dimension = int(dimensions[succeeds[0]])
            return Cost(model(block, dimension), block, 0, dimension)
    raise ValueError(f"no block below 2000 finds the key of {problem}.")


def bounded_distance(problem: LWE, model: Model = classical) -> Cost:
    """Cost of BKZ with smaller blocks and one sieve in more dimensions."""
    start = unique_shortest(problem, model)
    best = start
    spread = problem.dimension // 16
    most = problem.dimension + 1 + problem.samples
    for dimension in range(
        max(start.dimension - spread, problem.dimension + 2),
        min(start.dimension + spread, most) + 1,
        max(spread // 16, 1),
    ):
        root = _log_root_volume(problem, np.array(dimension))
        for block in range(start.block - 30, start.block + 1):
            sieve = _sieve(problem, block, dimension, float(root))
            parts = model(block, dimension), model(sieve, sieve)
            bits = float(np.logaddexp2(*parts))
            if bits < best.bits:
                best = Cost(bits, block, sieve, dimension)
    return best


def _sieve(problem: LWE, block: int, dimension: int, root: float) -> int:
    """Least eta whose last block holds the projected secret as its shortest vector."""
    log_delta = _log_delta(block)
    for eta in range(block, dimension):
        # The last eta lengths of the geometric series, and their ball.
        tail = root + log_delta * (eta - dimension)
        ball = math.lgamma(eta / 2 + 1) / (eta * math.log(2)) - math.log2(math.pi) / 2
        if 0.5 * math.log2(problem.error**2 * eta) <= ball + tail:
            return eta
    return dimension


def _log_root_volume(problem: LWE, dimensions: np.ndarray) -> np.ndarray:
    """log2 of the d-th root of the volume, the secret scaled to the error's size."""
    scale = max(math.log2(problem.error / problem.secret), 0.0)
    moduli = problem.log_modulus * (dimensions - problem.dimension - 1)
    return (scale * problem.dimension + moduli) / dimensions


def _log_delta(block: int) -> float:
    """log2 of the root Hermite factor."""
    ratio = math.log2(math.pi * block) / block
    ratio += math.log2(block / (2 * math.pi * math.e))
    return ratio / (2 * (block - 1))
