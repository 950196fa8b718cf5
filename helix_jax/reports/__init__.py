"""Tables, plots and pages of results."""

from helix_jax.reports.blocks import (
    Bars,
    Block,
    Curves,
    Matrix,
    Samples,
    Table,
    load_blocks,
    save_blocks,
)
from helix_jax.reports.page import Section, write_markdown, write_page, write_parts
from helix_jax.reports.plots import save_figure
from helix_jax.reports.tables import (
    format_interval,
    format_number,
    latex_table,
    markdown_table,
    read_interval,
)

__all__ = [
    "Bars",
    "Block",
    "Curves",
    "Matrix",
    "Samples",
    "Section",
    "Table",
    "format_interval",
    "format_number",
    "latex_table",
    "load_blocks",
    "markdown_table",
    "read_interval",
    "save_blocks",
    "save_figure",
    "write_markdown",
    "write_page",
    "write_parts",
]
