"""The proof of a public key: who has one passes, nobody else, and it tells no more.

The vectors in tests/private/vectors/key_proof.json are for other implementations of
docs/key_proof.md. `python -m tests.private.test_key_proof` writes them anew.
"""

import hashlib
import itertools
import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from helix_jax.errors import ProtocolError
from helix_jax.private import (
    PROFILES,
    FitProvider,
    Provider,
    encryption,
    key_proof,
    sampling,
    signatures,
    wire,
)
from helix_jax.private.accounts import PublicKey
from helix_jax.private.discrete_gaussian import discrete_gaussian
from helix_jax.private.encryption import Seeded
from helix_jax.private.key_proof_sizes import (
    LOG_TRIES,
    MEAN_SQUARES,
    REACH,
    extracted_norms,
    proof_length,
    proof_shape,
)
from helix_jax.private.profiles import Profile

from .twins import inverse_transform, lift, negacyclic, reduce, transform

GUARDED = PROFILES["guarded"]
OWNER = bytes(range(32))
TINY = Profile("tiny", 99, 16, GUARDED.primes, 40)
VECTORS = Path(__file__).parent / "vectors" / "key_proof.json"
START = signatures.KEY_BYTES + sampling.SEED_BYTES
REFUSED = "proof that its secret is short does not hold"


def make_key(profile: Profile):
    """(secret, public key) by the rules: drawn anew if long, as few in 4096 are."""
    while True:
        short = sampling.ternary((profile.degree,))
        secret = np.asarray(transform(reduce(short, profile), profile=profile))
        public = encryption.make_public_key(secret, profile)
        errors = coefficients(public.first[0], profile)
        errors = errors + product(second_of(public, profile), short)
        errors = centred(errors, profile)
        sizes = (short**2).mean(), (errors**2).mean()
        if all(size <= most for size, most in zip(sizes, MEAN_SQUARES)):
            return secret, public


