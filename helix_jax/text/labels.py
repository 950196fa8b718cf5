"""Class indices or scores from the labels of a source.

Labels that differ in the file stay different. A label is a number only if the file's
type says so (JSON, Parquet, the hub) or, where labels are texts, if all of them are
written as Python writes numbers. Whole numbers without a plus, leading zeros, spaces or
separators are class numbers; "1" and "01" are thus two names. Decimals are scores if no
two of them are the same number; "3.1" and "3.10" are thus two names, and so are version
numbers that cannot be told apart as numbers.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from helix_jax.errors import CorpusError

MOST_CLASSES = 10_000
_Known = str | int | float  # a label that is not None
_Value = TypeVar("_Value", str, int)
# Python refuses to read integers of more than some thousand digits.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,999}")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,999})(\.[0-9]+)?(e[+-]?[0-9]+)?")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Class names and, for each distinct label, its index or score.

    Attributes:
      classes: names in order, or None for scores and for no labels.
      index: [distinct] int32, class index of each distinct label; -1 for scores.
      score: [distinct] float64, score of each distinct label, or None for classes.
    """

    classes: tuple[str, ...] | None
    index: np.ndarray
    score: np.ndarray | None


def resolve_labels(
    distinct: Sequence[_Known],
    first_seen: Sequence[str],
    classes: tuple[str, ...] | None,
    place: str,
    *,
    numbered: bool = False,
) -> Labels:
    """Decide what the labels are: names, class numbers or scores.

    Names become indices into the sorted names, unless the class names are given in
    order. Class numbers 0..C-1 stay as they are; other integers are ranked. If any
    number has a fraction, all are scores, not classes. False and true are the classes 0
    and 1.

    Args:
      distinct: the distinct labels by type and value, none of them None.
      first_seen: where each was first seen, for messages.
      classes: class names in order, if known.
      place: corpus, for messages.
      numbered: integer labels are indices into `classes`, even if these names are
        numbers too.

    Returns:
      Classes with an index for each distinct label, or scores.

    Raises:
      CorpusError: labels are of mixed kinds, not among the given classes or ambiguous
        among them, too many to be classes, or numbers that a score cannot tell apart.
    """
    kinds = [_kind(label) for label in distinct]
    other = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        first, second = sorted((0, other), key=lambda i: kinds[i] != "text")
        raise CorpusError(
            f"{place}: labels of mixed kinds: {first_seen[first]} has the "
            f"{kinds[first]} {distinct[first]!r}, {first_seen[second]} has the "
            f"{kinds[second]} {distinct[second]!r}. Write all labels as names or all "
            "as numbers."
        )
    if classes is not None:
        index = _given_index(distinct, first_seen, classes, numbered)
        return Labels(classes, np.asarray(index, np.int32), None)
    none = np.full(len(distinct), -1, np.int32)
    if not distinct:
        return Labels(None, none, None)
    score = _scores(distinct, first_seen)
    if score is not None:
        return Labels(None, none, score)
    if len(distinct) > MOST_CLASSES:
        raise CorpusError(
            f"{place}: the label column has {len(distinct)} distinct values, more than "
            f"{MOST_CLASSES}: it does not hold classes. Name another column with "
            "label_column. Decimals in a text file are scores only if no two of them "
            "are one number, as 3.1 and 3.10 are."
        )
    for label, where in zip(distinct, first_seen):
        if isinstance(label, float) and abs(label) >= 2**53:
            raise CorpusError(
                f"{where}: the class number {label!r} is a float beyond 2**53, where "
                "floats no longer separate integers. Write it as an integer, or as "
                "a name."
            )
    numbers = [number for number in map(_whole, distinct) if number is not None]
    if len(numbers) == len(distinct):
        return _ranked(numbers, distinct, first_seen, place)
    return _ranked(list(map(str, distinct)), distinct, first_seen, place)


def _ranked(
    values: list[_Value],
    distinct: Sequence[_Known],
    first_seen: Sequence[str],
    place: str,
) -> Labels:
    """Classes in the order of the labels' values, which must differ."""
    ordered = sorted(set(values))
    if len(ordered) < len(distinct):
        one = next(i for i, value in enumerate(values) if value in values[:i])
        raise CorpusError(
            f"{place}: the labels {distinct[values.index(values[one])]!r} "
            f"({first_seen[values.index(values[one])]}) and {distinct[one]!r} "
            f"({first_seen[one]}) are one number in two types. Write all as integers, "
            "or all as names."
        )
    number = {value: i for i, value in enumerate(ordered)}
    index = [number[value] for value in values]
    return Labels(tuple(map(str, ordered)), np.asarray(index, np.int32), None)


def _kind(label: _Known) -> str:
    if isinstance(label, bool):
        return "truth value"
    return "text" if isinstance(label, str) else "number"


def _whole(label: _Known) -> int | None:
    """The integer that a label is, exactly, or None."""
    if isinstance(label, str):
        return int(label) if _WHOLE.fullmatch(label) else None
    return int(label) if label == math.floor(label) else None


def _scores(distinct: Sequence[_Known], first_seen: Sequence[str]) -> np.ndarray | None:
    """[distinct] float64, or None where the labels are classes."""
    texts = [label for label in distinct if isinstance(label, str)]
    if not texts:
        if all(_whole(label) is not None for label in distinct):
            return None
        for label, where in zip(distinct, first_seen):
            if isinstance(label, int) and abs(label) > 2**53:
                raise CorpusError(
                    f"{where}: the score {label} is beyond 2**53, where float64 no "
                    "longer separates integers. Scale the scores."
                )
        return np.array([float(label) for label in distinct])
    if not all(map(_DECIMAL.fullmatch, texts)):
        return None
    values = np.array([float(label) for label in texts])
    fractions = np.isfinite(values) & (values != np.floor(values))
    same = len(np.unique(values)) < len(values)
    if same or not fractions.any() or not np.isfinite(values).all():
        return None
    return values


def _given_index(
    distinct: Sequence[_Known],
    first_seen: Sequence[str],
    classes: tuple[str, ...],
    numbered: bool,
) -> list[int]:
    """Index of each label among the given names: all are names, or all are numbers."""
    place = {name: i for i, name in enumerate(classes)}
    whole = [_whole(label) for label in distinct]
    numbers = [
        number if number is not None and 0 <= number < len(classes) else None
        for number in whole
    ]
    spelled = [
        label if isinstance(label, str) else None if number is None else str(number)
        for label, number in zip(distinct, whole)
    ]
    texts = bool(distinct) and isinstance(distinct[0], str)
    names = [None if one is None else place.get(one) for one in spelled]
    if None not in numbers and None not in names and names != numbers and not numbered:
        at, number = next(
            (i, b)
            for i, (a, b) in enumerate(zip(names, numbers))
            if b is not None and a != b
        )
        raise CorpusError(
            f"{first_seen[at]}: the label {distinct[at]!r} may be the class of that "
            f"name, number {names[at]}, or class number {number}, "
            f"{classes[number]!r}. Name the classes by words, or put each number "
            "at its own place, 0 first."
        )
    if texts and None not in names:
        return [one for one in names if one is not None]
    if None not in numbers:
        return [one for one in numbers if one is not None]
    named = texts and any(one is not None for one in names)
    at = (names if named else numbers).index(None)
    raise CorpusError(
        f"{first_seen[at]}: label {distinct[at]!r} is not one of the {len(classes)} "
        f"classes ({', '.join(map(repr, classes[:20]))}) "
        + (
            "although other labels are; write all by name."
            if named
            else f"nor one of their numbers 0 to {len(classes) - 1}."
        )
    )
