"""Tables and samples on a terminal, each told what it is about, and the answer."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence

from helix_jax.reports.answers import Answer
from helix_jax.reports.blocks import Block, Samples, Table
from helix_jax.reports.sections import reading_order
from helix_jax.reports.tables import MISSING, markdown_table, show_cell

MOST_ROWS = 60
MOST_SAMPLES, MOST_LINES = 4, 8  # samples, and lines of each text of one


def with_about(blocks: Sequence[Block], about: str) -> list[Block]:
    """The blocks with a sentence before their notes and the meaning of "-" after."""

    def note(block: Block) -> str:
        empty = isinstance(block, Table) and any(
            show_cell(cell) == MISSING for row in block.rows for cell in row
        )
        missing = f"{MISSING}: no such value."
        parts = [about, block.note]
        parts += [missing] if empty and missing not in block.note else []
        return " ".join(part.strip() for part in parts if part)

    return [dataclasses.replace(block, note=note(block)) for block in blocks]


def print_tables(blocks: Sequence[Block], *, most: int | None = None) -> None:
    """Title, rows and note of the tables, with a line between; samples come last.

    Args:
      blocks: all but tables and samples are left out.
      most: how many blocks; None for all.
    """
    ordered = [blocks[place] for place in reading_order(blocks)]
    shown = [block for block in ordered if isinstance(block, (Table, Samples))]
    for block in shown[:most]:
        print(f"\n{block.title}\n")
        if isinstance(block, Table):
            print(markdown_table(block.header, block.rows[:MOST_ROWS]))
            more = len(block.rows) - MOST_ROWS
            if more > 0:
                print(f"and {more:,} rows more in report.json")
        else:
            print("\n\n".join(map(_written, block.items[:MOST_SAMPLES])))
            more = len(block.items) - MOST_SAMPLES
            if more > 0:
                print(f"\nand {more:,} more in report.json")
        if block.note:
            print("\n" + _filled(block.note))
    print(flush=True)


def print_answer(answer: Answer) -> None:
    """What was found, and of which models and texts, as the last that is read."""
    for name, text in (("answer", answer.text), ("of", answer.about)):
        if text:
            print(_filled(f"{name}: {text}", later="  "))


def _written(item: Mapping[str, str]) -> str:
    """A sample; the first text after its prompt begins where the prompt ends."""
    short = {name: _shortened(text) for name, text in item.items()}
    names = list(item)
    if names[:1] != ["prompt"] or len(names) == 1:
        return "\n".join(map(": ".join, short.items()))
    others = "".join(f"\n[{name}] {short[name]}" for name in names[2:])
    return f"{item['prompt']}{short[names[1]]}{others}"


def _shortened(text: str) -> str:
    """The first lines of a text; of blank lines in a row one, and none at its end."""
    lines = text.split("\n")
    if len(lines) > 1 and not text.strip():
        return f"({len(lines) - 1} line breaks)"
    # What is before a text continues in its first line.
    blank = [place > 0 and not line.strip() for place, line in enumerate(lines)]
    kept = [
        line
        for place, line in enumerate(lines)
        if place == 0 or not (blank[place - 1] and blank[place])
    ]
    while len(kept) > 1 and not kept[-1].strip():
        kept.pop()
    return "\n".join(kept[:MOST_LINES] + ["..."] * (len(kept) > MOST_LINES))


def _filled(note: str, *, later: str = "") -> str:
    """A note in lines of 88 columns; the brackets that it explains are one word."""
    held = note.replace("[ ]", "[\N{NO-BREAK SPACE}]")
    filled = textwrap.fill(held, 88, subsequent_indent=later)
    return filled.replace("[\N{NO-BREAK SPACE}]", "[ ]")
