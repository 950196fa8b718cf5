"""What every table of every program has to say."""

import re
from pathlib import Path

from helix_jax.reports import Table, load_answer, load_blocks
from helix_jax.reports.tables import show_cell

KEY = re.compile(r"\b[a-z][a-z0-9]*_[a-z0-9_]+\b|\b(test|fit|generation|gate|data)/\w")
BRACKET = re.compile(r"\d \[-?[\d.,]+, -?[\d.,]+\]")
EXPLAINED = re.compile(r"95%|percentile|least, most|range over")


def require_told(folder: Path | str, *words: str) -> list[Table]:
    """Check the tables of a work directory; returns them.

    Each block's note has all `words` (models, corpus) and the number of texts, rows,
    tokens or prompts; no cell is the name of a key, a raw NaN or infinity, or empty;
    a bracket is explained by its row, its column or the note. The answer is a sentence
    with a number and without keys.
    """
    blocks = load_blocks(Path(folder))
    answer = load_answer(Path(folder), blocks).text
    assert re.search(r"\d.*\.$", answer), answer
    for word in words:
        answer = answer.replace(word, "")
    assert not KEY.search(answer), answer
    for block in blocks:
        for word in words:
            assert word in block.note, (block.title, word, block.note)
        assert re.search(
            r"\d (paired |planted |test |in-distribution test |tokens? )?"
            r"(texts|text|rows|tokens|token pairs|prompts|prompt|to fit|queries)",
            block.note,
        ), (block.title, block.note)
    tables = [block for block in blocks if isinstance(block, Table)]
    assert tables
    for table in tables:
        for name in (table.title, *table.header):
            assert not KEY.search(name), (table.title, name)
        for row in table.rows:
            assert row[0] not in (None, ""), (table.title, row)
            for name, cell in zip(table.header, row):
                text = show_cell(cell)
                for word in words:  # a model's name is no key
                    text = text.replace(word, "")
                assert not KEY.search(text), (table.title, text)
                assert text.lower() not in ("nan", "inf", "-inf", "none", ""), row
                if BRACKET.search(text):
                    about = " ".join([name, table.note, *map(show_cell, row)])
                    assert EXPLAINED.search(about), (table.title, name, text)
    return tables


def require_answered(folder: Path | str, *shown: str) -> None:
    """Check that the answer of a work directory has these numbers, in this order."""
    answer = load_answer(Path(folder), []).text
    pattern = ".*".join(rf"(?<![\d.,]){re.escape(number)}(?!\d)" for number in shown)
    assert re.search(pattern, answer), (shown, answer)
