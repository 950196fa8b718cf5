"""Records: any text through digits, and nothing else than the row's own."""

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.search.records import (
    from_digits,
    pack_record,
    read_record,
    record_bytes,
    to_digits,
)

NAME = b"n" * 16
TEXTS = ["", "a", "\0", "Füße, 世界, 🦜", "x" * 16_384, "\u0301\u0301"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("own_id", ["0", "", "é" * 256])
def test_a_text_comes_back_through_its_digits_with_noise(text, own_id):
    parts = own_id.encode(), text.encode()
    size = record_bytes(*([part] for part in parts)) + 9
    record = pack_record(NAME, 7, *parts, size)
    assert len(record) == size
    digits = to_digits(np.frombuffer(record, np.uint8)[None])
    assert np.abs(digits).max() <= 2048
    noise = np.random.default_rng(0).uniform(-0.49, 0.49, digits[0].shape)
    assert read_record(NAME, 7, from_digits(digits[0] + noise)) == (own_id, text)


def test_any_bytes_come_back_through_their_digits():
    made = np.random.default_rng(0).integers(0, 256, (50, 300)).astype(np.uint8)
    for row, digits in zip(made, to_digits(made)):
        assert from_digits(digits) == row.tobytes()


def test_a_record_of_another_row_or_index_or_changed_is_refused():
    record = pack_record(NAME, 7, b"id", b"text", 30)
    for name, row, changed in [
        (NAME, 8, record),
        (b"m" * 16, 7, record),
        (NAME, 7, record[:-16] + b"u" + record[-15:]),
        (NAME, 7, record[:10] + b"\xff\xff" + record[12:]),
        (NAME, 7, bytes(30)),
    ]:
        with pytest.raises(ProtocolError, match=f"not the text of row {row}"):
            read_record(name, row, changed)


def test_digits_out_of_bounds_are_refused():
    for wrong in (2048.0, -2049.0, np.nan, np.inf):
        with pytest.raises(ProtocolError, match="out of bounds"):
            from_digits(np.array([0.0, wrong]))
