"""The answer of a run in one sentence, and what it is about.

A program states its answer in its report. If it states none, the answer is taken from
the first table: its first row, and the first number of each row that follows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.paths import local_path
from helix_jax.reports.blocks import Block, Table
from helix_jax.reports.tables import MISSING, show_cell, with_unit
from helix_jax.textfile import read_json

FILE = "answer.json"
MOST = 4  # most rows, and most numbers of the first row
PLAIN = ("value", "")  # headers that name no quantity: the row names it


class Answer(NamedTuple):
    """What a run has found.

    Attributes:
      text: the answer in a sentence; empty if there is none.
      about: models, corpus and number of texts; empty if not stated.
    """

    text: str
    about: str = ""


def answer_of(blocks: Sequence[Block]) -> str:
    """A sentence from the first table with rows; empty without one."""
    tables = [block for block in blocks if isinstance(block, Table) and block.rows]
    return _sentence(tables[0]) if tables else ""


def save_answer(folder: Path, answer: Answer) -> Path:
    """Write the answer of a run to its work directory; return the path."""
    path = local_path(folder, "the folder of a report") / FILE
    text = json.dumps(answer._asdict(), indent=1, ensure_ascii=False)
    write_file(path, text + "\n", raises=RunError)
    return path


def load_answer(folder: Path, blocks: Sequence[Block]) -> Answer:
    """The answer of a work directory; if its run wrote none, that of its blocks.

    Raises:
      RunError: the file is damaged.
    """
    path = local_path(folder, "the folder of a report") / FILE
    if not path.is_file():
        return Answer(answer_of(blocks))
    try:
        return Answer(**read_json(path, raises=RunError))
    except TypeError as error:
        raise RunError(
            f"{path} is damaged ({error}); run the experiment again in a new work "
            "directory."
        ) from error


def _sentence(table: Table) -> str:
    """ "TITLE: ROW, QUANTITY NUMBER, ..; ROW, NUMBER; .." """
    header, rows = table.header, table.rows
    if not isinstance(rows[0][0], str):  # unnamed rows: each column is a quantity
        parts = _numbers(header, rows[0])
    elif len(header) > 1 and header[1] in PLAIN:  # each row is a quantity
        shown = [row for row in rows if _is_there(row[1])]
        parts = [
            with_unit(show_cell(row[0]), show_cell(row[1])) for row in shown[:MOST]
        ]
    else:
        parts = [", ".join([rows[0][0], *_numbers(header[1:], rows[0][1:])])]
        beside = (
            [show_cell(row[0]), *_numbers([""], row[1:2])] for row in rows[1:MOST]
        )
        parts += [", ".join(words) for words in beside if len(words) > 1]
    return f"{table.title}: {'; '.join(parts)}."


def _numbers(header: Sequence[str], cells: Sequence[object]) -> list[str]:
    """The first numbers that are not missing, with their names and units."""
    shown = [
        with_unit(name, show_cell(cell))
        for name, cell in zip(header, cells)
        if _is_there(cell)
    ]
    return shown[:MOST]


def _is_there(cell: object) -> bool:
    return show_cell(cell) != MISSING
