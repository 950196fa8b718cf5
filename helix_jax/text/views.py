"""A corpus seen through a function: texts changed or left out, splits unchanged."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from helix_jax.text.corpus import Corpus
from helix_jax.types import Text


@dataclasses.dataclass(frozen=True)
class CorpusView:
    """The reading interface of a corpus.

    Attributes:
      corpus: the texts.
      name: of the view.
      change: text -> text, or None to leave it out; the id stays.
      record: JSON-able description of what `change` does, for fingerprints.
    """

    corpus: Corpus
    name: str
    change: Callable[[Text], Text | None]
    record: Any

    @property
    def fingerprint(self) -> dict:
        """The corpus's record and the view's."""
        return {**self.corpus.fingerprint, "view": self.record}

    @property
    def counts(self) -> dict[str, int]:
        """The corpus's counts: upper bounds if the view leaves texts out."""
        return self.corpus.counts

    def read(self, split: str) -> Iterator[Text]:
        """Stream the texts of a split as the view has them."""
        changed = map(self.change, self.corpus.read(split))
        return (text for text in changed if text is not None)


def halves(corpus: Corpus, *, words: int) -> tuple[CorpusView, CorpusView]:
    """The first and the second half of each text, by words.

    Args:
      corpus: the texts.
      words: a text with fewer words in either half is left out of both.

    Returns:
      Views named NAME-first and NAME-second, with the same ids in the same order.
    """

    def half(number: int) -> CorpusView:
        def change(text: Text) -> Text | None:
            parts = text.text.split()
            middle = len(parts) // 2
            if middle < words:
                return None
            kept = parts[:middle] if number == 0 else parts[middle:]
            return text._replace(text=" ".join(kept))

        name = f"{corpus.name}-{('first', 'second')[number]}"
        return CorpusView(corpus, name, change, {"half": number, "words": words})

    return half(0), half(1)
