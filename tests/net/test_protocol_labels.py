"""The vectors of a label's conversation, read without helix_jax."""

import hashlib

import numpy as np

from helix_jax.private.labels import base_transfers

from . import protocol_vectors as made
from .protocol_reading import (
    Evaluated,
    Hash,
    integers,
    open_words,
    read_message,
    secret_of,
)
from .test_protocol import LABELS, MESSAGES, VECTORS, raw


def test_choices_are_the_bits_of_the_shares_that_were_read():
    ring, answer = VECTORS["profiles"]["guarded"], read_message(raw(LABELS["answer"]))
    numbers = integers(answer.payload, 5)
    tile = -(-made.WIDTH // answer.sizes[2])
    positions = [i * tile + tile - 1 for i in range(made.CLASSES)]
    secret = secret_of(LABELS["client"]["secret"])
    assert len(numbers) == made.CLASSES + ring["degree"]
    opened = open_words(numbers[:3], numbers[3:], positions, secret)
    shares = [int(np.floor(one * 2**16)) % 2**16 for one in opened]
    bits = [share >> bit & 1 for bit in range(16) for share in shares]
    assert "".join(map(str, bits)) == LABELS["choice_bits"]


def test_transfers_carry_one_row_of_choices_under_their_check():
    read, bits = read_message(MESSAGES["choices"]), LABELS["choice_bits"]
    size = len(bits) // 8 + 16
    assert read.sizes == (made.CLASSES, 1, 0, 0)
    assert read.length == 16 + 128 * size + 48 + 64
    sent, checked = read.payload[: 16 + 128 * size], read.payload[-112:-64]
    columns = _columns(sent[:16] + read.number, size)
    own = {
        bytes(
            a ^ b ^ c
            for a, b, c in zip(
                first, second, sent[16 + i * size : 16 + (i + 1) * size], strict=True
            )
        )
        for i, (first, second) in enumerate(zip(*columns, strict=True))
    }
    (x,) = own
    assert "".join(f"{byte:08b}" for byte in x[: len(bits) // 8]) == bits
    domain = b"helix_jax transfers 1: "
    mixing = hashlib.shake_256(domain + b"check" + read.number + sent)
    mixing = mixing.digest(128 * (8 * size - 128) // 8)
    mixed = np.unpackbits(np.frombuffer(mixing, np.uint8)).reshape(128, -1)
    mixed = np.concatenate([mixed, np.eye(128, dtype=np.uint8)], axis=1).astype(int)
    choices = np.unpackbits(np.frombuffer(x, np.uint8))
    assert np.packbits(mixed @ choices % 2).tobytes() == checked[:16]
    rows = np.packbits(mixed @ _rows(columns[0]) % 2, axis=1).tobytes()
    assert hashlib.sha256(domain + b"digest" + rows).digest() == checked[16:]
    assert read.binding.hex() == LABELS["binding"]
    agreed = read_message(MESSAGES["transfers"])
    bound = hashlib.sha256(agreed.binding + agreed.number).digest()[:16]
    assert bound == read.binding


def _columns(tweak: bytes, size: int) -> list[list[bytes]]:
    """The 128 columns of both keys of each pair."""
    pairs = raw(LABELS["key_pairs"])
    start = b"helix_jax transfers 1: column"
    return [
        [
            hashlib.shake_128(start + pairs[i : i + 32] + tweak).digest(size)
            for i in range(32 * side, len(pairs), 64)
        ]
        for side in (0, 1)
    ]


def _rows(columns: list[bytes]) -> np.ndarray:
    """Bits [rows, 128] of columns."""
    table = np.frombuffer(b"".join(columns), np.uint8).reshape(len(columns), -1)
    return np.unpackbits(table, axis=1).T


def test_keys_of_transfers_are_those_of_the_scalars():
    sent = read_message(MESSAGES["transfers"])
    pairs = base_transfers.open_reply(
        integers(raw(LABELS["scalars"]), 32),
        sent.payload[:-64],
        read_message(MESSAGES["elements"]).payload,
        sent.key + sent.number,
    )
    assert b"".join(a + b for a, b in pairs) == raw(LABELS["key_pairs"])


def test_a_garbled_circuit_gives_the_label():
    read, bits = read_message(MESSAGES["garbled"]), LABELS["choice_bits"]
    choices = read_message(MESSAGES["choices"])
    assert read[4:8] == choices[4:8]
    size, count = len(bits) // 8 + 16, len(bits)
    tweak = choices.payload[:16] + choices.number
    rows = np.packbits(_rows(_columns(tweak, size)[0])[:count], axis=1)
    key, moves = read.payload[:16], integers(read.payload[16 : 16 + 16 * count], 16)
    results = integers(read.payload[-64:], 16)  # two bits of a class
    hashed = Hash(key, b"transfers")
    held = [
        hashed(int.from_bytes(row.tobytes(), "little"), j) ^ moves[j] * int(bits[j])
        for j, row in enumerate(rows)
    ]
    shares = [held[i : i + made.CLASSES] for i in range(0, count, made.CLASSES)]
    circuit = Evaluated(read.payload[16 + 16 * count : -64], key)
    wires, shown, label = circuit.largest(shares), Hash(key, b"results"), 0
    for i, wire_label in enumerate(wires):
        named = [
            results[2 * bit + i] == shown(wire_label, 2 * bit + i) for bit in (0, 1)
        ]
        assert sum(named) == 1
        label |= named[1] << i
    plain = np.array(LABELS["x"]) @ LABELS["kernel"] + LABELS["bias"]
    assert label == LABELS["label"] == plain.argmax()
