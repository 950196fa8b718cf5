"""Microsoft SEAL agrees: its keys, plaintexts, ciphertexts and decryption are ours."""

import copy
import pickle

import numpy as np
import pytest

from helix_jax.private import PROFILES, encryption, residues, sampling
from helix_jax.private.profiles import Profile

from .twins import inverse_transform, lift, multiply, negacyclic, phases, transform

names = pytest.mark.parametrize("name", sorted(PROFILES))
CIPHERTEXT, PLAINTEXT = 113, 88  # bytes of headers


def last_level(profile: Profile) -> Profile:
    """What SEAL encrypts in: the last prime of several is for switching keys."""
    kept = profile.primes[: max(1, len(profile.primes) - 1)]
    return Profile(profile.name, profile.code, profile.degree, kept, 0)


def seal_phases(own, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What SEAL decrypts of parts [A, N] modulo the first prime: [A, N], transformed.

    Any ciphertext has the header that all of them have: the last level's, where only
    the first prime is left.
    """
    from Pyfhel import PyCtxt

    seal = own._seal
    zero = seal.encryptPtxt(seal.encodeFrac(np.zeros(1), scale=2.0**20))
    header, phases = zero.to_bytes(compr_mode="none")[:CIPHERTEXT], []
    for pair in np.stack([first, second], axis=1).astype("<u8"):
        data = header + pair.tobytes()
        ciphertext = PyCtxt(pyfhel=seal, bytestring=data, scheme="ckks")
        raw = seal.decrypt(ciphertext, decode=False).to_bytes(compr_mode="none")
        phases.append(np.frombuffer(raw, "<i8", offset=PLAINTEXT))
    return np.stack(phases)


def through_slots(coefficients: np.ndarray) -> np.ndarray:
    """Slots whose encoding has these real coefficients."""
    n = len(coefficients)
    turned = coefficients * np.exp(1j * np.pi * np.arange(n) / n)
    values = n * np.fft.ifft(turned)
    powers = np.array([pow(3, i, 2 * n) for i in range(n // 2)])
    return values[(powers - 1) // 2]


def read_plaintext(plaintext, profile: Profile) -> np.ndarray:
    raw = plaintext.to_bytes(compr_mode="none")
    data = np.frombuffer(raw, "<i8", offset=PLAINTEXT)
    return data.reshape(len(profile.primes), profile.degree)


def read_ciphertext(ciphertext, profile: Profile) -> np.ndarray:
    raw = ciphertext.to_bytes(compr_mode="none")
    data = np.frombuffer(raw, "<i8", offset=CIPHERTEXT)
    return data.reshape(2, len(profile.primes), profile.degree)


@names
def test_the_secret_is_ternary(secret, name):
    profile = PROFILES[name]
    own = secret(name)
    key = lift(inverse_transform(own.residues, profile=profile), profile)
    values, counts = np.unique(key.astype(int), return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    assert np.abs(counts / profile.degree - 1 / 3).max() < 0.06


@names
def test_plaintexts_are_transforms(secret, name):
    """SEAL encodes integers to the residues that `transform` gives."""
    profile = last_level(PROFILES[name])
    integers = np.random.default_rng(0).integers(-(2**20), 2**20, profile.degree)
    plaintext = secret(name)._seal.encodeComplex(
        through_slots(integers.astype(float)), scale=1.0
    )
    expected = residues.scaled_residues(integers.astype(float), 0, profile)
    np.testing.assert_array_equal(
        read_plaintext(plaintext, profile), transform(expected, profile=profile)
    )


@names
def test_products_of_ciphertexts_are_seals(secret, name):
    """multiply_plain gives the bytes of our product, and it decrypts to the product."""
    whole, profile = PROFILES[name], last_level(PROFILES[name])
    n, seal = profile.degree, secret(name)._seal
    generator = np.random.default_rng(1)
    x, w = (generator.integers(-50, 50, n).astype(float) for _ in range(2))
    query = seal.encryptPtxt(seal.encodeComplex(through_slots(x), scale=1.0))
    weights = seal.encodeComplex(through_slots(w), scale=1.0)
    first = read_ciphertext(query, profile)
    own = transform(residues.scaled_residues(w, 0, profile), profile=profile)
    ours = np.asarray(multiply(first, np.asarray(own), residues.column(profile)))
    product = seal.multiply_plain(query, weights, in_new_ctxt=True)
    assert ours.tobytes() == product.to_bytes(compr_mode="none")[CIPHERTEXT:]

    one = Profile(whole.name, whole.code, n, whole.primes[:1], 0)
    phase = seal_phases(secret(name), ours[:1, 0], ours[1:, 0])
    phase = lift(inverse_transform(phase, profile=one), one)
    prime = one.primes[0]
    exact = negacyclic(x.astype(int) % prime, w.astype(int) % prime, prime)
    exact = np.where(exact > prime // 2, exact - prime, exact)
    # SEAL encrypts by its public key: errors of 21 (2 N + 1), met by every weight.
    assert np.abs(phase - exact).max() < 21 * (2 * n + 1) * np.abs(w).sum()
    assert np.abs(phase - exact).std() < 3.3 * np.sqrt(2 * n) * np.linalg.norm(w)


@names
def test_public_key_of_seal(secret, name):
    """SEAL's own encryption of zero has a small phase under all primes."""
    profile = PROFILES[name]
    raw = secret(name)._seal.to_bytes_public_key(compr_mode="none")
    size = 2 * len(profile.primes) * profile.degree
    pair = np.frombuffer(raw[-8 * size :], "<i8")
    pair = pair.reshape(2, len(profile.primes), profile.degree)
    noise = phases(tuple(pair), secret(name).residues, profile).astype(int)
    assert 0 < np.abs(noise).max() <= sampling.ERROR_BOUND


@names
def test_encryption_under_the_secret_key(secret, name):
    profile, own = PROFILES[name], secret(name)
    message = sampling.uniform_residues(bytes(32), (2,), profile, "query")
    seeded = encryption.encrypt(message, own.residues, profile, "query")
    again = encryption.encrypt(message, own.residues, profile, "query")
    assert seeded.seed != again.seed
    second = sampling.uniform_residues(seeded.seed, (2,), profile, "query")
    noise = []
    for number in range(2):
        pair = seeded.first[number], second[number]
        phase = phases(pair, own.residues, profile) - lift(message[number], profile)
        q = profile.modulus
        noise.append(((phase + q // 2) % q - q // 2).astype(int))
    noise = np.concatenate(noise)
    assert np.abs(noise).max() <= sampling.ERROR_BOUND
    assert abs(noise.std() - sampling.ERROR_VARIANCE**0.5) < 0.3
    # The same under SEAL, which decrypts modulo the first prime.
    prime = profile.primes[0]
    one = Profile(profile.name, profile.code, profile.degree, (prime,), 0)
    seals = seal_phases(own, seeded.first[:, 0], second[:, 0])[:, None]
    seals = np.stack([inverse_transform(part, profile=one) for part in seals])[:, 0]
    seals = seals - message[:, 0]
    seals = (seals + prime // 2) % prime - prime // 2
    np.testing.assert_array_equal(seals.reshape(-1), noise)


@names
def test_encryptions_of_zero_by_the_public_key(secret, name):
    profile, own = PROFILES[name], secret(name)
    key = encryption.make_public_key(own.residues, profile)
    key_a = sampling.uniform_residues(key.seed, (1,), profile, "key")
    assert np.abs(phases((key.first[0], key_a[0]), own.residues, profile)).max() <= 21
    zeros = encryption.encrypt_zeros(key.first[0], key_a[0], 2, profile)
    for number in range(2):
        pair = [np.asarray(transform(part[number], profile=profile)) for part in zeros]
        noise = phases(pair, own.residues, profile).astype(float)
        assert 0 < np.abs(noise).max() <= encryption.zeros_noise(profile.degree)
        assert (noise % 2 == 0).all()
        # 2 (e0 + e1 s + e u): of variance 42 (1 + 4 N / 3)
        spread = 2 * np.sqrt(sampling.ERROR_VARIANCE * (1 + 4 * profile.degree / 3))
        assert 0.8 * spread < noise.std() < 1.2 * spread
    for part in zeros:
        assert (part[0] != part[1]).mean() > 0.99


@names
def test_decryption_of_products(secret, name):
    """SEAL opens what the provider makes as the client does, by the first prime."""
    profile, own = PROFILES[name], secret(name)
    generator = np.random.default_rng(3)
    x, w = (generator.integers(-50, 50, profile.degree).astype(float) for _ in range(2))
    seeded = encryption.encrypt_numbers(x[None], 0, own.residues, profile, "query")
    second = sampling.uniform_residues(seeded.seed, (1,), profile, "query")[0]
    weights = transform(residues.scaled_residues(w, 0, profile), profile=profile)
    pair = [
        np.asarray(multiply(part, weights, residues.column(profile)))
        for part in (seeded.first[0], second)
    ]
    ours = phases(pair, own.residues, profile)
    seals = seal_phases(own, pair[0][:1], pair[1][:1])[:, None]
    one = Profile(profile.name, profile.code, profile.degree, profile.primes[:1], 0)
    seals = lift(inverse_transform(seals, profile=one), one)[0]
    if abs(ours).max() < one.modulus // 2:
        np.testing.assert_array_equal(seals, ours)
    np.testing.assert_array_equal(seals % one.modulus, ours % one.modulus)


def test_a_secret_key_stays_where_it_is(secret):
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied or pickled"):
            leave(secret("compact"))
