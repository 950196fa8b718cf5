"""What one run shows on a page, and in which order."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from helix_jax.reports.blocks import Bars, Block, Samples, Table


class Section(NamedTuple):
    """What one run shows.

    Attributes:
      title: its heading.
      facts: short name -> value, shown below the blocks: flags, machine, versions.
      blocks: tables, figures, samples.
      answer: what was found, in a sentence; empty for none.
      about: models, corpus and number of texts; not repeated in the blocks' notes.
    """

    title: str
    facts: Mapping[str, object]
    blocks: Sequence[Block]
    answer: str = ""
    about: str = ""


def is_figure(block: Block) -> bool:
    """Whether a block is a figure."""
    return not isinstance(block, (Table, Samples))


def reading_order(blocks: Sequence[Block]) -> list[int]:
    """Indices of the blocks in reading order: one figure, the others, samples last.

    The figure that comes first is the first with bars, which shows the answer beside
    its controls, or else the first figure of another kind.
    """
    figures = [place for place, block in enumerate(blocks) if is_figure(block)]
    bars = [place for place in figures if isinstance(blocks[place], Bars)]
    first = (bars or figures)[:1]
    rest = [place for place in range(len(blocks)) if place not in first]
    return first + sorted(rest, key=lambda one: isinstance(blocks[one], Samples))


def own_note(block: Block, section: Section) -> str:
    """The note of a block without what its section already says."""
    return block.note.removeprefix(section.about).strip()
