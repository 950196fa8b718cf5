"""Rows of a corpus before splitting, and the sources that give them."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

from helix_jax.errors import CorpusError
from helix_jax.text.hashing import FRACTIONS

Label = str | int | float | None


class Row(NamedTuple):
    """One row of a source.

    Attributes:
      id: unique name; its document is the part before the first '#'.
      text: the text, stripped; "" for a row that has none.
      label: class name, class number, score or Boolean as given by the source, or
        None.
    """

    id: str
    text: str
    label: Label = None


@dataclasses.dataclass(frozen=True)
class Source:
    """One official part of a corpus (or all of it), which can be read repeatedly.

    Attributes:
      place: its name in messages: a path or a hub id.
      rows: makes a fresh iterator, always over the same rows.
      fractions: shares of its documents that go to fit, select and test.
    """

    place: str
    rows: Callable[[], Iterator[Row]]
    fractions: tuple[float, float, float] = FRACTIONS


@dataclasses.dataclass(frozen=True)
class Part:
    """A named collection of sources: one corpus, before splitting.

    Attributes:
      name: short name, independent of the files' location.
      sources: the official parts.
      classes: class names in order, if known beforehand.
      origin: JSON-able record of where it comes from, for the fingerprint.
      numbered: integer labels are indices into `classes`, whatever the names are.
    """

    name: str
    sources: tuple[Source, ...]
    classes: tuple[str, ...] | None = None
    origin: dict = dataclasses.field(default_factory=dict)
    numbered: bool = False


_ROLES = {
    "train": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}
SPLIT_NAMES = tuple(_ROLES)


def role_of(name: str) -> str | None:
    """The role of an official split by its name: train, dev, test, or None.

    Only the first word counts: "dev_matched" and "train-00000-of-00002" have roles.
    """
    return _ROLES.get(name.lower().replace("-", "_").replace(".", "_").split("_")[0])


def role_fractions(roles: set[str]) -> dict[str, tuple[float, float, float]]:
    """How each official split is divided into fit, select and test.

    The official test split is the test split; if there is none, the official dev split
    is. With a test split, the dev split is the select split; otherwise a tenth of the
    training documents is. A single split is divided 80/10/10.

    Args:
      roles: which of "train", "dev" and "test" the corpus has.

    Returns:
      For each role its shares of fit, select and test.
    """
    only_fit, only_select, only_test = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    cut = (0.9, 0.1, 0.0)
    if unknown := roles - {"train", "dev", "test"}:
        raise CorpusError(f"role_fractions: unknown roles {sorted(unknown)}.")
    if len(roles) == 1:
        return {role: FRACTIONS for role in roles}
    if roles == {"train", "dev"}:
        return {"train": cut, "dev": only_test}
    if roles == {"train", "test"}:
        return {"train": cut, "test": only_test}
    if roles == {"dev", "test"}:
        return {"dev": cut, "test": only_test}
    return {"train": only_fit, "dev": only_select, "test": only_test}
