"""The arithmetic of an encrypted fit: integer matrices times ciphertexts, exactly.

Residues are cut into limbs of 28 bits, so that each product is exact in float64 (1,024
rows * 2^28 * 2^15 = 2^53) and runs at the speed of matrix multiplication; sums are
reduced modulo the primes after every message.
"""

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.private import answer_words, residues, sampling, wire
from helix_jax.private.fit_plan import FitPlan
from helix_jax.private.profiles import Profile
from helix_jax.types import Array

LIMB_BITS = 28


def limb_counts(profile: Profile) -> list[int]:
    """How many limbs a residue has, for each prime."""
    return [-(-prime.bit_length() // LIMB_BITS) for prime in profile.primes]


def block_turns(plan: FitPlan, profile: Profile) -> Array:
    """Values [R, L, N] of X^(-b m), which rotates block b to the front.

    Value i is psi^-((2 rev(i) + 1) b m), and psi^-N is -1.
    """
    inverses = residues.ring_of(profile).inverse_powers
    powers = np.concatenate([inverses, residues.column(profile) - inverses], axis=1)
    # The barrier keeps XLA from constant-folding what follows at compile time.
    odd = jax.lax.optimization_barrier(
        jnp.asarray(2 * residues.reversed_bits(plan.degree) + 1)
    )
    turns = jnp.arange(plan.blocks)[:, None] * plan.tile
    return jnp.moveaxis(jnp.asarray(powers)[:, turns * odd % (2 * plan.degree)], 0, 1)


def read_pairs(payload: memoryview, *, plan: FitPlan, profile: Profile) -> np.ndarray:
    """Ciphertexts [chunk, T, 2, L, N] int64 of a message of rows.

    Args:
      payload: a seed, then the first halves of all ciphertexts.
      plan: layout of the rows.
      profile: of the ring.

    Raises:
      ProtocolError: a residue is not below its prime.
    """
    seed = bytes(payload[: sampling.SEED_BYTES])
    count = plan.chunk * plan.tiles
    rest = payload[sampling.SEED_BYTES :]
    first = wire.unpack_residues(rest, count, profile, "rows")
    second = sampling.uniform_residues(seed, (count,), profile, "rows")
    shape = (plan.chunk, plan.tiles, len(profile.primes), plan.degree)
    return np.stack([first.reshape(shape), second.reshape(shape)], axis=2)


def add_rows(
    sums: list[Array],
    pairs: np.ndarray,
    weights: list[np.ndarray],
    *,
    plan: FitPlan,
    profile: Profile,
) -> list[Array]:
    """Add the products of one message of rows to the sums.

    Args:
      sums: each [J, T, 2, L, N] int64, for a group of J target columns; empty before
        the first message.
      pairs: of `read_pairs`.
      weights: each [R chunk, J] float64 integers of the same columns.
      plan: layout of the rows.
      profile: of the ring.
    """
    limbs = split_limbs(pairs, plan=plan, profile=profile)
    if not sums:
        zeros = (plan.tiles, 2, len(profile.primes), plan.degree)
        with jax.enable_x64(True):
            sums = [jnp.zeros((part.shape[1], *zeros), jnp.int64) for part in weights]
    return [
        add_products(before, part, limbs, profile=profile)
        for before, part in zip(sums, weights)
    ]


@residues.exact("plan", "profile")
def split_limbs(pairs: Array, *, plan: FitPlan, profile: Profile) -> list[Array]:
    """Limbs of the rotated ciphertexts: float64 [R chunk, limbs T 2 N] per prime."""
    turns = block_turns(plan, profile)[:, None, None, None]
    turned = residues.multiply(pairs[None], turns, residues.column(profile))
    rows = plan.blocks * plan.chunk
    limbs = []
    for number, count in enumerate(limb_counts(profile)):
        residue = turned[..., number, :].reshape(rows, -1)
        parts = [
            (residue >> (LIMB_BITS * limb)) & (2**LIMB_BITS - 1)
            for limb in range(count)
        ]
        limbs.append(jnp.concatenate(parts, axis=1).astype(jnp.float64))
    return limbs


@residues.exact("profile")
def add_products(
    sums: Array, weights: Array, limbs: list[Array], *, profile: Profile
) -> Array:
    """sums + weights' rotated ciphertexts, modulo the primes; sums [J, T, 2, L, N]."""
    weights = weights.T
    totals = []
    for number, prime in enumerate(profile.primes):
        products = jnp.matmul(
            weights, limbs[number], precision=jax.lax.Precision.HIGHEST
        ).astype(jnp.int64)
        count = limb_counts(profile)[number]
        total = sums[..., number, :]
        for limb, part in enumerate(jnp.split(products, count, axis=1)):
            part = residues.reduce(part.reshape(total.shape), jnp.asarray(prime))
            power = jnp.asarray(2 ** (LIMB_BITS * limb) % prime)
            part = residues.multiply(part, power, jnp.asarray(prime))
            total = residues.add(total, part, prime)
        totals.append(total)
    return jnp.stack(totals, axis=-2)


@residues.exact("plan", "profile")
def mask_sums(
    sums: Array,
    first: Array,
    second: Array,
    flood: Array,
    *,
    plan: FitPlan,
    profile: Profile,
) -> tuple[Array, ...]:
    """Words of results: [J, T, m] and [J, T, N]."""
    primes = residues.column(profile)
    total = residues.inverse_transform(sums, profile)
    shape = (-1, plan.tiles, *first.shape[1:])
    cut = total[:, :, 0, :, : plan.tile]
    zero = first.reshape(shape)[..., : plan.tile]
    cut = residues.add(residues.add(cut, zero, primes), flood, primes)
    other = residues.add(total[:, :, 1], second.reshape(shape), primes)
    return tuple(answer_words.to_words(part, profile) for part in (cut, other))


@residues.exact("profile")
def add_words(
    first: Array, message: Array, second: Array, *, profile: Profile
) -> tuple[Array, ...]:
    """Words of an encryption of zero plus a message: [A, N] and [A, N]."""
    own = residues.add(first, message, residues.column(profile))
    return tuple(answer_words.to_words(part, profile) for part in (own, second))


def pack_words(parts: tuple[Array, ...]) -> bytes:
    """Bytes of words, one array after the other."""
    return b"".join(
        wire.pack_integers(np.asarray(part), answer_words.WORD_BYTES) for part in parts
    )
