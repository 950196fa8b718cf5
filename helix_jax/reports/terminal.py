"""Tables and samples on a terminal, each told what it is about, and the answer."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence

from helix_jax.reports.answers import Answer
from helix_jax.reports.blocks import Block, Samples, Table
from helix_jax.reports.sections import reading_order
from helix_jax.reports.tables import MISSING, markdown_table, show_cell

MOST_ROWS = 60


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
            print("\n\n".join(map(_written, block.items)))
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
    names = list(item)
    if names[:1] != ["prompt"] or len(names) == 1:
        return "\n".join(map(": ".join, item.items()))
    others = "".join(f"\n[{name}] {item[name]}" for name in names[2:])
    return f"{item['prompt']}{item[names[1]]}{others}"


def _filled(note: str, *, later: str = "") -> str:
    """A note in lines of 88 columns; the brackets that it explains are one word."""
    held = note.replace("[ ]", "[\N{NO-BREAK SPACE}]")
    filled = textwrap.fill(held, 88, subsequent_indent=later)
    return filled.replace("[\N{NO-BREAK SPACE}]", "[ ]")
