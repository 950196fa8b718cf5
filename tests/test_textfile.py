"""Text files are read as their bytes say, or refused with file, line and remedy."""

import codecs

import pytest

from helix_jax.errors import CorpusError, PathError
from helix_jax.textfile import (
    parse_json,
    read_entries,
    read_json,
    read_lines,
    read_text,
)

TEXT = "first é\nsecond\u2028still second\x0b\x0c\x85\nthird\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_marks_are_recognised_and_never_part_of_the_text(tmp_path, encoding):
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    path = tmp_path / "a.txt"
    path.write_bytes(mark.get(encoding, b"") + TEXT.encode(encoding))
    assert read_text(path) == TEXT
    assert read_entries(path) == TEXT.split("\n")[:-1]


def test_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\r\nb\rc\n\nd")
    assert read_entries(path) == ["a", "b", "c", "", "d"]
    assert list(read_lines(path, keep_ends=True)) == ["a\r\n", "b\r", "c\n", "\n", "d"]


def test_other_encodings_name_file_line_and_remedy(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"one\r\ntwo\r\ncaf\xe9\r\n")
    with pytest.raises(CorpusError, match=r"latin.txt, line 3: not UTF-8 .* iconv -f"):
        read_text(path, raises=CorpusError)
    path.write_bytes("one\ntwo\n".encode("utf-16-le"))
    with pytest.raises(PathError, match=r"line 1: holds a NUL .* UTF-16 without"):
        read_text(path)
    for damaged in (b"text,label\na\0b,1\n", b"text\n\0\0\0\0two\n"):
        path.write_bytes(damaged)
        with pytest.raises(PathError, match=r"NUL .* damaged: write it again as UTF-8"):
            read_text(path)
    path.write_bytes("one\ntwo\n".encode("utf-16")[:-1])
    with pytest.raises(PathError, match=r"line 2: not UTF-16"):
        read_text(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(PathError, match=r"cannot be read: it is a folder"):
        read_text(tmp_path)
    with pytest.raises(PathError, match=r"none cannot be read: there is no such file"):
        read_text(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "malformed JSON.*line 1, column 2"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"b": {"a": 1, "a": 2}}', "the key 'a' stands twice"),
        (f'{{"a": {"9" * 5000}}}', "F, line 3: JSON that cannot be held.*digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_is_held_whole_or_refused(text, message):
    with pytest.raises(CorpusError, match=message):
        parse_json(text, "F, line 3", raises=CorpusError)


def test_json_that_says_the_same_twice_is_clear(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\ufeff{"a": 9007199254740993, "a": 9007199254740993}')
    assert read_json(path) == {"a": 9007199254740993}
