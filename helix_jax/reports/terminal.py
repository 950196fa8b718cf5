"""Tables and samples on a terminal, each with what it is about, and the answer."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence

from helix_jax.reports.answers import Answer
from helix_jax.reports.blocks import Block, Samples, Table
from helix_jax.reports.sections import reading_order
from helix_jax.reports.tables import MISSING, markdown_table, show_cell

MOST_ROWS = 60
MOST_SAMPLES, MOST_LINES = 4, 8  # samples shown, and lines of each of their texts


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
    """Print title, rows and note of each table, separated by a line; samples last.

    Args:
      blocks: only tables and samples are printed.
      most: most blocks to print; None for all.
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
    """Print what was found, and for which models and texts, as the last lines."""
    for name, text in (("answer", answer.text), ("of", answer.about)):
        if text:
            print(_filled(f"{name}: {text}", later="  "))


def _written(item: Mapping[str, str]) -> str:
    """A sample as text; the first text after the prompt continues its line."""
    short = {name: _shortened(text) for name, text in item.items()}
    names = list(item)
    if names[:1] != ["prompt"] or len(names) == 1:
        return "\n".join(map(": ".join, short.items()))
    others = "".join(f"\n[{name}] {short[name]}" for name in names[2:])
    return f"{item['prompt']}{short[names[1]]}{others}"


def _shortened(text: str) -> str:
    """The first lines of a text; repeated blank lines become one, final ones none."""
    lines = text.split("\n")
    if len(lines) > 1 and not text.strip():
        return f"({len(lines) - 1} line breaks)"
    # The first line stays, since it continues the line before the text.
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
    """A note wrapped to 88 columns; the brackets that it explains are not broken."""
    held = note.replace("[ ]", "[\N{NO-BREAK SPACE}]")
    filled = textwrap.fill(held, 88, subsequent_indent=later)
    return filled.replace("[\N{NO-BREAK SPACE}]", "[ ]")
