"""A provider's computation on residues: products, masks, and the words of answers.

    answer = words( w c + mask ),   c = (c0, c1) the client's ciphertexts

in three steps: multiply residues in the transformed domain and sum over tiles; go back
to coefficients, and keep in c0 only those that hold results; add a fresh encryption of
bias plus flood, and round every number from q to 40 bits. In a profile that does not
round, the first step and the bias are all.

Reference: Paillier-style re-randomisation for CKKS: ours, see `flooding`. Modulus
  switching: Brakerski, Gentry, Vaikuntanathan 2012, eprint 2011/277, section 3.1.
"""

import jax
import jax.numpy as jnp

from helix_jax.private import answer_words, residues
from helix_jax.private.packing import Plan
from helix_jax.private.profiles import Profile
from helix_jax.types import Array


@residues.exact("plan", "profile")
def mask_results(
    zeros: Array, bias: Array, flood: Array, *, plan: Plan, profile: Profile
) -> Array:
    primes = residues.column(profile)
    first = residues.add(zeros[..., plan.positions], flood, primes)
    return residues.add(first, bias, primes)


@residues.exact("plan", "profile")
def transform_bias(bias: Array, *, plan: Plan, profile: Profile) -> Array:
    """Residues [A, L, r] at the results' coefficients, transformed: [A, L, N]."""
    whole = jnp.zeros((*bias.shape[:2], plan.degree), jnp.int64)
    whole = whole.at[..., plan.positions].set(bias)
    return jax.lax.map(lambda one: residues.transform(one, profile), whole)


def _multiply(weights: Array, queries: Array, profile: Profile) -> Array:
    """Products summed over tiles, residues [B, A, 2, L, N], transformed.

    weights [A, T, L, N] and queries [B, T, 2, L, N] transformed.
    """
    primes, tiles = residues.column(profile), weights.shape[1]

    def add_tile(tile: Array, total: Array) -> Array:
        own, pairs = (
            jax.lax.dynamic_index_in_dim(part, tile, 1, keepdims=False)
            for part in (weights, queries)
        )
        own = own.astype(jnp.int64)[None, :, None]
        return total + residues.near_product(pairs[:, None], own, primes)

    shape = (queries.shape[0], weights.shape[0], 2, *weights.shape[2:])
    total = jnp.zeros(shape, jnp.int64)
    total = jax.lax.fori_loop(0, tiles, add_tile, total, unroll=min(tiles, 4))
    return residues.reduce(total, primes)


@residues.exact("profile")
def products_of(
    weights: Array, queries: Array, bias: Array, *, profile: Profile
) -> Array:
    """Answers left transformed: residues [B, A, 2, L, N]; bias [A, L, N]."""
    total = _multiply(weights, queries, profile)
    first = residues.add(total[:, :, 0], bias, residues.column(profile))
    both = jnp.stack([first, total[:, :, 1]], axis=2)
    return both.astype(jnp.uint32) if max(profile.primes) < 2**32 else both


@residues.exact("plan", "profile")
def words_of(
    weights: Array,
    queries: Array,
    mask_firsts: Array,
    mask_seconds: Array,
    *,
    plan: Plan,
    profile: Profile,
) -> tuple[Array, ...]:
    """Words of answers, [B, A, r] and [B, A, N]; masks in coefficients."""
    primes = residues.column(profile)
    total = _multiply(weights, queries, profile)
    total = residues.inverse_transform(total, profile)
    first = residues.add(total[:, :, 0][..., plan.positions], mask_firsts, primes)
    second = residues.add(total[:, :, 1], mask_seconds, primes)
    return tuple(answer_words.to_words(part, profile) for part in (first, second))
