"""Ids of texts: given ids are kept as they are, generated ids keep names whole.

A given id is a string or an integer, and ids that differ in the file stay different: no
trimming, no Unicode normalization, no number parsed from a string. In a generated id
"CORPUS/DOCUMENT#PART" the first '#' ends the document, so a '#' in the name of a file
or an article is written %23 there; other names stay as they are.
"""

import re
from typing import Any

import numpy as np

from helix_jax.errors import HelixError


def read_id(value: Any, where: str, *, raises: type[HelixError]) -> str:
    """An id given by a file, as a string.

    Args:
      value: a string, an integer, or bytes of UTF-8.
      where: file and row, for the message.
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; the id is empty, not writable as UTF-8, or of
        another type, of which different values might look equal.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise raises(
                f"{where}: the id {value[:40]!r} is not UTF-8; write ids as strings."
            ) from None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and not value):
        raise raises(f"{where}: the id is empty; give every text an id.")
    if not isinstance(value, str):
        raise raises(
            f"{where}: an id must be a string or an integer, found "
            f"{show_value(value)}; write the ids as strings."
        )
    if not is_text(value):
        raise raises(
            f"{where}: the id {value[:40]!r} holds half of a surrogate pair, which "
            "no file in UTF-8 can; write it again."
        )
    return value


def name_in_id(name: str) -> str:
    """A name as written in a generated id: '#' as %23; distinct names stay distinct."""
    return re.sub("%(?=23|25)", "%25", name).replace("#", "%23")


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8, that is without lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def show_value(value: Any) -> str:
    """A value of the wrong type as shown in a message: its beginning, and its type."""
    shown = repr(value)
    if len(shown) > 60:
        shown = f"{shown[:60]}..."
    return f"{' '.join(shown.split())} ({type(value).__name__})"
