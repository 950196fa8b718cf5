"""A proof that a public key is well formed: its secret and its errors are short.

    b + a s = e,   |s| <= 1 and |e| <= 21 per coefficient

The prover commits to t = y_e - a y_s with discrete Gaussians y_s and y_e. The
challenges are powers X^c, drawn by a hash of everything so far. The responses are

    z_s = y_s + X^c s,   z_e = y_e + X^c e

They are sent with a probability that makes their distribution the Gaussians' own,
whatever s and e are (rejection sampling); otherwise the prover starts over. The
verifier rejects long responses, computes t = z_e - a z_s - X^c b, and compares the
hash.

Two responses to one commitment give 2 b = e'' - a s'' with the norms of
`key_proof_sizes.extracted_norms`. If a key has no such s'' and e'', at most one vector
of challenges can be answered for each commitment, so the key passes with probability
2^-130 per hash computed. The arguments, the format and the limits are in
docs/key_proof.md.

Reference: Benhamouda, Camenisch, Krenn, Lyubashevsky, Neven 2014, eprint 2014/889,
  section 3 (challenges, extraction); Lyubashevsky 2012, eprint 2011/537, theorem 4.6
  and lemma 4.7 (rejection). All repetitions under one hash: ours.
"""

import hashlib
import struct
from collections.abc import Sequence
from decimal import Decimal, localcontext

import jax.numpy as jnp
import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import residues, sampling, wire
from helix_jax.private.discrete_gaussian import discrete_gaussian
from helix_jax.private.encryption import Seeded
from helix_jax.private.key_proof_sizes import (
    LOG_TRIES,
    MEAN_SQUARES,
    REACH,
    ProofShape,
    proof_length,
    proof_shape,
)
from helix_jax.private.profiles import Profile
from helix_jax.types import Array

DOMAIN = b"helix_jax key proof 1".ljust(32, b"\0")
_HEAD = struct.Struct("<32sIIIQQ")


def prove(
    public: Seeded, secret: np.ndarray, profile: Profile, *, owner: bytes
) -> bytes:
    """Prove that a public key belongs to a secret.

    Args:
      public: (seed, b) with b [1, L, N] int64, transformed.
      secret: [L, N] int64, transformed.
      profile: of the ring.
      owner: 32 bytes, the key that verifies the owner's signatures.

    Returns:
      `proof_length` bytes.

    Raises:
      ValueError: the key does not belong to this secret, or s or e is too large.
    """
    shape, a = proof_shape(profile), _second(public, profile)
    witness = _witness(public, secret, profile)
    size = shape.repetitions, profile.degree
    while True:
        masks = [discrete_gaussian(scale, size) for scale in shape.scales]
        nothing = np.zeros(size, np.int64)
        secrets, errors = masks
        commitments = _commit(
            secrets, errors, nothing, public.first[0], a, profile=profile
        )
        challenges = _challenge(public, commitments, profile, owner)
        hidden = [rotate(part, challenges) for part in witness]
        responses = [mask + part for mask, part in zip(masks, hidden)]
        sent = is_drawn(
            sending_chance(responses, hidden, shape), sampling.secret_bytes(32)
        )
        if sent and _is_short(responses, shape):
            secrets, errors = responses
            return _pack(challenges, secrets, errors, shape)


def verify(
    public: Seeded, proof: bytes | memoryview, profile: Profile, *, owner: bytes
) -> None:
    """Check the proof of a public key.

    Args:
      public: (seed, b) with b [1, L, N] int64 residues, transformed.
      proof: `proof_length` bytes.
      profile: of the ring.
      owner: as in `prove`.

    Raises:
      ProtocolError: the proof does not hold.
    """
    shape = proof_shape(profile)
    if len(proof) != proof_length(profile):
        raise ProtocolError(
            f"key: a proof has {proof_length(profile)} bytes, got {len(proof)}."
        )
    challenges, secrets, errors = _unpack(proof, shape, profile.degree)
    short = _is_short((secrets, errors), shape)
    sound = short and challenges.max() < 2 * profile.degree
    if sound:
        a, one = _second(public, profile), np.eye(1, profile.degree, dtype=np.int64)
        powers = rotate(one[0], challenges)
        commitments = _commit(
            secrets, errors, powers, public.first[0], a, profile=profile
        )
        sound = np.array_equal(
            _challenge(public, commitments, profile, owner), challenges
        )
    if not sound:
        raise ProtocolError(
            "key: the proof that its secret is short does not hold; send the bundle as "
            "Client.public_bundle makes it."
        )


def sending_chance(
    responses: Sequence[np.ndarray], hidden: Sequence[np.ndarray], shape: ProofShape
) -> Decimal:
    """The probability with which responses z = y + v are sent.

    min(1, D(z) / (M D(z - v))) to 40 digits, with D the Gaussians' probabilities.

    Args:
      responses: [R, N] int64 each, z of the secret and of the errors.
      hidden: [R, N] int64 each, v of the secret and of the errors.
      shape: sizes of the proof, with the Gaussians' deviations.
    """
    with localcontext(prec=50):
        log = -Decimal(LOG_TRIES.numerator) / LOG_TRIES.denominator
        for z, v, scale in zip(responses, hidden, shape.scales):
            log += Decimal(int((v * (v - 2 * z)).sum())) / (2 * scale**2)
        return min(log, Decimal(0)).exp()


