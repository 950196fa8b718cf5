"""Splits by document, from a hash of the document's id; no state, no seed.

A text's document is the part of its id before the first '#'. All texts of a document
fall into one split, whatever else the corpus holds and in whatever order it is read,
so that texts added later never move the others.
"""

import hashlib

from helix_jax.errors import CorpusError

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
      A float that depends on nothing but the two strings.
    """
    digest = hashlib.sha256(f"{salt}\0{name}".encode()).digest()
    # 53 bits, so that the quotient is exact and never rounds up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


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
