"""Text files of the world, read one way: what the bytes say, or an error that tells.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one. A line ends at
LF, CR LF or CR and nowhere else: U+2028, form feeds and their kin are characters of the
text. JSON keeps what it says: a key that stands twice in one object with different
values is refused, and so are numbers and nestings too large to be held.
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helix_jax.errors import HelixError
from helix_jax.paths import PathError, os_errors

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_lines(
    path: Path, *, raises: type[HelixError] = PathError, keep_ends: bool = False
) -> Iterator[str]:
    """Stream the lines of a text file, each with its line end.

    Args:
      path: the file.
      raises: class of the error.
      keep_ends: leave CR LF and CR as they are, as a reader of quoted fields wants;
        otherwise every line ends with LF.

    Raises:
      HelixError: of class `raises`; not there, unreadable, or not text (which line).
    """
    with os_errors(path, "be read", raises):
        with path.open("rb") as stream:
            encoding = _encoding(stream.read(4))
        with path.open(encoding=encoding, newline="" if keep_ends else None) as stream:
            try:
                for number, line in enumerate(stream, start=1):
                    if "\0" in line:  # UTF-16 without a mark is valid UTF-8, in part
                        raise raises(_holds_nul(path, number))
                    yield line
            except UnicodeError as error:
                raise raises(_not_text(path, encoding, error)) from error


def read_text(path: Path, *, raises: type[HelixError] = PathError) -> str:
    """A whole text file, its lines ending with LF; errors as for `read_lines`."""
    return "".join(read_lines(path, raises=raises))


def read_entries(path: Path, *, raises: type[HelixError] = PathError) -> list[str]:
    """The lines of a text file without their ends, such as a list of ids."""
    return [line.removesuffix("\n") for line in read_lines(path, raises=raises)]


def parse_json(
    text: str | bytes, where: str, *, raises: type[HelixError] = PathError
) -> Any:
    """The value of a JSON text.

    Args:
      text: the whole of it.
      where: "FILE" or "FILE, line 3", for the message.
      raises: class of the error.

    Raises:
      HelixError: malformed, a key twice in an object, a number or a nesting that
        is too large.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise raises(
            f"{where}: malformed JSON: {error.msg} at line {error.lineno}, column "
            f"{error.colno}; mend it there, or write the file again."
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
        if key in found and found[key] != value:
            raise ValueError(f"the key {key!r} stands twice, with different values")
        found[key] = value
    return found


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def _not_text(path: Path, encoding: str, error: UnicodeError) -> str:
    """The file, the line and the remedy of text that cannot be decoded."""
    data = path.read_bytes()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as exact:
        error = exact
    start = getattr(error, "start", 0)
    before = data[:start].decode(encoding, "ignore")
    line = 1 + before.count("\n") + before.replace("\r\n", "").count("\r")
    what = encoding.upper().removesuffix("-SIG")
    return (
        f"{path}, line {line}: not {what} ({getattr(error, 'reason', error)}); convert "
        f"the file, for example with: iconv -f latin1 -t utf-8 OLD > NEW"
    )


def _holds_nul(path: Path, line: int) -> str:
    return (
        f"{path}, line {line}: holds a NUL character, so it is no text in UTF-8; if it "
        "is UTF-16 without a byte order mark, convert it with: iconv -f utf-16le -t "
        "utf-8 OLD > NEW"
    )
