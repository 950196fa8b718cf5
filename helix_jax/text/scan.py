"""One pass over the rows of a corpus: what is kept of each row, and what is dropped.

37 bytes per row stay in memory, never the texts. Hashes have 64 bits: among ten million
rows the probability that any two different texts are mistaken for equal is 3e-6.
"""

import dataclasses
import hashlib
from array import array
from collections.abc import Sequence

import numpy as np

from helix_jax.errors import CorpusError
from helix_jax.text.hashing import SPLITS, content_key, document_of, split_of
from helix_jax.text.rows import Label, Part, Row

DROPPED = len(SPLITS)  # the split code of a row that belongs to no split


@dataclasses.dataclass(frozen=True)
class Scan:
    """The result of a pass.

    Attributes:
      split: [N] int8, place in SPLITS, or DROPPED for an empty text.
      id: [N] uint64, hash of the id.
      document: [N] uint64, hash of the document's id.
      content: [N] uint64, hash of the text, ignoring case and whitespace.
      digest: [N] uint64, hash of id, text and label as they are.
      code: [N] int32, place in `distinct`, or -1 without a label.
      distinct: the distinct labels in the order of appearance.
      first_seen: where each of them was first seen, for messages.
      unlabelled: the first place without a label, or None.
    """

    split: np.ndarray
    id: np.ndarray
    document: np.ndarray
    content: np.ndarray
    digest: np.ndarray
    code: np.ndarray
    distinct: list[Label]
    first_seen: list[str]
    unlabelled: str | None


def scan_rows(parts: Sequence[Part], labelled: bool) -> Scan:
    """Read every row of every part once; without `labelled` ignore the labels."""
    split, code = array("b"), array("i")
    hashes = {key: array("Q") for key in ("id", "document", "content", "digest")}
    codes: dict[tuple[type, Label], int] = {}
    first_seen: list[str] = []
    unlabelled = None
    for part in parts:
        for source in part.sources:
            for number, row in enumerate(source.rows()):
                document = document_of(row.id)
                split.append(
                    SPLITS.index(split_of(document, source.fractions))
                    if row.text
                    else DROPPED
                )
                hashes["id"].append(_hash(row.id))
                hashes["document"].append(_hash(document))
                hashes["content"].append(_content_hash(row.text))
                hashes["digest"].append(row_digest(row))
                if not labelled or row.label is None:
                    code.append(-1)
                    unlabelled = unlabelled or f"{source.place}, row {number + 1}"
                    continue
                key = (type(row.label), row.label)
                if key not in codes:
                    codes[key] = len(codes)
                    first_seen.append(f"{source.place}, row {number + 1}")
                code.append(codes[key])
    return Scan(
        split=np.frombuffer(split, np.int8) if split else np.zeros(0, np.int8),
        code=np.frombuffer(code, np.int32) if code else np.zeros(0, np.int32),
        distinct=[label for _, label in codes],
        first_seen=first_seen,
        unlabelled=unlabelled,
        **{
            key: np.frombuffer(values, np.uint64) if values else np.zeros(0, np.uint64)
            for key, values in hashes.items()
        },
    )


def _hash(text: str) -> int:
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(raw.digest(), "little")


def _content_hash(text: str) -> int:
    return int.from_bytes(content_key(text)[:8], "little")


def row_digest(row: Row) -> int:
    """64-bit hash of a row's whole content."""
    label = int(row.label) if isinstance(row.label, bool) else row.label
    content = f"{row.id}\0{row.text}\0{label!r}"
    if content.count("\0") > 2:  # lengths then tell where the parts end
        content = f"\0{len(row.id)}\0{len(row.text)}\0{content}"
    return _hash(content)


def drop_duplicates(split: np.ndarray, content: np.ndarray) -> None:
    """Keep one of equal texts: from test if possible, else select, else fit."""
    rows = np.flatnonzero(split != DROPPED)
    # Later splits first; within a split the order of the source.
    order = rows[np.lexsort((rows, -split[rows].astype(int), content[rows]))]
    repeated = content[order][1:] == content[order][:-1]
    split[order[1:][repeated]] = DROPPED


def drop_shared_documents(split: np.ndarray, document: np.ndarray) -> None:
    """Drop from fit (select) the rows whose document is in select or test (test)."""
    rows = np.flatnonzero(split != DROPPED)
    _, inverse = np.unique(document[rows], return_inverse=True)
    latest = np.zeros(inverse.max(initial=0) + 1, np.int8)
    np.maximum.at(latest, inverse, split[rows])
    split[rows[split[rows] < latest[inverse]]] = DROPPED


def require_distinct_ids(name: str, parts: Sequence[Part], ids: np.ndarray) -> None:
    """Raise CorpusError naming an id that occurs twice and both places."""
    order = np.argsort(ids, kind="stable")
    same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if not len(same):
        return
    pair = same[np.argmin(order[same + 1])]  # the first repetition in reading order
    places = {int(order[pair]), int(order[pair + 1])}
    twice, position = [], 0
    for part in parts:
        for source in part.sources:
            for number, row in enumerate(source.rows()):
                if position in places:
                    twice.append((row.id, f"{source.place}, row {number + 1}"))
                position += 1
    (first, first_place), (_, second_place) = twice
    raise CorpusError(
        f"{name}: id {first!r} occurs twice: {first_place} and {second_place}. Ids "
        f"must be unique over the whole corpus; for several texts of one document "
        f"write document#1, document#2; files of equal name cannot be joined."
    )
