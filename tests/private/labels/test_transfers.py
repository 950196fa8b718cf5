"""Oblivious transfers: who gets what, and receivers that cheat."""

import hashlib

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.labels import base_transfers, transfers
from helix_jax.private.labels.garbling import where

NUMBER = bytes(range(16))


def hashed_keys(seed):
    """Pairs of keys, the bits that name one of each, and the named: no base needed."""
    rng = np.random.default_rng(seed)
    pairs = [(rng.bytes(32), rng.bytes(32)) for _ in range(base_transfers.COUNT)]
    secret = rng.integers(0, 2, base_transfers.COUNT).astype(np.uint8)
    return pairs, secret, [pair[bit] for pair, bit in zip(pairs, secret)]


def test_base_transfers_give_the_named_key_of_each_pair(monkeypatch):
    monkeypatch.setattr(base_transfers, "COUNT", 12)
    bits = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]
    scalars = base_transfers.draw_scalars()
    offered = base_transfers.offer(scalars)
    sent, keys = base_transfers.reply(offered, bits, NUMBER)
    pairs = base_transfers.open_reply(scalars, offered, sent, NUMBER)
    assert [pair[bit] for pair, bit in zip(pairs, bits)] == keys
    assert len({key for pair in pairs for key in pair}) == 24
    # Of another conversation nothing is left.
    other = base_transfers.open_reply(scalars, offered, sent, bytes(16))
    assert not {key for pair in other for key in pair} & set(keys)
    with pytest.raises(ProtocolError, match="no element"):
        base_transfers.reply(b"\1" + bytes(31) + offered[32:], bits, NUMBER)
    bad = b"\1" + bytes(31) + sent[32:]
    with pytest.raises(ProtocolError, match="no element"):
        base_transfers.open_reply(scalars, offered, bad, NUMBER)


@pytest.mark.parametrize("count", [1, 8, 83, 1000])
def test_rows_differ_by_the_secret_where_the_choice_is_one(count):
    pairs, secret, keys = hashed_keys(count)
    choices = np.random.default_rng(1).integers(0, 2, count).astype(np.uint8)
    message, own = transfers.choose(pairs, NUMBER, choices)
    assert len(message) == transfers.message_bytes(count)
    rows = transfers.receive(keys, secret, NUMBER, message, count)
    moved = where(choices, transfers.pack_secret(secret))
    np.testing.assert_array_equal(rows, own ^ moved)
    again, _ = transfers.choose(pairs, NUMBER, choices)
    changed = np.frombuffer(message, np.uint8) != np.frombuffer(again, np.uint8)
    assert changed.mean() > 0.95  # a nonce: nothing is used twice


def test_messages_look_the_same_whatever_is_chosen():
    """Bits of messages of zeros and of ones are fair, hashes of choices too."""
    pairs, _, _ = hashed_keys(3)
    for choice in (0, 1):
        choices = np.full(400, choice, np.uint8)
        message, _ = transfers.choose(pairs, NUMBER, choices)
        bits = np.unpackbits(np.frombuffer(message, np.uint8))
        assert abs(bits.mean() - 0.5) < 4 / np.sqrt(4 * len(bits))


def test_hashes_of_choices_are_covered():
    """All choices zero: without the random ones the hash would be zero each time."""
    pairs, _, _ = hashed_keys(6)
    start, size = -transfers._CHECKED, base_transfers.COUNT // 8
    hashes = [
        transfers.choose(pairs, NUMBER, np.zeros(40, np.uint8))[0][start:][:size]
        for _ in range(40)
    ]
    bits = np.unpackbits(np.frombuffer(b"".join(hashes), np.uint8))
    assert abs(bits.mean() - 0.5) < 5 / np.sqrt(4 * len(bits))
    assert len(set(hashes)) == 40


def test_changed_messages_fail_the_check():
    pairs, secret, keys = hashed_keys(4)
    message, _ = transfers.choose(pairs, NUMBER, np.ones(40, np.uint8))
    for place in (0, 16, 500, len(message) - 48, len(message) - 1):
        changed = bytearray(message)
        changed[place] ^= 1
        with pytest.raises(ProtocolError, match="check of the transfers"):
            transfers.receive(keys, secret, NUMBER, bytes(changed), 40)
    with pytest.raises(ProtocolError, match="check of the transfers"):
        transfers.receive(keys, secret, bytes(16), message, 40)


def two_choices(pairs, columns, guesses):
    """A receiver with other choices in some columns, and guesses of their bits."""
    message, _ = transfers.choose(pairs, NUMBER, np.zeros(40, np.uint8))
    sent = bytearray(message[: -transfers._CHECKED])
    size, start = transfers._column_bytes(40), transfers.NONCE_BYTES
    other = np.zeros(8 * size, np.uint8)
    other[:8] = 1
    for column in columns:
        sent[start + column * size] ^= 0xFF
    sent = bytes(sent)
    tweak = sent[:start] + NUMBER
    first, second = (
        transfers._columns([pair[side] for pair in pairs], tweak, size)
        for side in (0, 1)
    )
    received = np.frombuffer(sent[start:], np.uint8).reshape(-1, size)
    honest = next(i for i in range(len(pairs)) if i not in columns)
    x = np.unpackbits((first ^ second ^ received)[honest])
    mixed = transfers._mixing(sent, NUMBER, 8 * size)
    tags = transfers._mix(mixed, np.unpackbits(first, axis=1).T)
    moved = transfers._mix(mixed, other[:, None])[:, 0]
    for column, guess in zip(columns, guesses):
        tags[:, column] ^= guess * moved
    hashed = np.packbits(transfers._mix(mixed, x[:, None])[:, 0]).tobytes()
    return sent + hashed + transfers._digest(tags)


def test_who_mixes_choices_must_guess_bits_of_the_secret():
    """A column of other choices passes for one value of its bit, and no more."""
    pairs, secret, keys = hashed_keys(5)
    columns = [0, 7, 100]
    for turned in range(8):
        guesses = [secret[c] ^ (turned >> i & 1) for i, c in enumerate(columns)]
        message = two_choices(pairs, columns, guesses)
        if turned == 0:
            transfers.receive(keys, secret, NUMBER, message, 40)
            continue
        with pytest.raises(ProtocolError, match="are given up"):
            transfers.receive(keys, secret, NUMBER, message, 40)


def test_columns_are_shake_128_of_the_key():
    key = hashlib.sha256(b"key").digest()
    expected = hashlib.shake_128(b"helix_jax transfers 1: column" + key + NUMBER)
    found = transfers._columns([key], NUMBER, 24)
    assert found.tobytes() == expected.digest(24)
