"""Splits, samples and orders of texts from a hash of their ids; no state, no seed.

A text's document is the part of its id before the first '#'. All texts of a document
fall into one split, whatever else the corpus holds and in whatever order it is read, so
texts added later never move the others. The same is true of samples: each use has its
own salt, which keeps it independent of the splits and of other uses.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from helix_jax.errors import CorpusError
from helix_jax.types import Text

SPLITS = ("fit", "select", "test")
FRACTIONS = (0.8, 0.1, 0.1)


def document_of(text_id: str) -> str:
    """The document of a text: its id up to the first '#'."""
    return text_id.partition("#")[0]


def unit_hash(name: str, *, salt: str = "split") -> float:
    """A number in [0, 1) from the first 8 bytes of the name's SHA-256.

    Args:
      name: any string, usually a document id.
      salt: keeps different uses of the hash independent of each other.

    Returns:
      A float that depends only on the two strings.
    """
    digest = hashlib.sha256(f"{salt}\0{name}".encode()).digest()
    # 53 bits, so that the quotient is exact and never rounds up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def content_key(text: str) -> bytes:
    """16 bytes of the SHA-256 of a text, ignoring case and white space.

    Texts with equal keys are duplicates.
    """
    folded = " ".join(text.lower().split())
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).digest()[:16]


def part_of(name: str, parts: int, *, salt: str) -> int:
    """Which of `parts` equal parts a name falls into: 0 to parts - 1."""
    return int(unit_hash(name, salt=salt) * parts)


def hashed_order(
    ids: Sequence[str], *, salt: str, by_document: bool = False
) -> np.ndarray:
    """Rows in the order of a hash of their ids; the first n are a sample of n.

    Args:
      ids: [N] text ids.
      salt: of this use.
      by_document: hash the documents instead, so that the texts of a document are
        adjacent, in the order of their ids.

    Returns:
      [N] int64, a permutation of the rows.
    """
    hashed = map(document_of, ids) if by_document else ids
    keys = [(unit_hash(name, salt=salt), text_id) for name, text_id in zip(hashed, ids)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def hashed_subset(ids: Sequence[str], count: int, *, salt: str) -> np.ndarray:
    """[count] rows whose ids [N] hash lowest, ascending; all for 0, or N or more."""
    if not count or count >= len(ids):
        return np.arange(len(ids))
    return np.sort(hashed_order(ids, salt=salt)[:count])


def hashed_sample(
    texts: Iterable[Text], total: int, *, size: Callable[[Text], int], salt: str
) -> list[Text]:
    """The texts of smallest hash, in hash order, until their sizes reach a total.

    Takes one pass, and holds at most one text more than are returned.

    Args:
      texts: a stream with unique ids.
      total: of the sizes; all texts if they do not reach it.
      size: what a text counts for.
      salt: of this use.
    """
    heap: list[tuple[float, str, Text]] = []  # the largest hash first
    held = 0
    for text in texts:
        heapq.heappush(heap, (-unit_hash(text.id, salt=salt), text.id, text))
        held += size(text)
        while heap and held - size(heap[0][2]) >= total:
            held -= size(heapq.heappop(heap)[2])
    return [text for _, _, text in sorted(heap, reverse=True)]


def split_of(text_id: str, fractions: tuple[float, ...] = FRACTIONS) -> str:
    """The split of a text: "fit", "select" or "test", by its document alone.

    Args:
      text_id: id of the text.
      fractions: three shares of the documents that sum to one.

    Returns:
      One of SPLITS.

    Raises:
      CorpusError: the fractions are not three shares that sum to one.
    """
    if (
        len(fractions) != len(SPLITS)
        or min(fractions) < 0
        or abs(sum(fractions) - 1) > 1e-9
    ):
        raise CorpusError(
            f"split_of: expected three fractions (fit, select, test) that are not "
            f"negative and sum to 1, got {fractions}."
        )
    position = unit_hash(document_of(text_id))
    if position < fractions[0]:
        return "fit"
    # With no test share everything else is "select", whatever the rounding.
    in_select = position < fractions[0] + fractions[1] or fractions[2] == 0
    return "select" if in_select else "test"
