"""A block as HTML for a screen, a phone, and grey print.

On a phone, a table that is too wide becomes one list per row (`.stacked`); in print, so
does one that is too wide for paper (`.broad`). A figure that is too wide for a phone is
included twice, the second time in a slim form.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from helix_jax.reports.blocks import Block, Samples, Table
from helix_jax.reports.plots import draw
from helix_jax.reports.tables import require_rectangle, show_rows

PHONE_LETTERS, PAPER_LETTERS = 58, 135  # most in a row with its narrowest columns
SLIM_INCHES, WHOLE_INCHES = 4.3, 5.5  # a figure for phones; the widest that fits as is
GAP = 2  # letters between columns
_NUMBER = re.compile(r"-?[\d,.]+(e[+-]\d+)?%?( \[.*\])?|-")


def html_block(block: Block, note: str, name: str) -> str:
    """A block with its title and its note.

    Args:
      block: table, figure or samples; samples are collapsed.
      note: shown below it; empty for none.
      name: an id, unique among the blocks of the page.
    """
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    if isinstance(block, Samples):
        items = "".join(map(_sample, block.items))
        title = f"{escape(block.title)}: {len(block.items)}, collapsed"
        return f"<details><summary>{title}</summary>{said}{items}</details>"
    body = html_table(block) if isinstance(block, Table) else _figure(block, name)
    return f"<h3>{escape(block.title)}</h3>\n{body}{said}"


def html_table(table: Table) -> str:
    """A table; numbers are right-aligned, with their interval on the same line."""
    require_rectangle(table.header, table.rows)
    rows = show_rows(table.rows)
    columns = list(zip(*rows)) or [()] * len(table.header)
    right = [bool(one) and all(map(_NUMBER.fullmatch, one)) for one in columns]
    kinds = [' class="number"' if one else "" for one in right]
    head = "".join(f"<th{k}>{_words(n)}</th>" for k, n in zip(kinds, table.header))
    body = "\n".join(f"<tr>{_cells(kinds, table.header, row)}</tr>" for row in rows)
    return (
        f'<div class="{_width_class(table.header, rows)}"><table><thead><tr>{head}'
        f"</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def escape(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value), quote=True)


def _cells(kinds: Sequence[str], header: Sequence[str], row: Sequence[str]) -> str:
    return "".join(
        f'<td{kind} data-name="{escape(name)}"><span>{_words(text)}</span></td>'
        for kind, name, text in zip(kinds, header, row)
    )


def _pieces(text: str) -> list[str]:
    """The pieces between which a line may break: an interval or a name is one piece."""
    return re.findall(r"\[[^\]]{1,30}\]|\S+", text)


def _words(text: str) -> str:
    """The text as HTML; no line breaks inside intervals or words with a hyphen."""
    return " ".join(
        f'<span class="whole">{escape(piece)}</span>'
        if re.search(r"[-\s]", piece) and len(piece) <= 30
        else escape(piece)
        for piece in _pieces(text)
    )


def _width_class(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The classes of a table by the letters that its narrowest form needs."""
    letters = sum(
        GAP + max((len(piece) for text in column for piece in _pieces(text)), default=0)
        for column in zip(header, *rows)
    )
    stacked = " stacked" if letters > PHONE_LETTERS else ""
    return "scroll" + stacked + (" broad" if letters > PAPER_LETTERS else "")


def _sample(item: Mapping[str, str]) -> str:
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd><blockquote>{escape(visible(text))}"
        "</blockquote></dd>"
        for name, text in item.items()
    )
    return f"<dl>{entries}</dl>"


def visible(text: str) -> str:
    """The text; only white space is described in words, so the box is not empty."""
    blank = f"(white space alone, {len(text)} characters)" if text else "(nothing)"
    return text.strip("\n") if text.strip() else blank


def _figure(block: Block, name: str) -> str:
    """The figure; if it is wide, also a slim form for phones."""
    figure = draw(block, titled=False)
    forms = {"": figure}
    if figure.get_figwidth() > WHOLE_INCHES:
        slim = draw(block, titled=False, widest=SLIM_INCHES)
        forms = {"full": figure, "slim": slim}
    label = escape(block.title)
    return "".join(
        f'<figure class="{kind}" role="img" aria-label="{label}">'
        f"{_svg(drawn, f'{name}{kind}-')}</figure>"
        for kind, drawn in forms.items()
    )


def _svg(figure: Any, start: str) -> str:
    """The SVG element; its ids begin with `start`, so that no two figures share one."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = stream.getvalue()
    picture = text[text.index("<svg") :]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{start}", picture)
