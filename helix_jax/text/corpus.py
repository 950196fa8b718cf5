"""A corpus: its splits, without duplicates, read as a stream.

Loading reads every row once and keeps 37 bytes of it (hashes, split, label) until the
splits are decided, then 13 bytes, or 21 with scores, and never the text. Reading a
split goes through the sources again and checks each text against its hash.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from helix_jax.errors import CorpusError, RunError
from helix_jax.text.hashing import SPLITS
from helix_jax.text.labels import Labels, resolve_labels
from helix_jax.text.rows import Part
from helix_jax.text.scan import (
    DROPPED,
    Scan,
    drop_duplicates,
    drop_shared_documents,
    require_distinct_ids,
    row_digest,
    scan_rows,
)
from helix_jax.types import Text


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus with splits "fit", "select" and "test".

    Attributes:
      name: short name.
      classes: class names in order, or None without classes.
      fingerprint: JSON-able record of its content and where that came from.
      counts: texts of each split, and the rows dropped as "empty", "duplicates"
        (equal up to case and whitespace), "shared_documents" (their document is also
        in a later split) and "beyond_limit".
    """

    name: str
    classes: tuple[str, ...] | None
    fingerprint: dict
    counts: dict[str, int]
    _parts: tuple[Part, ...] = dataclasses.field(repr=False)
    _split: np.ndarray = dataclasses.field(repr=False)
    _digest: np.ndarray = dataclasses.field(repr=False)
    _label: np.ndarray = dataclasses.field(repr=False)
    _score: np.ndarray | None = dataclasses.field(repr=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that hold texts."""
        return tuple(split for split in SPLITS if self.counts[split])

    def read(self, split: str) -> Iterator[Text]:
        """Stream the texts of a split, in the order of the source.

        Args:
          split: "fit", "select" or "test".

        Returns:
          An iterator over Text(id, text, label).

        Raises:
          CorpusError: the split is unknown or empty, or the source has changed since
            the corpus was loaded.
        """
        self._require_texts(split)
        return self._read(SPLITS.index(split))

    def labels(self, split: str) -> np.ndarray:
        """Labels of a split in the order of `read`: [N] int32, -1 without classes."""
        self._require_texts(split)
        return self._label[self._split == SPLITS.index(split)]

    def scores(self, split: str) -> np.ndarray:
        """Scores of a split in the order of `read`: [N] float64.

        Raises:
          CorpusError: the corpus has no scores; only a label column of numbers with
            fractions (as in STS-B) gives them.
        """
        self._require_texts(split)
        if self._score is None:
            raise CorpusError(
                f"{self.name}: has no scores; its label column holds "
                f"{'classes' if self.classes else 'nothing'}. Scores are numbers with "
                "fractions; in a text file no two of them may be one number in two "
                "spellings, as 3.1 and 3.10 are."
            )
        return self._score[self._split == SPLITS.index(split)]

    def _require_texts(self, split: str) -> None:
        if split not in SPLITS:
            raise CorpusError(
                f"{self.name}: unknown split {split!r}; splits are {', '.join(SPLITS)}."
            )
        if not self.counts[split]:
            raise CorpusError(
                f"{self.name}: no texts in split {split!r} "
                f"({', '.join(f'{s}: {self.counts[s]}' for s in SPLITS)}). Splits are "
                f"by document; a corpus of few documents may leave one empty."
            )

    def _read(self, wanted: int) -> Iterator[Text]:
        position = 0
        for part in self._parts:
            for source in part.sources:
                for row in source.rows():
                    if position == len(self._split) or (
                        self._split[position] == wanted
                        and self._digest[position] != row_digest(row)
                    ):
                        raise self._changed(source.place)
                    if self._split[position] == wanted:
                        label = int(self._label[position])
                        yield Text(row.id, row.text, None if label < 0 else label)
                    position += 1
        if position != len(self._split):
            raise self._changed(source.place)

    def _changed(self, place: str) -> CorpusError:
        return CorpusError(
            f"{place}: has changed since corpus {self.name!r} was loaded; load it "
            f"again."
        )


def build_corpus(
    name: str, parts: Sequence[Part], *, limit: int | None = None, labelled: bool = True
) -> Corpus:
    """Read all rows once and decide the split of each.

    Args:
      name: name of the corpus.
      parts: what it is made of; several are joined.
      limit: keep at most this many texts in all, chosen by a hash of the id, so that a
        sorted source loses no class; every split keeps its share, and at least a tenth
        of the limit if it has that many.
      labelled: whether to use the labels; joined corpora have none in common.

    Returns:
      The corpus.

    Raises:
      CorpusError: there are no texts, an id occurs twice, or labels are missing in
        some rows but not in all, of mixed kinds or unknown.
    """
    if limit is not None and limit < 1:
        raise CorpusError(f"{name}: limit must be at least 1, got {limit}.")
    scan = scan_rows(parts, labelled)
    if not len(scan.split):
        places = ", ".join(s.place for part in parts for s in part.sources)
        raise CorpusError(f"{places}: no rows; the source is empty.")
    require_distinct_ids(name, parts, scan.id)
    counts = {}
    split = scan.split.copy()
    counts["empty"] = int(np.sum(split == DROPPED))
    if counts["empty"] == len(split):
        raise CorpusError(f"{name}: all {len(split)} rows have an empty text.")
    drop_duplicates(split, scan.content)
    counts["duplicates"] = int(np.sum(split == DROPPED)) - counts["empty"]
    before = int(np.sum(split == DROPPED))
    drop_shared_documents(split, scan.document)
    counts["shared_documents"] = int(np.sum(split == DROPPED)) - before
    kept = np.flatnonzero(split != DROPPED)
    counts["beyond_limit"] = 0
    if limit is not None and len(kept) > limit:
        drop_beyond(split, kept[np.argsort(scan.id[kept], kind="stable")], limit)
        counts["beyond_limit"] = len(kept) - limit
    counts |= {s: int(np.sum(split == i)) for i, s in enumerate(SPLITS)}
    labels = _labels(name, parts, scan)
    code = scan.code
    known = code >= 0
    label = np.full(len(code), -1, np.int32)
    label[known] = labels.index[code[known]]
    score = None
    if labels.score is not None:
        score = np.full(len(code), np.nan)
        score[known] = labels.score[code[known]]
    kept = split != DROPPED
    digest = hashlib.sha256()
    for column in (scan.digest, split, label):
        digest.update(np.ascontiguousarray(column[kept]).tobytes())
    record = {
        "corpus": name,
        "texts": int(kept.sum()),
        "sha256": digest.hexdigest()[:16],
        "classes": None if labels.classes is None else list(labels.classes),
    }
    if origins := [(part.name, part.origin) for part in parts if part.origin]:
        by_name = dict(origins)  # shorter if two parts share a name
        record["origin"] = by_name if len(by_name) == len(origins) else origins
    return Corpus(
        name,
        labels.classes,
        record,
        counts,
        tuple(parts),
        split,
        scan.digest,
        label,
        score,
    )


def drop_beyond(split: np.ndarray, order: np.ndarray, limit: int) -> None:
    """Drop the rows beyond a limit, see `build_corpus`.

    Args:
      split: [N] int, indices of SPLITS or DROPPED; changed in place.
      order: rows that are not dropped, more than `limit`, those to keep first.
      limit: rows to keep.
    """
    held, share = (
        np.bincount(split[rows], minlength=len(SPLITS))
        for rows in (order, order[:limit])
    )
    quota = np.maximum(share, np.minimum(held, limit // 10))
    quota[np.argmax(share)] -= quota.sum() - limit
    for index, count in enumerate(quota):
        split[order[split[order] == index][count:]] = DROPPED


def require_labels(corpus: Corpus) -> tuple[str, ...]:
    """The class names of a corpus that is to be classified.

    Raises:
      CorpusError: it has no classes, or all texts of its fit split are of one class.
    """
    if corpus.classes is None:
        held = "scores" if corpus._score is not None else "no labels"
        raise CorpusError(
            f"{corpus.name}: classification needs class labels, but the corpus has "
            f"{held}. Name the column with label_column, or choose a labelled corpus."
        )
    classes = np.unique(corpus.labels("fit"))
    if len(classes) < 2:
        raise CorpusError(
            f"{corpus.name}: classification needs at least two classes, but all "
            f"{corpus.counts['fit']} texts of the fit split are of class "
            f"{corpus.classes[classes[0]]!r}."
        )
    return corpus.classes


def _labels(name: str, parts: Sequence[Part], scan: Scan) -> Labels:
    if scan.distinct and scan.unlabelled:
        raise CorpusError(
            f"{name}: {scan.unlabelled} has no label (absent, empty or -1), while "
            f"{scan.first_seen[0]} has {scan.distinct[0]!r}. Label every row, or leave "
            "the unlabelled file out; a class or score of -1 must be written otherwise."
        )
    classes = parts[0].classes if len(parts) == 1 and scan.distinct else None
    return resolve_labels(
        [label for label in scan.distinct if label is not None],
        scan.first_seen,
        classes,
        name,
        numbered=parts[0].numbered,
    )


LEAST_TEXTS = {"fit": 2, "select": 2, "test": 2}  # fewer have no spread


def require_texts(corpus: Corpus, name: str, least: Mapping[str, int]) -> None:
    """Raise unless the splits of a corpus hold enough texts for later steps.

    Args:
      corpus: as opened.
      name: the user's name for it, for the message.
      least: split -> number of texts needed.

    Raises:
      RunError: names the split, and says how many texts would suffice.
    """
    total = sum(corpus.counts[split] for split in SPLITS)
    for split, wanted in least.items():
        held = corpus.counts[split]
        if held < wanted:
            more = -(-total * wanted // max(held, 1)) * 11 // 10 + 10
            raise RunError(
                f"{name}: {held} of its {total} texts are in the {split} split, "
                f"{wanted} are needed; use a larger corpus, or raise the limit where "
                f"one is set, to {more:,} or so."
            )
