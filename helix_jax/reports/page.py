"""One self-contained HTML page, and one Markdown page, from the blocks of some runs."""

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.paths import os_errors
from helix_jax.reports.blocks import Block, Samples, Table
from helix_jax.reports.plots import draw, save_figure
from helix_jax.reports.tables import (
    latex_table,
    markdown_table,
    require_rectangle,
    show_cell,
    text_columns,
)
from helix_jax.textfile import split_lines

_STYLE = """
body { font: 16px/1.5 Georgia, serif; color: #111; background: #fff;
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3, nav, table, summary { font-family: Helvetica, Arial, sans-serif; }
h1 { font-size: 1.6rem; } h3 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
h2 { font-size: 1.25rem; border-bottom: 2px solid #111; margin-top: 3rem; }
nav ul { columns: 2; padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th { border-bottom: 1.5px solid #111; text-align: left; vertical-align: bottom; }
th, td { padding: .2rem .9rem .2rem 0; }
td { max-width: 34rem; border-bottom: 1px solid #ddd; }
td.short { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: .6rem 0; } svg { max-width: 100%; height: auto; }
.note { color: #444; font-size: .9rem; } summary { font-size: .8rem; color: #444; }
blockquote { margin: .3rem 0 .6rem; padding-left: .8rem; border-left: 3px solid #bbb;
             white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem;
             max-height: 9rem; overflow-y: auto; }
dt { font: bold .8rem Helvetica, Arial, sans-serif; } dd { margin: 0; }
@media print { details { display: none; } h2 { break-before: page; } }
"""


class Section(NamedTuple):
    """What one run shows.

    Attributes:
      title: its heading.
      facts: short name -> value pairs above the blocks: flags, machine, versions.
      blocks: tables, figures, samples.
    """

    title: str
    facts: Mapping[str, object]
    blocks: Sequence[Block]


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write one HTML file that needs no other file and no network; returns its path."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
    ]
    if len(sections) > 1:
        links = (
            f'<li><a href="#s{number}">{_text(section.title)}</a></li>'
            for number, section in enumerate(sections)
        )
        parts.append(f"<nav><ul>{''.join(links)}</ul></nav>")
    for number, section in enumerate(sections):
        parts.append(f'<section id="s{number}"><h2>{_text(section.title)}</h2>')
        parts += [_html_block(block) for block in section.blocks]
        facts = [[name, str(value)] for name, value in section.facts.items()]
        if facts:
            table = _html_table(["flag", "value"], facts)
            parts.append(f"<details><summary>how</summary>{table}</details>")
        parts.append("</section>")
    parts.append("</body></html>\n")
    write_file(path, "\n".join(parts), raises=RunError)
    return path


def write_markdown(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a Markdown page; its figures are PNG files beside it. Returns its path."""
    for place, section in enumerate(sections):
        for number, block in enumerate(section.blocks):
            if not isinstance(block, (Table, Samples)):
                name = _figure_name(path.stem, place, number)
                save_figure(path.with_name(name), block)
    text = markdown_page(title, sections, figures=path.stem)
    write_file(path, text, raises=RunError)
    return path


def markdown_page(
    title: str, sections: Sequence[Section], *, figures: str = "report"
) -> str:
    """What `write_markdown` writes, with figures of names that begin with `figures`."""
    lines = [f"# {title}", ""]
    for place, section in enumerate(sections):
        lines += [f"## {section.title}", ""]
        for number, block in enumerate(section.blocks):
            lines += [f"### {block.title}", ""]
            if isinstance(block, Table):
                lines += [markdown_table(block.header, block.rows), ""]
            elif isinstance(block, Samples):
                lines += [_markdown_samples(block), ""]
            else:
                name = _figure_name(figures, place, number)
                lines += [f"![{block.title}]({name})", ""]
            if block.note:
                lines += [block.note, ""]
    return "\n".join(lines)


def _figure_name(start: str, section: int, block: int) -> str:
    return f"{start}-{section}-{block}.png"


def write_parts(folder: Path, sections: Sequence[Section]) -> list[Path]:
    """Every table as a .tex file and every figure as .svg and .png, for a paper."""
    with os_errors(folder, "be made", RunError):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place, section in enumerate(sections):
        for number, block in enumerate(section.blocks):
            path = folder / f"{place}-{number}"
            if isinstance(block, Table):
                text = latex_table(block.header, block.rows, caption=block.title)
                path = path.with_suffix(".tex")
                write_file(path, text + "\n", raises=RunError)
                written.append(path)
            elif not isinstance(block, Samples):
                for suffix in (".svg", ".png"):
                    written.append(save_figure(path.with_suffix(suffix), block))
    return written


def _html_block(block: Block) -> str:
    if isinstance(block, Table):
        body = _html_table(block.header, block.rows)
    elif isinstance(block, Samples):
        body = "".join(_html_sample(item) for item in block.items)
    else:
        body = _svg(block)
    note = f'<p class="note">{_text(block.note)}</p>' if block.note else ""
    return f"<h3>{_text(block.title)}</h3>\n{body}{note}"


def _html_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    require_rectangle(header, rows)
    columns = zip(header, *([show_cell(cell) for cell in row] for row in rows))
    widths = [max(map(len, column)) for column in columns]
    whole = 34 if sum(widths) <= 125 else 20  # a wide table breaks its longer cells
    kinds = ["" if left else ' class="number"' for left in text_columns(header, rows)]
    head = "".join(f"<th{k}>{_text(n)}</th>" for k, n in zip(kinds, header))
    body = "\n".join(
        "<tr>"
        + "".join(_html_cell(kind, value, whole) for kind, value in zip(kinds, row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_cell(kind: str, value: object, whole: int) -> str:
    text = show_cell(value)
    if not kind and len(text) < whole:  # an interval, a name: kept on one line
        kind = ' class="short"'
    return f"<td{kind}>{_text(text)}</td>"


def _html_sample(item: Mapping[str, str]) -> str:
    entries = "".join(
        f"<dt>{_text(name)}</dt><dd><blockquote>{_text(_visible(text))}"
        "</blockquote></dd>"
        for name, text in item.items()
    )
    return f"<dl>{entries}</dl>"


def _svg(block: Block) -> str:
    stream = io.StringIO()
    draw(block, titled=False).savefig(
        stream, format="svg", bbox_inches="tight", metadata={"Date": None}
    )
    text = stream.getvalue()
    picture = text[text.index("<svg") :]
    return f'<figure role="img" aria-label="{_text(block.title)}">{picture}</figure>'


def _markdown_samples(block: Samples) -> str:
    lines = []
    for item in block.items:
        for name, text in item.items():
            quoted = "\n".join(f"> {line}" for line in split_lines(_visible(text)))
            lines.append(f"**{name}**\n\n{quoted}\n")
        lines.append("---\n")
    return "\n".join(lines)


def _visible(text: str) -> str:
    """The text; white space alone is said, so that it is no empty box."""
    blank = f"(white space alone, {len(text)} characters)" if text else "(nothing)"
    return text if text.strip() else blank


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
