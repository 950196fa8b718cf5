"""One self-contained HTML page from the blocks of some runs.

Each section opens with its answer in a sentence and a figure; samples come last,
collapsed. The style covers a screen, a phone (420 px) and grey print.
"""

from collections.abc import Sequence
from pathlib import Path

from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.reports.blocks import Table
from helix_jax.reports.html_blocks import escape, html_block, html_table
from helix_jax.reports.sections import Section, own_note, reading_order

_STACK = """
  {0} thead {{ display: none; }} {0} table, {0} tbody {{ display: block; }}
  {0} tr {{ display: block; border-bottom: 1px solid #888; padding: .4rem 0; }}
  {0} td {{ display: flex; justify-content: space-between; gap: 1rem; border: 0;
            padding: .1rem 0; max-width: none; }} {0} td span {{ text-align: right; }}
  {0} td::before {{ content: attr(data-name); color: #444; text-align: left; }}
  {0} td:first-child {{ display: block; font-weight: bold; text-align: left; }}
  {0} td:first-child::before {{ content: none; }}
"""
_STYLE = f"""
body {{ font: 16px/1.5 Georgia, serif; color: #111; background: #fff;
       max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2, h3, nav, table, summary, dt {{ font-family: Helvetica, Arial, sans-serif; }}
h1 {{ font-size: 1.6rem; }} h3 {{ font-size: 1.05rem; margin: 2rem 0 .4rem; }}
h1, h2, h3, .answer, .note {{ overflow-wrap: anywhere; }}
h2 {{ font-size: 1.25rem; border-bottom: 2px solid #111; margin-top: 3rem; }}
nav li {{ margin: .4rem 0; }} nav p {{ margin: 0; font-size: .9rem; }}
p, blockquote {{ max-width: 50rem; }} .answer {{ font-size: 1.15rem; }}
.note {{ color: #444; font-size: .9rem; }}
.scroll {{ overflow-x: auto; }} .whole {{ white-space: nowrap; }}
table {{ border-collapse: collapse; font-size: .85rem; }}
th {{ border-bottom: 1.5px solid #111; text-align: left; vertical-align: bottom; }}
th, td {{ padding: .2rem .9rem .2rem 0; overflow-wrap: anywhere; }}
td {{ max-width: 34rem; border-bottom: 1px solid #ddd; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums;
          overflow-wrap: normal; }}
figure {{ margin: .6rem 0; }} svg {{ max-width: 100%; height: auto; }}
.slim {{ display: none; }}
details {{ margin: 2rem 0; }} summary {{ font-size: .9rem; cursor: pointer; }}
blockquote {{ margin: .3rem 0 .6rem; padding-left: .8rem; border-left: 3px solid #bbb;
             white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; }}
dt {{ font-weight: bold; font-size: .8rem; }} dd {{ margin: 0; }}
dl + dl {{ border-top: 1px solid #888; padding-top: 1rem; }}
@media screen and (max-width: 640px) {{
  h1 {{ font-size: 1.35rem; }} .slim {{ display: block; }} .full {{ display: none; }}
  th, td {{ padding-right: .5rem; }}
  {_STACK.format(".stacked")} }}
@media print {{
  body {{ font-size: 10.5pt; margin: 0; max-width: none; padding: 0; }}
  table {{ font-size: 7.5pt; }} th, td {{ padding-right: .5rem; }}
  .note, td::before {{ color: #111; }} .scroll {{ overflow: visible; }}
  section + section {{ break-before: page; }} details:not([open]) {{ display: none; }}
  h1, h2, h3 {{ break-after: avoid; }} figure, tr {{ break-inside: avoid; }}
  svg {{ max-height: 22cm; }}
  {_STACK.format(".broad")} }}
"""


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write one HTML file that needs no other file and no network; return its path."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
    ]
    if len(sections) > 1:
        links = (
            f'<li><a href="#s{number}">{escape(section.title)}</a>'
            f"<p>{escape(section.answer)}</p></li>"
            for number, section in enumerate(sections)
        )
        parts.append(f"<nav><ul>{''.join(links)}</ul></nav>")
    for number, section in enumerate(sections):
        parts += _section(section, f"s{number}")
    parts.append("</body></html>\n")
    write_file(path, "\n".join(parts), raises=RunError)
    return path


def _section(section: Section, name: str) -> list[str]:
    parts = [f'<section id="{name}"><h2>{escape(section.title)}</h2>']
    if section.answer:
        parts.append(f'<p class="answer">{escape(section.answer)}</p>')
    if section.about:
        parts.append(f'<p class="note">{escape(section.about)}</p>')
    for place in reading_order(section.blocks):
        block = section.blocks[place]
        parts.append(html_block(block, own_note(block, section), f"{name}-{place}-"))
    facts = [[name, str(value)] for name, value in section.facts.items()]
    if facts:
        table = html_table(Table("", ["flag", "value"], facts))
        parts.append(f"<details><summary>How it was made</summary>{table}</details>")
    return [*parts, "</section>"]
