"""The records of a store's windows: texts/00000000.json, one file per window."""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from helix_jax.storage import Folder, list_keys, read_many


class Counts(NamedTuple):
    """The contents of a window, or of a whole store.

    Attributes:
      texts_read: texts taken from the corpus, skipped ones included.
      texts, rows, tokens: written.
      truncated: texts that were truncated.
      empty: texts skipped because they have no token.
      digest: SHA-256 of the texts read up to its end; see `windows.update_digest`.
    """

    texts_read: int = 0
    texts: int = 0
    rows: int = 0
    tokens: int = 0
    truncated: int = 0
    empty: int = 0
    digest: str = ""


def texts_key(window: int) -> str:
    """Key of a window's ids, labels, lengths and counts."""
    return f"texts/{window:08d}.json"


def windows_written(folder: Folder) -> list[int]:
    """Numbers of the existing windows, in order.

    Raises:
      StoreError: they cannot be listed.
    """
    keys = list_keys(folder, "texts/", "texts0")
    names = (re.fullmatch(r"texts/(\d{8,})\.json", key) for key in keys)
    return sorted(int(name[1]) for name in names if name)


def read_counts(folder: Folder, windows: Iterable[int]) -> dict[int, Counts]:
    """The contents of some windows, except missing, damaged or outdated ones.

    Raises:
      StoreError: they cannot be read.
    """
    numbers = list(windows)
    found = {}
    for number, value in zip(numbers, read_many(folder, map(texts_key, numbers))):
        try:
            found[number] = Counts(**json.loads(value or b"")["counts"])
        except (ValueError, KeyError, TypeError):  # it will be written again
            continue
    return found


def sum_counts(windows: Iterable[Counts]) -> Counts:
    """The combined contents of windows in order."""
    total = Counts()
    for one in windows:
        sums = (a + b for a, b in zip(total[:-1], one[:-1]))
        total = Counts._make((*sums, one.digest))
    return total
