"""The unprotected provider, and what a client can see of queries and answers.

    raw answer = (w c0, w c1),   c = (c0, c1) the client's ciphertexts

complete, with every coefficient and every bit: what the examples of SEAL, Pyfhel and
TenSEAL return. The provider's answer under a profile is this plus a mask, cut to the
results and rounded to 40-bit words.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.private import (
    Client,
    Layer,
    Provider,
    answer_words,
    packing,
    residues,
    wire,
)
from helix_jax.private.internals import secret_key, transformed_weights
from helix_jax.private.packing import Plan
from helix_jax.private.profiles import Profile
from helix_jax.private.sampling import SEED_BYTES, uniform_residues
from helix_jax.private.signatures import SIGNATURE_BYTES
from helix_jax.types import Array


class QueryParts(NamedTuple):
    """A query as ciphertexts.

    Attributes:
      first, second: [T, L, N] int64, transformed.
    """

    first: np.ndarray
    second: np.ndarray


class RawAnswer(NamedTuple):
    """Whole product ciphertexts.

    Attributes:
      first, second: [A, L, N] int64, transformed.
    """

    first: np.ndarray
    second: np.ndarray


class AnswerWords(NamedTuple):
    """An answer as it is sent.

    Attributes:
      results: [A, r] int64 below 2^40, the first part at the results' coefficients.
      second: [A, N] int64 below 2^40.
    """

    results: np.ndarray
    second: np.ndarray


def read_query(query: bytes, layer: Layer) -> QueryParts:
    """The ciphertexts in the message of one query; both sides know them."""
    profile, tiles = layer.profile, layer.plan.tiles
    payload = wire.read(query, "query", profile, binding=None).payload
    seed, rest = bytes(payload[:SEED_BYTES]), payload[SEED_BYTES:-SIGNATURE_BYTES]
    first = wire.unpack_residues(rest, tiles, profile, "query")
    return QueryParts(first, uniform_residues(seed, (tiles,), profile, "query"))


def raw_answer(provider: Provider, query: bytes) -> RawAnswer:
    """The product of a provider's weights and a query, unprotected."""
    layer = provider.layer
    parts = np.stack(read_query(query, layer))
    found = [
        np.asarray(_products(weights, parts, profile=layer.profile))
        for weights in transformed_weights(provider)
    ]
    both = np.concatenate(found, axis=1)[:, : layer.plan.answers]
    return RawAnswer(both[0], both[1])


@residues.exact("profile")
def _products(weights: Array, parts: Array, *, profile: Profile) -> Array:
    """[2, A, L, N]: weights [A, T, L, N] times parts [2, T, L, N], summed over T."""
    primes = residues.column(profile)

    def add_tile(total: Array, tile: tuple[Array, Array]) -> tuple[Array, None]:
        own, pair = tile
        return residues.add(
            total, residues.multiply(own[None], pair[:, None], primes), primes
        ), None

    tiles = jnp.moveaxis(weights, 1, 0), jnp.moveaxis(parts, 1, 0)
    shape = (2, weights.shape[0], *weights.shape[2:])
    return jax.lax.scan(add_tile, jnp.zeros(shape, jnp.int64), tiles)[0]


def read_answer(answer: bytes, layer: Layer) -> AnswerWords:
    """The words of one query's answer; results missing from the last part are zero."""
    plan = layer.plan
    payload = wire.read(answer, "answer", layer.profile, binding=None).payload
    count = plan.classes + plan.answers * plan.degree
    content = wire.unpack_integers(payload, (count,), answer_words.WORD_BYTES)
    results = np.zeros(plan.answers * plan.rows, np.int64)
    results[: plan.classes] = content[: plan.classes]
    return AnswerWords(
        results.reshape(plan.answers, plan.rows),
        content[plan.classes :].reshape(plan.answers, plan.degree),
    )


def words_to_residues(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Words [..., n] scaled back: residues [..., L, n] of round(word q / 2^40)."""
    whole = np.asarray(values).astype(object)
    whole = (whole * profile.modulus + answer_words.WORD // 2) // answer_words.WORD
    parts = [(whole % prime).astype(np.int64) for prime in profile.primes]
    return np.stack(parts, axis=-2)


def lift(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Residues [..., L, n] as Python integers [..., n] in (-q / 2, q / 2]."""
    total = np.zeros((), object)
    for number, prime in enumerate(profile.primes):
        rest = profile.modulus // prime
        unit = rest * pow(rest, -1, prime)
        total = total + values[..., number, :].astype(object) * unit
    total = total % profile.modulus
    return np.where(total > profile.modulus // 2, total - profile.modulus, total)


def raw_phases(client: Client, answer: RawAnswer | QueryParts) -> np.ndarray:
    """Decrypt ciphertexts completely: integers [A, N], all coefficients and bits."""
    profile = client.profile
    secret = secret_key(client).residues
    phases = _phases(answer.first, answer.second, secret, profile=profile)
    return lift(np.asarray(phases), profile)


@residues.exact("profile")
def _phases(first: Array, second: Array, secret: Array, *, profile: Profile) -> Array:
    primes = residues.column(profile)
    masked = residues.multiply(second, secret, primes)
    return residues.inverse_transform(residues.add(first, masked, primes), profile)


def query_errors(
    client: Client, layer: Layer, query: bytes, x: np.ndarray
) -> np.ndarray:
    """The errors of the client's own encryption of x: int64 [T, N]."""
    packed = packing.pack_query(np.asarray(x, np.float64), layer.plan)
    message = residues.scaled_residues(packed, layer.query_bits, layer.profile)
    phases = raw_phases(client, read_query(query, layer))
    return (phases - lift(message, layer.profile)).astype(np.int64)


def unpack_kernel(packed: np.ndarray, plan: Plan) -> np.ndarray:
    """Weights in coefficients [A, T, N] as a kernel [d, k]: undoes `pack_kernel`."""
    used = packed[..., : plan.rows * plan.tile]
    rows = used.reshape(plan.answers, plan.tiles, plan.rows, plan.tile)
    blocks = rows.transpose(1, 3, 0, 2)[:, ::-1]
    kernel = blocks.reshape(plan.tiles * plan.tile, plan.answers * plan.rows)
    return kernel[: plan.width, : plan.classes]


def integer_kernel(kernel: np.ndarray, layer: Layer) -> np.ndarray:
    """The integers that encode a kernel in a layer: the ground truth of attacks."""
    bits = layer.result_bits - layer.query_bits
    return np.rint(np.ldexp(np.asarray(kernel, np.float64), bits)).astype(np.int64)


transform = residues.exact("profile")(residues.transform)
inverse_transform = residues.exact("profile")(residues.inverse_transform)
