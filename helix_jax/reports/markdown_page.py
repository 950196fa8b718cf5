"""One Markdown page from the blocks of some runs, and their parts for a paper."""

from collections.abc import Sequence
from pathlib import Path

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.paths import os_errors
from helix_jax.reports.blocks import Block, Samples, Table
from helix_jax.reports.html_blocks import visible
from helix_jax.reports.plots import save_figure
from helix_jax.reports.sections import Section, is_figure, own_note, reading_order
from helix_jax.reports.tables import latex_table, markdown_table
from helix_jax.textfile import split_lines


def write_markdown(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a Markdown page, its figures as PNG files next to it; return its path."""
    for place, section in enumerate(sections):
        for number, block in enumerate(section.blocks):
            if is_figure(block):
                name = _figure_name(path.stem, place, number)
                save_figure(path.with_name(name), block)
    text = markdown_page(title, sections, figures=path.stem)
    write_file(path, text, raises=RunError)
    return path


def markdown_page(
    title: str, sections: Sequence[Section], *, figures: str = "report"
) -> str:
    """The lines of the page; names of its figures begin with `figures`."""
    lines = [f"# {title}", ""]
    for place, section in enumerate(sections):
        lines += [f"## {section.title}", ""]
        if section.answer:
            lines += [f"**{section.answer}**", ""]
        if section.about:
            lines += [section.about, ""]
        for number in reading_order(section.blocks):
            block = section.blocks[number]
            note = own_note(block, section)
            body = _body(block, _figure_name(figures, place, number))
            if isinstance(block, Samples):
                lines += ["<details>", f"<summary>{block.title}</summary>", ""]
                lines += [note, "", body, "</details>", ""]
                continue
            lines += [f"### {block.title}", "", body, ""]
            if note:
                lines += [note, ""]
    return "\n".join(lines)


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
            elif is_figure(block):
                for suffix in (".svg", ".png"):
                    written.append(save_figure(path.with_suffix(suffix), block))
    return written


def _figure_name(start: str, section: int, block: int) -> str:
    return f"{start}-{section}-{block}.png"


def _body(block: Block, figure: str) -> str:
    if isinstance(block, Table):
        return markdown_table(block.header, block.rows)
    if isinstance(block, Samples):
        return _samples(block)
    return f"![{block.title}]({figure})"


def _samples(block: Samples) -> str:
    lines = []
    for item in block.items:
        for name, text in item.items():
            quoted = "\n".join(f"> {line}" for line in split_lines(visible(text)))
            lines.append(f"**{name}**\n\n{quoted}\n")
        lines.append("---\n")
    return "\n".join(lines)
