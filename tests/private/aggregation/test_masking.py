"""Masks: against an independent expansion, cancelling in pairs, of one session."""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from scipy.stats import chisquare

from helix_jax.errors import ProtocolError
from helix_jax.private import signatures
from helix_jax.private.aggregation import int128 as w
from helix_jax.private.aggregation import primitives
from helix_jax.private.aggregation.masking import (
    add_mask,
    add_pair_mask,
    add_self_mask,
    seed_commitment,
    share_key,
)
from tests.private.aggregation.stage import MODULUS, seeded, to_ints, to_words

SESSION = bytes(range(32))


def expand(key, length):
    """Twin: both streams in one call each, joined as Python integers."""
    halves = []
    for counter in (0, 2**127):
        cipher = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16)))
        stream = cipher.encryptor().update(bytes(8 * length))
        halves.append(
            [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(length)]
        )
    return [low + (high << 64) for low, high in zip(*halves)]


@pytest.mark.parametrize("length", [1, 7, w.BLOCK, w.BLOCK + 3])
def test_mask_is_its_twin(length):
    key = seeded(length)(32)
    mask = expand(key, length)
    words = w.zeros(length)
    add_mask(words, key)
    assert to_ints(words) == mask
    add_mask(words, key, negative=True)
    assert not words.any()
    add_mask(words, key, negative=True)
    assert to_ints(words) == [-v % MODULUS for v in mask]


def test_pair_mask_is_its_twin_from_both_sides():
    draw = seeded("pair")
    keys = {k: draw(32) for k in (3, 8)}
    public = {k: primitives.public_key(key) for k, key in keys.items()}
    shared = X25519PrivateKey.from_private_bytes(keys[8]).exchange(
        X25519PublicKey.from_public_bytes(public[3])
    )
    label = b"helix_jax aggregation 2: pair mask\x00\x03\x00\x08"
    mask = expand(HKDF(SHA256(), 32, SESSION, label).derive(shared), 5)
    values = list(range(5))
    first, second = to_words(values), to_words(values)
    add_pair_mask(first, 3, keys[3], 8, public[8], session=SESSION)
    add_pair_mask(second, 8, keys[8], 3, public[3], session=SESSION)
    assert to_ints(first) == [(v + m) % MODULUS for v, m in zip(values, mask)]
    assert to_ints(second) == [(v - m) % MODULUS for v, m in zip(values, mask)]
    # What the aggregator does for silo 8, which is gone, with 8's key.
    add_pair_mask(first, 3, keys[8], 8, public[3], session=SESSION, negative=True)
    assert to_ints(first) == values


def test_masks_of_another_session_silo_or_use_are_unrelated():
    key = seeded("use")(32)
    public = primitives.public_key(seeded("other")(32))
    masks = []
    for session in (SESSION, SESSION[::-1]):
        for number in (1, 2):
            words = w.zeros(4)
            add_self_mask(words, number, key, session=session)
            masks.append(words)
        for own, other in ((1, 2), (1, 3)):
            words = w.zeros(4)
            add_pair_mask(words, own, key, other, public, session=session)
            masks.append(words)
    numbers = [v for words in masks for v in to_ints(words)]
    assert len(set(numbers)) == len(numbers)
    assert (
        len({share_key(key, public, a, b, SESSION) for a, b in ((1, 2), (2, 1))}) == 2
    )
    assert seed_commitment(1, key, session=SESSION) != seed_commitment(
        2, key, session=SESSION
    )


def test_self_mask_comes_off():
    words = to_words([5, -6, 2**100])
    add_self_mask(words, 4, bytes(32), session=SESSION)
    assert to_ints(words) != to_ints(to_words([5, -6, 2**100]))
    add_self_mask(words, 4, bytes(32), session=SESSION, negative=True)
    assert to_ints(words) == to_ints(to_words([5, -6, 2**100]))


def test_masked_constant_is_uniform_in_every_byte():
    words = w.zeros(1 << 15)
    add_mask(words, seeded("uniform")(32))
    columns = words.T.copy().view(np.uint8)  # [L, 16]
    levels = [
        chisquare(np.bincount(column, minlength=256)).pvalue for column in columns.T
    ]
    assert min(levels) > 1e-4
    assert max(levels) < 1 - 1e-4


def test_a_public_key_of_small_order_is_refused():
    words = w.zeros(2)
    with pytest.raises(ProtocolError, match="small order"):
        add_pair_mask(words, 1, os.urandom(32), 2, bytes(32), session=SESSION)
    assert not words.any()


def test_sealing_and_signing():
    key, signing = os.urandom(32), os.urandom(32)
    public = signatures.verifying_key(signing)
    sealed = primitives.seal(key, b"shares")
    assert primitives.unseal(key, sealed) == b"shares"
    assert primitives.unseal(os.urandom(32), sealed) is None
    assert primitives.unseal(key, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
    signature = signatures.sign(signing, b"digest")
    assert signatures.is_signed(public, signature, b"digest")
    assert not signatures.is_signed(public, signature, b"digesT")
    assert not signatures.is_signed(b"\xff" * 32, signature, b"digest")
