"""What one run shows on a page, and in which order."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from helix_jax.reports.blocks import Bars, Block, Samples, Table


class Section(NamedTuple):
    """What one run shows.

    Attributes:
      title: its heading.
      facts: short name -> value pairs below the blocks: flags, machine, versions.
      blocks: tables, figures, samples.
      answer: what was found, in a sentence; empty for none.
      about: who, on which texts, how many; not repeated in the notes of the blocks.
    """

    title: str
    facts: Mapping[str, object]
    blocks: Sequence[Block]
    answer: str = ""
    about: str = ""


def is_figure(block: Block) -> bool:
    """Whether a block is drawn."""
    return not isinstance(block, (Table, Samples))


def reading_order(blocks: Sequence[Block]) -> list[int]:
    """Places of the blocks as they are read: one figure, the others, samples last.

    The figure that stands first is the first of bars, which shows the answer beside its
    controls, or the first of another kind.
    """
    figures = [place for place, block in enumerate(blocks) if is_figure(block)]
    bars = [place for place in figures if isinstance(blocks[place], Bars)]
    first = (bars or figures)[:1]
    rest = [place for place in range(len(blocks)) if place not in first]
    return first + sorted(rest, key=lambda one: isinstance(blocks[one], Samples))


def own_note(block: Block, section: Section) -> str:
    """The note of a block without what its section says once for all."""
    return block.note.removeprefix(section.about).strip()
