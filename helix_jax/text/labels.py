"""From the labels of a source to class indices, or to scores."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.errors import CorpusError
from helix_jax.text.rows import Label

MOST_CLASSES = 10_000


class Labels(NamedTuple):
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
    distinct: Sequence[Label],
    first_seen: Sequence[str],
    classes: tuple[str, ...] | None,
    place: str,
) -> Labels:
    """Decide what the labels are: names, class numbers or scores.

    Names become the sorted names' indices, unless the class names were given in order.
    Class numbers 0..C-1 stay as they are; other integers are ranked. Numbers of which
    one has a fraction are scores, not classes.

    Args:
      distinct: the distinct labels, none of them None.
      first_seen: where each was first seen, for messages.
      classes: class names in order where they are known.
      place: corpus, for messages.

    Returns:
      Classes with an index for each distinct label, or scores.

    Raises:
      CorpusError: labels are of mixed kinds, unknown to the given classes, or too
        many to be classes.
    """
    if classes is not None:
        index = [
            _given_index(label, where, classes)
            for label, where in zip(distinct, first_seen)
        ]
        return Labels(classes, np.asarray(index, np.int32), None)
    none = np.full(len(distinct), -1, np.int32)
    if not distinct:
        return Labels(None, none, None)
    texts = [i for i, label in enumerate(distinct) if isinstance(label, str)]
    numbers = [i for i, label in enumerate(distinct) if not isinstance(label, str)]
    if texts and numbers:
        raise CorpusError(
            f"{place}: labels of mixed kinds: {first_seen[texts[0]]} has the text "
            f"{distinct[texts[0]]!r}, {first_seen[numbers[0]]} has the number "
            f"{distinct[numbers[0]]!r}. Write all labels as names or all as numbers."
        )
    values = _as_numbers(distinct) if texts else [float(label) for label in distinct]
    if values is not None and not all(value.is_integer() for value in values):
        return Labels(None, none, np.asarray(values))
    if len(distinct) > MOST_CLASSES:
        raise CorpusError(
            f"{place}: the label column has {len(distinct)} distinct values, more than "
            f"{MOST_CLASSES}: it does not hold classes. Name another column with "
            f"label_column."
        )
    if values is None:
        names = sorted(str(label) for label in distinct)
        index = [names.index(str(label)) for label in distinct]
        return Labels(tuple(names), np.asarray(index, np.int32), None)
    whole = sorted({int(value) for value in values})
    index = [whole.index(int(value)) for value in values]
    return Labels(tuple(map(str, whole)), np.asarray(index, np.int32), None)


def _as_numbers(labels: Sequence[Label]) -> list[float] | None:
    """Labels of a text file as numbers, or None when one of them is a word."""
    try:
        values = [float(str(label)) for label in labels]
    except ValueError:
        return None
    return values if all(np.isfinite(values)) else None


def _given_index(label: Label, where: str, classes: tuple[str, ...]) -> int:
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    number = _as_numbers([label])
    if number is not None and number[0] in range(len(classes)):
        return int(number[0])
    raise CorpusError(
        f"{where}: label {label!r} is not one of the {len(classes)} classes "
        f"({', '.join(classes[:20])}) nor one of their numbers 0 to {len(classes) - 1}."
    )