def centred(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Python integers modulo q, in (-q / 2, q / 2]."""
    q = profile.modulus
    return (values + q // 2) % q - q // 2


def coefficients(values: np.ndarray, profile: Profile) -> np.ndarray:
    """Integers [..., N] in (-q / 2, q / 2] of transformed residues."""
    return lift(np.asarray(inverse_transform(values, profile=profile)), profile)


def second_of(public: Seeded, profile: Profile) -> np.ndarray:
    return coefficients(
        sampling.uniform_residues(public.seed, (1,), profile, "key")[0], profile
    )


def product(one, other) -> np.ndarray:
    """Of two polynomials of integers modulo X^N + 1."""
    n = len(one)
    if n > 64:
        parts = [negacyclic(one % p, other % p, p)[None] for p in GUARDED.primes]
        return lift(np.concatenate(parts), GUARDED)
    whole = np.convolve(np.asarray(one, object), np.asarray(other, object))
    return np.append(whole[:n], 0)[:n] - np.append(whole[n:], [0])


def monomial(power: int, n: int) -> np.ndarray:
    found = np.zeros(n, int)
    found[power % n] = 1 if power % (2 * n) < n else -1
    return found


@pytest.fixture(scope="module")
def tiny():
    return make_key(TINY)


# Whoever has a key passes; what it costs.


def test_a_client_proves_its_key(client):
    own = client("guarded")
    bundle = own.public_bundle()
    assert bundle is own.public_bundle()  # made once
    assert PublicKey.from_bytes(bundle, GUARDED).key == own.key
    assert proof_length(GUARDED) <= 200_000
    shape = proof_shape(GUARDED)
    assert shape.repetitions * math.log2(2 * GUARDED.degree) >= 128
    assert 0.57 < math.exp(-LOG_TRIES) < 0.58  # of a try


def test_keys_of_public_weights_need_no_proof(client):
    own = client("open")
    length = wire.residues_length(1, own.profile)
    size = wire.HEADER_BYTES + START + length
    assert len(own.public_bundle()) == size


# Whoever has none does not.


def test_a_crafted_key_is_refused_by_every_provider(client):
    """The staircase of attacks/crafted_key, with the proof of an honest key."""
    own = client("guarded")
    steps = np.zeros((1, GUARDED.degree), object)
    steps[0, :12] = [3**j << 84 for j in range(12)]
    first = np.asarray(transform(reduce(steps, GUARDED), profile=GUARDED))
    crafted = PublicKey(Seeded(bytes(32), first), OWNER, GUARDED)
    proof = own.public_bundle()[-proof_length(GUARDED) :]
    layer = Provider(np.ones((3, 2)), input_norm=1.0)
    fit = FitProvider(np.random.default_rng(0).standard_normal((40, 2)))
    for provider in (layer, fit):
        with pytest.raises(ProtocolError, match=REFUSED):
            provider.register(crafted.to_bytes(proof))
        with pytest.raises(ProtocolError, match="key: expected sizes"):
            provider.register(crafted.to_bytes())
        provider.register(own.public_bundle())
    assert list(layer._accounts) == [own.key]
    with pytest.raises(
        ValueError, match="the public key does not belong to this secret"
    ):
        key_proof.prove(crafted.public, own._secret.residues, GUARDED, owner=OWNER)


def test_every_change_of_a_bundle_is_refused(client):
    """A bit of owner, seed, b, challenge, z_s, z_e; under the name of the whole."""
    bundle = client("guarded").public_bundle()
    content = START + wire.residues_length(1, GUARDED)
    proof = content + 2 * proof_shape(GUARDED).repetitions
    last = content + proof_length(GUARDED) - 1
    bits = (0, 100, content * 8 - 16, content * 8, content * 8 + 15, proof * 8 - 8)
    for bit in (*bits, proof * 8, proof * 8 + 18, last * 8, last * 8 + 7):
        changed = bytearray(bundle)
        changed[wire.HEADER_BYTES + bit // 8] ^= 1 << bit % 8
        payload = bytes(changed[wire.HEADER_BYTES :])
        changed[8:24] = wire.key_name(payload[:content])
        with pytest.raises(ProtocolError, match=REFUSED):
            PublicKey.from_bytes(bytes(changed), GUARDED)


def test_proofs_are_of_one_key_and_ring(tiny):
    secret, public = tiny
    proof = key_proof.prove(public, secret, TINY, owner=OWNER)
    key_proof.verify(public, proof, TINY, owner=OWNER)
    other = make_key(TINY)[1]
    with pytest.raises(ProtocolError, match=REFUSED):
        key_proof.verify(other, proof, TINY, owner=OWNER)
    smaller = Profile("smaller", 98, 16, TINY.primes[:1], 40)
    cut = Seeded(public.seed, public.first[:, :1])
    with pytest.raises(ProtocolError, match=REFUSED):
        key_proof.verify(cut, proof, smaller, owner=OWNER)
    with pytest.raises(ProtocolError, match=REFUSED):
        key_proof.verify(public, proof, TINY, owner=bytes(32))
    for wrong in (proof[:-1], proof + b"\0"):
        with pytest.raises(ProtocolError, match=f"a proof has {len(proof)} bytes"):
            key_proof.verify(public, wrong, TINY, owner=OWNER)
    with pytest.raises(
        ValueError, match="the public key does not belong to this secret"
    ):
        key_proof.prove(other, secret, TINY, owner=OWNER)


def test_whoever_chooses_the_challenges_passes_all_but_the_hash(tiny, monkeypatch):
    """The simulator: a transcript for a key without a secret, were the hash not one."""
    shape = proof_shape(TINY)
    crafted = Seeded(bytes(32), np.full((1, 2, 16), 12345))
    size = shape.repetitions, TINY.degree
    drawn = [discrete_gaussian(scale, size) for scale in shape.scales]
    powers = np.arange(shape.repetitions) % 32
    forged = key_proof._pack(powers, *drawn, shape)
    with pytest.raises(ProtocolError, match=REFUSED):
        key_proof.verify(crafted, forged, TINY, owner=OWNER)
    monkeypatch.setattr(key_proof, "_challenge", lambda *_: powers)
    key_proof.verify(crafted, forged, TINY, owner=OWNER)


# What two answers to one commitment tell: the bounds that the flood takes.


def quotient(power: int, n: int) -> np.ndarray:
    """2 / (1 - X^power) by its sum."""
    odd = power & -power
    return sum(monomial(power * m, n) for m in range(n // odd))


def test_the_inverse_of_a_difference_is_short():
    """2 / (1 - X^k) is of -1, 0 and 1, for all k, with norms to 1 / sin(pi / 2 N)."""
    n, largest = 16, 0.0
    for power in range(1, 2 * n):
        inverse = quotient(power, n)
        assert set(inverse) <= {-1, 0, 1}
        back = product(inverse, monomial(0, n) - monomial(power, n))
        assert (back == 2 * monomial(0, n)).all()
        matrix = np.array(
            [product(inverse, monomial(j, n)) for j in range(n)], np.float64
        )
        largest = max(largest, np.linalg.norm(matrix, 2))
    assert largest == pytest.approx(1 / math.sin(math.pi / (2 * n)), rel=1e-12)


def test_two_answers_to_one_commitment_give_a_short_secret(tiny, monkeypatch):
    """The prover is wound back: 2 b = e'' - a s'', exactly and within the norms."""
    secret, public = tiny
    shape = proof_shape(TINY)
    size = shape.repetitions, TINY.degree
    masks = {scale: discrete_gaussian(scale, size) for scale in shape.scales}
    monkeypatch.setattr(key_proof, "discrete_gaussian", lambda scale, _: masks[scale])
    monkeypatch.setattr(key_proof, "sending_chance", lambda *_: 1)
    answers = []
    challenges = (
        np.arange(shape.repetitions) % 32,
        (np.arange(shape.repetitions) ** 2 + 1) % 32,
    )
    for powers in challenges:
        monkeypatch.setattr(key_proof, "_challenge", lambda *_, own=powers: own)
        proof = key_proof.prove(public, secret, TINY, owner=OWNER)
        key_proof.verify(public, proof, TINY, owner=OWNER)
        answers.append(key_proof._unpack(proof, shape, TINY.degree)[1:])
    b, a = coefficients(public.first[0], TINY), second_of(public, TINY)
    q, n, seen = TINY.modulus, TINY.degree, 0
    for number, (i, j) in enumerate(zip(*challenges)):
        if i == j:
            continue
        seen += 1
        factor = product(monomial(-i, n), quotient((j - i) % (2 * n), n))
        secrets, errors = (
            product(factor, answers[0][part][number] - answers[1][part][number])
            for part in (0, 1)
        )
        assert ((2 * b - errors + product(a, secrets)) % q == 0).all()
        norms = [np.linalg.norm(part.astype(float)) for part in (secrets, errors)]
        assert 0 < norms[0] <= extracted_norms(TINY)[0]
        assert 0 < norms[1] <= extracted_norms(TINY)[1]
        # Of an honest prover they are twice the witness itself.
        assert np.abs(secrets).max() <= 2
        assert np.abs(errors).max() <= 2 * sampling.ERROR_BOUND
    assert seen > 20


def test_the_norms_are_reached_by_the_worst_answers():
    """Differences of the full norm in the direction that the inverse stretches most."""
    n, found = TINY.degree, 0.0
    for power in range(1, 2 * n, 2):
        wave = np.cos(np.pi * np.arange(n) * power / n + np.pi / 4)
        worst = 2 * proof_shape(TINY).norms[0] * wave / np.linalg.norm(wave)
        stretched = product(quotient(power, n), worst).astype(float)
        found = max(found, np.linalg.norm(stretched))
    assert 0.9 < found / extracted_norms(TINY)[0] <= 1


# It tells nothing more.


def test_what_is_sent_has_the_law_of_the_masks_whatever_it_hides():
    """D(z - v) times the chance of sending is D(z) / M, for every z and v.

    Both parts of some coefficients at once; in logarithms, to 40 digits. It is less
    only where z lies further from v than masks come in 2^102 cases.
    """
    shape = proof_shape(GUARDED)
    generator, least = np.random.default_rng(0), -Decimal(LOG_TRIES.numerator)
    least /= LOG_TRIES.denominator
    for reach in (1, 3, 5.8):
        for _ in range(20):
            hidden = [generator.integers(-bound, bound + 1, (2, 8)) for bound in REACH]
            sent = [
                np.rint(generator.uniform(-reach, reach, (2, 8)) * scale).astype(int)
                for scale in shape.scales
            ]
            chance = key_proof.sending_chance(sent, hidden, shape)
            law = chance.ln()
            for z, v, scale in zip(sent, hidden, shape.scales):
                mask, own = (int((part**2).sum()) for part in (z - v, z))
                law += Decimal(own - mask) / (2 * scale**2)
            assert abs(law - least) < Decimal(10) ** -25
    far = [-(2**20) * part for part in hidden]
    assert key_proof.sending_chance(far, hidden, shape) == 1  # never more


def test_chances_are_compared_in_all_their_digits():
    """A chance of 50 digits against the integers beside it: 28 would not tell."""
    chance = Decimal("0." + "1234567890" * 5)
    whole = int.from_bytes(b"\xff" * 32, "little") + 1
    below = whole * int("1234567890" * 5) // 10**50  # the floor of chance 2^256
    assert key_proof.is_drawn(chance, below.to_bytes(32, "little"))
    assert not key_proof.is_drawn(chance, (below + 1).to_bytes(32, "little"))
    assert key_proof.is_drawn(Decimal(1), b"\xff" * 32)


@pytest.mark.slow
def test_tries_succeed_as_often_as_they_should(tiny, monkeypatch):
    secret, public = tiny
    tries = []
    count = key_proof.sending_chance

    def chance(*args):
        tries.append(1)
        return count(*args)

    monkeypatch.setattr(key_proof, "sending_chance", chance)
    for _ in range(100):
        key_proof.prove(public, secret, TINY, owner=OWNER)
    rate = math.exp(-LOG_TRIES)  # of 170 tries or so, five standard deviations
    assert abs(100 / len(tries) - rate) < 5 * math.sqrt(rate * (1 - rate) / len(tries))


@pytest.mark.slow
def test_challenges_are_uniform(tiny):
    """Powers of X as the hash gives them: chi-square over 50 proofs."""
    secret, public = tiny
    proofs = [key_proof.prove(public, secret, TINY, owner=OWNER) for _ in range(50)]
    powers = np.concatenate([np.frombuffer(proof[:52], "<u2") for proof in proofs])
    assert stats.chisquare(np.bincount(powers, minlength=32)).pvalue > 1e-9


# Another implementation of the format, in Python integers.


def twin_verify(public: Seeded, proof: bytes, profile: Profile) -> bool:
    """docs/key_proof.md once more, without transforms and packed arrays."""
    n, count = profile.degree, -(-128 // profile.degree.bit_length())
    scales, widths, norms = [], [], []
    for square in ("0.75", "12.5"):
        scales.append(math.ceil(22 * math.sqrt(2 * count * n * float(square))))
        widths.append(math.ceil(math.log2(5.8 * scales[-1])) + 1)
        norms.append((math.sqrt(n) + 6.4) * scales[-1])
    powers = [int.from_bytes(proof[2 * i : 2 * i + 2], "little") for i in range(count)]
    stream = int.from_bytes(proof[2 * count :], "little")
    if max(powers) >= 2 * n or stream >> count * n * sum(widths):
        return False
    answers = np.empty((2, count, n), object)
    for i in range(count * n):
        for part in (0, 1):
            value = stream & ((1 << widths[part]) - 1)
            answers[part, i // n, i % n] = value - (1 << widths[part] - 1)
            stream >>= widths[part]
    for part, norm in enumerate(norms):
        if max(sum(z * z for z in row) for row in answers[part]) > norm**2:
            return False
    a, b = second_of(public, profile), coefficients(public.first[0], profile)
    head = b"helix_jax key proof 1".ljust(32, b"\0")
    for value in (n, len(profile.primes), count):
        head += value.to_bytes(4, "little")
    for value in (*scales, *profile.primes):
        head += value.to_bytes(8, "little")
    head += OWNER + public.seed + wire.pack_residues(public.first, profile)
    for prime in profile.primes:
        for i in range(count):
            shifted = answers[1, i] - product(monomial(powers[i], n), b)
            shifted -= negacyclic(answers[0, i] % prime, a % prime, prime)
            for value in evaluate(shifted, prime):
                head += value.to_bytes(-(-prime.bit_length() // 8), "little")
    digest = hashlib.shake_256(head).digest(2 * count)
    hashed = [int.from_bytes(digest[2 * i : 2 * i + 2], "little") for i in range(count)]
    return [value % (2 * n) for value in hashed] == powers


def evaluate(values, prime: int) -> list[int]:
    """At psi^(2 rev(i) + 1), i = 0, 1, ...: psi the smallest root of X^N + 1."""
    n = len(values)
    found = (pow(g, (prime - 1) // (2 * n), prime) for g in range(2, 99))
    root = next(r for r in found if pow(r, n, prime) == prime - 1)
    psi = min(pow(root, odd, prime) for odd in range(1, 2 * n, 2))
    size = n.bit_length() - 1
    order = [int(f"{i:0{size}b}"[::-1], 2) for i in range(n)]
    points = [pow(psi, 2 * i + 1, prime) for i in order]
    return [
        sum(int(v) * pow(x, j, prime) for j, v in enumerate(values)) % prime
        for x in points
    ]


def drawn_from(name: str, monkeypatch) -> None:
    """Let all randomness of a key and its proof be the keystreams of a name's hash."""
    seed, numbers = hashlib.sha256(name.encode()).digest(), itertools.count()

    def stream(length: int) -> bytes:
        return sampling.keystream(seed, length, next(numbers))

    monkeypatch.setattr(sampling, "secret_bytes", stream)
    monkeypatch.setattr("helix_jax.private.encryption.os.urandom", stream)


def made_vectors() -> dict[str, dict[str, str]]:
    """Of a small ring, whole; of `guarded`, by the hash of its proof."""
    vectors = {}
    for profile in (TINY, GUARDED):
        with pytest.MonkeyPatch.context() as patch:
            drawn_from(f"key proof of {profile.name}", patch)
            secret, public = make_key(profile)
            proof = key_proof.prove(public, secret, profile, owner=OWNER)
        powers = np.frombuffer(proof[: 2 * proof_shape(profile).repetitions], "<u2")
        own = {
            "degree": str(profile.degree),
            "primes": " ".join(map(str, profile.primes)),
            "seed": public.seed.hex(),
            "challenges": " ".join(map(str, powers)),
            "b_sha256": hashlib.sha256(
                wire.pack_residues(public.first, profile)
            ).hexdigest(),
            "proof_sha256": hashlib.sha256(proof).hexdigest(),
        }
        if profile is TINY:
            part = coefficients(secret, profile)
            own["secret"] = " ".join(map(str, part))
            own["b"] = wire.pack_residues(public.first, profile).hex()
            own["proof"] = proof.hex()
        vectors[profile.name] = own
    return vectors


@pytest.mark.slow
def test_vectors():
    """What is published is what is made; and holds by another implementation."""
    vectors = json.loads(VECTORS.read_text())
    assert made_vectors() == vectors
    seed, b, proof = (
        bytes.fromhex(vectors["tiny"][name]) for name in ("seed", "b", "proof")
    )
    public = Seeded(seed, wire.unpack_residues(memoryview(b), 1, TINY, "key"))
    key_proof.verify(public, proof, TINY, owner=OWNER)
    assert twin_verify(public, proof, TINY)
    assert not twin_verify(public, proof[:-1] + bytes([proof[-1] ^ 1]), TINY)


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(made_vectors(), indent=2) + "\n")
