"""The layout of messages, and that nothing is allocated before it is right."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import PROFILES, sampling, wire

PROFILE = PROFILES["open"]
KEY, NUMBER = b"k" * 16, b"n" * 16
SOUND = wire.write(
    "query", PROFILE, key=KEY, number=NUMBER, sizes=(3, 2, 1), payload=b"payload"
)


def put(place: int, part: bytes) -> bytes:
    return SOUND[:place] + part + SOUND[place + len(part) :]


def test_round_trip():
    for data in (SOUND, bytearray(SOUND), memoryview(SOUND)):
        message = wire.read(data, "query", PROFILE, KEY)
        about = "query", PROFILE, KEY, NUMBER, wire.UNBOUND, (3, 2, 1, 0)
        assert message[:6] == about
        assert bytes(message.payload) == b"payload"
    assert len(SOUND) == wire.HEADER_BYTES + 7 == 87


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "expected bytes, got NoneType"),
        ("HLXP", "expected bytes, got str"),
        (np.frombuffer(SOUND, np.uint8), "expected bytes, got ndarray"),
        (memoryview(SOUND)[::-1], "must be contiguous"),
        (b"", "at least 80 bytes, got 0"),
        (SOUND[:79], "at least 80 bytes, got 79"),
        (SOUND[:-1], "the header says 7 bytes follow, got 6"),
        (SOUND + b"x", "the header says 7 bytes follow, got 8"),
        (put(72, struct.pack("<Q", 2**64 - 1)), "says 18446744073709551615 bytes"),
        (put(0, b"HLXQ"), "not a message of the encrypted layer"),
        (put(4, b"\1\0"), f"expected version {wire.VERSION}, got 1; use"),
        (put(6, b"\4"), "expected a message of kind 'query', got 'answer'"),
        (put(6, b"\xff"), "expected a message of kind 'query', got 255"),
        (put(7, b"\1"), "expected profile 'open', got 'guarded'"),
        (put(7, b"\xee"), "expected profile 'open', got 238"),
    ],
)
def test_malformed_headers(data, message):
    with pytest.raises(ProtocolError, match=message):
        wire.read(data, "query", PROFILE, KEY)


def test_other_conversations():
    with pytest.raises(ProtocolError, match="messages of other fits and queries"):
        wire.read(SOUND, "query", PROFILE, KEY, number=KEY)
    assert wire.read(SOUND, "query", PROFILE, KEY, number=NUMBER).number == NUMBER
    with pytest.raises(ProtocolError, match=r"bound to 0{32}, here is .*another layer"):
        wire.read(SOUND, "query", PROFILE, KEY, binding=b"b" * 16)
    bound = put(40, b"b" * 16)
    with pytest.raises(ProtocolError, match=r"here is 0{32}"):
        wire.read(bound, "query", PROFILE, KEY)
    for binding in (b"b" * 16, None):
        read = wire.read(bound, "query", PROFILE, KEY, binding=binding)
        assert read.binding == b"b" * 16


def test_other_keys():
    with pytest.raises(
        KeyRoleError, match=f"client key {KEY.hex()}, expected {'00' * 16}"
    ):
        wire.read(SOUND, "query", PROFILE, bytes(16))
    assert wire.read(SOUND, "query", PROFILE).key == KEY


def test_sizes():
    message = wire.read(SOUND, "query", PROFILE)
    wire.expect_sizes(message, (3, 2, 1), 7)
    for sizes, length in (((3, 2, 2), 7), ((3, 2, 1, 1), 7), ((3, 2, 1), 8)):
        with pytest.raises(ProtocolError, match="query: expected sizes"):
            wire.expect_sizes(message, sizes, length)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data):
    for head in (b"", SOUND[:8], SOUND[: wire.HEADER_BYTES - 8]):
        with pytest.raises(ProtocolError):
            wire.read(head + data, "answer", PROFILE)


@pytest.mark.parametrize("width", [1, 2, 5, 7])
def test_integers(width):
    values = sampling.uniform_bits(8 * width, (3, 50))
    values[0, :2] = [0, 2 ** (8 * width) - 1]
    data = wire.pack_integers(values, width)
    assert len(data) == 150 * width
    assert int.from_bytes(data[width : 2 * width], "little") == values[0, 1]
    found = wire.unpack_integers(memoryview(data), (3, 50), width)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_residues(name):
    profile = PROFILES[name]
    values = sampling.uniform_residues(bytes(32), (2,), profile, "query")
    data = wire.pack_residues(values, profile)
    assert len(data) == wire.residues_length(2, profile)
    found = wire.unpack_residues(memoryview(data), 2, profile, "query")
    np.testing.assert_array_equal(found, values)
    for number, prime in enumerate(profile.primes):
        for over in (prime, 256 ** profile.residue_bytes[number] - 1):
            bad = values.copy()
            bad[1, number, -1] = over
            bad = wire.pack_residues(bad, profile)
            match = f"query: residues modulo {prime} must be below it, got {over}"
            with pytest.raises(ProtocolError, match=match):
                wire.unpack_residues(memoryview(bad), 2, profile, "query")


def test_key_names():
    assert wire.key_name(b"a") == wire.key_name(memoryview(b"a"))
    assert wire.key_name(b"a") != wire.key_name(b"b")
    assert len(wire.key_name(b"a")) == 16