def is_drawn(chance: Decimal, drawn: bytes) -> bool:
    """Whether 32 random bytes, an integer below 2^256, are below chance * 2^256."""
    with localcontext(prec=150):  # the default of 28 digits would round it
        return int.from_bytes(drawn, "little") < chance * 2**256


def _is_short(responses: Sequence[np.ndarray], shape: ProofShape) -> bool:
    """Whether all repetitions are within the norms, and fit their bits."""
    return all(
        (response.astype(np.float64) ** 2).sum(axis=1).max() <= norm**2
        and max(response.max(), -1 - response.min()) < 2 ** (bits - 1)
        for response, norm, bits in zip(responses, shape.norms, shape.bits)
    )


def rotate(part: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """X^c times a polynomial [N], for each c of `powers` [R]: [R, N]."""
    twice = np.concatenate([part, -part])
    return twice[(np.arange(len(part)) - powers[:, None]) % len(twice)]


def _second(public: Seeded, profile: Profile) -> np.ndarray:
    """The second part a of a public key, [L, N], transformed."""
    return sampling.uniform_residues(public.seed, (1,), profile, "key")[0]


def _witness(public: Seeded, secret: np.ndarray, profile: Profile) -> np.ndarray:
    """(s, b + a s) as integers [2, N].

    Raises:
      ValueError: they are not short.
    """
    a = _second(public, profile)
    found = np.asarray(_open_key(public.first[0], a, secret, profile=profile))
    primes = residues.column(profile)
    signed = np.where(found > primes // 2, found - primes, found)
    reach = np.abs(signed).max(axis=(1, 2))
    size = np.square(signed[:, 0], dtype=np.float64).mean(axis=1)
    if (
        (signed != signed[:, :1]).any()
        or (reach > REACH).any()
        or (size > MEAN_SQUARES).any()
    ):
        raise ValueError(
            "prove: the public key does not belong to this secret: s must be at most "
            f"{REACH[0]} and b + a s at most {REACH[1]} in every coefficient, and "
            f"their mean squares at most {MEAN_SQUARES}; make another key."
        )
    return signed[:, 0]


@residues.exact("profile")
def _open_key(b: Array, a: Array, secret: Array, *, profile: Profile) -> Array:
    """Residues [2, L, N] of s and of b + a s, coefficients."""
    primes = residues.column(profile)
    errors = residues.add(b, residues.multiply(a, secret, primes), primes)
    return residues.inverse_transform(jnp.stack([secret, errors]), profile)


@residues.exact("profile")
def _commit(
    secrets: Array,
    errors: Array,
    powers: Array,
    b: Array,
    a: Array,
    *,
    profile: Profile,
) -> Array:
    """errors - a secrets - powers b of integers [R, N]: [R, L, N], transformed.

    Compiled once for both sides: the prover's powers are zeros.
    """
    primes = residues.column(profile)
    parts = jnp.stack([secrets, errors, powers])[:, :, None]
    parts = jnp.broadcast_to(parts, (*parts.shape[:2], len(primes), parts.shape[-1]))
    secrets, errors, powers = residues.transform(parts, profile)
    less = residues.add(
        residues.multiply(secrets, a, primes),
        residues.multiply(powers, b, primes),
        primes,
    )
    return residues.subtract(errors, less, primes)


def _challenge(
    public: Seeded, commitments: Array, profile: Profile, owner: bytes
) -> np.ndarray:
    """The challenges [R]: powers of X, below 2 N."""
    shape = proof_shape(profile)
    sizes = profile.degree, len(profile.primes), shape.repetitions, *shape.scales
    digest = hashlib.shake_256(_HEAD.pack(DOMAIN, *sizes))
    digest.update(np.array(profile.primes, "<u8").tobytes() + owner + public.seed)
    for part in (public.first, np.asarray(commitments)):
        digest.update(wire.pack_residues(part, profile))
    drawn = np.frombuffer(digest.digest(2 * shape.repetitions), "<u2")
    return drawn.astype(np.int64) % (2 * profile.degree)


def _pack(
    challenges: np.ndarray, secrets: np.ndarray, errors: np.ndarray, shape: ProofShape
) -> bytes:
    """Challenges of 16 bits, then z_s + z_e 2^(bits of z_s), each less its minimum."""
    low, high = shape.bits
    numbers = secrets + 2 ** (low - 1) + ((errors + 2 ** (high - 1)) << low)
    raw = numbers.astype("<u8").reshape(-1, 1).view(np.uint8)
    bits = np.unpackbits(raw, axis=1, count=low + high, bitorder="little")
    packed = np.packbits(bits, bitorder="little").tobytes()
    return challenges.astype("<u2").tobytes() + packed


def _unpack(
    proof: bytes | memoryview, shape: ProofShape, degree: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Challenges [R], z_s and z_e [R, N]: int64, unchecked."""
    low, high = shape.bits
    head, size = 2 * shape.repetitions, (shape.repetitions, degree)
    challenges = np.frombuffer(proof[:head], "<u2").astype(np.int64)
    count = shape.repetitions * degree * (low + high)
    bits = np.unpackbits(
        np.frombuffer(proof[head:], np.uint8), count=count, bitorder="little"
    )
    raw = np.packbits(bits.reshape(-1, low + high), axis=1, bitorder="little")
    raw = np.pad(raw, ((0, 0), (0, 8 - raw.shape[1])))
    numbers = np.ascontiguousarray(raw).view("<i8").reshape(size)
    secrets = (numbers & (2**low - 1)) - 2 ** (low - 1)
    return challenges, secrets, (numbers >> low) - 2 ** (high - 1)
