"""Text files, read in one way: their exact text, or an error that says what to do.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one. A line ends at LF,
CR LF or CR and nowhere else: U+2028, form feeds and the like are characters of the
text. In JSON a key that occurs twice in one object with different values is refused,
and so are integers of too many digits and nesting that is too deep. In JSONL, where
keys are columns, a repeated key is refused whatever its values.
"""

import codecs
import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from helix_jax.errors import HelixError, PathError
from helix_jax.paths import os_errors

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# File types other than text, by their first bytes.
_FORMATS = (
    (b"\x1f\x8b", "gzip; unpack it first, with: gunzip FILE"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet; unpack it, or save it as CSV"),
    (b"BZh", "bzip2; unpack it first, with: bunzip2 FILE"),
    (b"\xfd7zXZ", "xz; unpack it first, with: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "Zstandard; unpack it first, with: unzstd FILE"),
    (b"PAR1", "Parquet; give it the suffix .parquet"),
    (b"%PDF", "a PDF; save its text as UTF-8"),
)


def read_lines(
    path: Path, *, raises: type[HelixError] = PathError, keep_ends: bool = False
) -> Iterator[str]:
    """Stream the lines of a text file, each with its line end.

    Args:
      path: the file.
      raises: class of the error.
      keep_ends: keep CR LF and CR, as a reader of quoted fields needs; otherwise every
        line ends with LF.

    Raises:
      HelixError: of class `raises`; missing, unreadable, or not text (which line).
    """
    newline = "" if keep_ends else None
    with _opened(path, raises, newline=newline) as stream:
        for number, line in enumerate(stream, start=1):
            if "\0" in line:
                raise _with_nul(path, number, raises)
            yield line


def read_text(path: Path, *, raises: type[HelixError] = PathError) -> str:
    """A whole text file, its lines ending with LF; errors as for `read_lines`."""
    with _opened(path, raises) as stream:
        text = stream.read()
    before, nul, _ = text.partition("\0")
    if nul:
        raise _with_nul(path, 1 + before.count("\n"), raises)
    return text


@contextlib.contextmanager
def _opened(
    path: Path, raises: type[HelixError], *, newline: str | None = None
) -> Iterator[TextIO]:
    """A text file, and one error for anything wrong with it."""
    with os_errors(path, "be read", raises):
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise raises(
                f"{path} is a pipe or a device, expected a file, which can be read "
                "again; save the text to a file."
            )
        with path.open("rb") as stream:
            encoding = _encoding(stream.read(4))
        with path.open(encoding=encoding, newline=newline) as stream:
            try:
                yield stream
            except UnicodeError as error:
                raise raises(_not_text(path, encoding, error)) from error


def _with_nul(path: Path, number: int, raises: type[HelixError]) -> HelixError:
    # UTF-16 without a mark is valid UTF-8, in part.
    return raises(
        f"{path}, line {number}: holds a NUL character, which text never does; "
        f"{_remedy(path)}"
    )


def read_entries(path: Path, *, raises: type[HelixError] = PathError) -> list[str]:
    """The lines of a text file without their ends, such as a list of ids."""
    return [line.removesuffix("\n") for line in read_lines(path, raises=raises)]


def split_lines(text: str) -> list[str]:
    """The lines of a text that is not in a file, with the same line ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_jsonl(
    path: Path, *, raises: type[HelixError] = PathError
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream the objects of a JSONL file; blank lines are skipped.

    Args:
      path: the file.
      raises: class of the error.

    Yields:
      (line number from 1, object).

    Raises:
      HelixError: of class `raises`; as for `read_lines` and `parse_json`, or a line
        that is not an object or repeats a key.
    """
    for number, line in enumerate(read_lines(path, raises=raises), start=1):
        if line.isspace():
            continue
        where = f"{path}, line {number}"
        record = parse_json(line, where, raises=raises, jsonl=True)
        if not isinstance(record, dict):
            raise raises(
                f"{where}: expected a JSON object such as "
                f'{{"text": ..., "label": ...}}, found {type(record).__name__}. Each '
                "line must be one whole JSON object; a list is written so with: "
                "jq -c '.[]' OLD > NEW"
            )
        yield number, record


def parse_json(
    text: str | bytes,
    where: str,
    *,
    raises: type[HelixError] = PathError,
    jsonl: bool = False,
) -> Any:
    """The value of a JSON text.

    Args:
      text: the whole of it.
      where: "FILE" or "FILE, line 3", for the message.
      raises: class of the error.
      jsonl: the text is a line of a JSONL file, whose keys are columns: none may be
        repeated, not even with equal values.

    Raises:
      HelixError: malformed, a repeated key in an object, an integer of too many digits,
        or nesting that is too deep.
    """
    try:
        return json.loads(text, object_pairs_hook=_once if jsonl else _distinct)
    except json.JSONDecodeError as error:
        place = "" if jsonl else f"line {error.lineno}, "
        remedy = (
            "Each line must be one whole JSON object."
            if jsonl
            else "Correct it there, or write the file again."
        )
        raise raises(
            f"{where}: malformed JSON: {error.msg} at {place}column {error.colno}. "
            f"{remedy}"
        ) from error
    except RecursionError as error:
        raise raises(
            f"{where}: JSON nested too deeply; expected at most some hundred levels."
        ) from error
    except UnicodeError as error:
        raise raises(
            f"{where}: JSON that is not UTF-8; convert it to UTF-8."
        ) from error
    except ValueError as error:  # a key twice, or an integer of thousands of digits
        raise raises(
            f"{where}: JSON that cannot be held: {str(error).partition(';')[0]}; "
            "correct it, or write a long number as a string."
        ) from error


def read_json(path: Path, *, raises: type[HelixError] = PathError) -> Any:
    """The value of a JSON file; errors as for `read_lines` and `parse_json`."""
    return parse_json(read_text(path, raises=raises), str(path), raises=raises)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        # As JSON, in which 1, 1.0 and true are different.
        if key in found and json.dumps(found[key]) != json.dumps(value):
            raise ValueError(f"the key {key!r} stands twice, with different values")
        found[key] = value
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        key = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key {key!r} stands twice in one object")
    return found


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def _not_text(path: Path, encoding: str, error: UnicodeError) -> str:
    """The file, the line and the remedy for text that cannot be decoded."""
    data = path.read_bytes()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as exact:
        error = exact
    start = getattr(error, "start", 0)
    before = data[:start].decode(encoding, "ignore")
    line = 1 + before.count("\n") + before.replace("\r\n", "").count("\r")
    what = encoding.upper().removesuffix("-SIG")
    byte = f", byte 0x{data[start]:02x}" if start < len(data) else ""
    return (
        f"{path}, line {line}: not {what} ({getattr(error, 'reason', error)}{byte}); "
        f"{_remedy(path)}"
    )


def _remedy(path: Path) -> str:
    """What to do with a file that is not UTF-8, from its first bytes."""
    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    for mark, what in _FORMATS:
        if start.startswith(mark):
            return f"the file is {what}"
    # In UTF-16 the upper bytes of Latin letters, or at least of line ends, are 0.
    upper, lower = start[0::2].count(0), start[1::2].count(0)
    if upper == lower == 0:
        return (
            "convert it from the encoding that it was written in, for example with: "
            "iconv -f latin1 -t utf-8 OLD > NEW"
        )
    name = "utf-16be" if upper > lower else "utf-16le"
    text = start[: len(start) // 2 * 2].decode(name, "replace")
    # A lone NUL does not turn its neighbours into line ends or Latin letters.
    latin = "\n" in text or 2 * sum(one.isascii() for one in text) > len(text)
    if not latin or min(upper, lower) * 10 > max(upper, lower):
        return "the file is binary, or damaged: write it again as UTF-8"
    return (
        "it seems to be UTF-16 without a byte order mark; convert it with: "
        f"iconv -f {name} -t utf-8 OLD > NEW"
    )
