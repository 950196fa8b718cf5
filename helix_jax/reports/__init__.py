"""Tables, plots and pages of results."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.reports.answers import Answer, answer_of, load_answer, save_answer
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
    from helix_jax.reports.crossed import (
        bar_of,
        column_each,
        cross_bars,
        cross_curves,
        cross_matrix,
        cross_table,
    )
    from helix_jax.reports.markdown_page import (
        markdown_page,
        write_markdown,
        write_parts,
    )
    from helix_jax.reports.page import write_page
    from helix_jax.reports.plots import save_figure
    from helix_jax.reports.quantities import (
        Quantity,
        arm_table,
        plain_bars,
        quantity_rows,
        quantity_table,
    )
    from helix_jax.reports.sections import Section
    from helix_jax.reports.tables import (
        format_interval,
        format_number,
        latex_table,
        markdown_table,
        read_interval,
    )
    from helix_jax.reports.terminal import print_answer, print_tables, with_about

__all__ = [
    "Answer",
    "Bars",
    "Block",
    "Curves",
    "Matrix",
    "Quantity",
    "Samples",
    "Section",
    "Table",
    "answer_of",
    "arm_table",
    "bar_of",
    "column_each",
    "cross_bars",
    "cross_curves",
    "cross_matrix",
    "cross_table",
    "format_interval",
    "format_number",
    "latex_table",
    "load_answer",
    "load_blocks",
    "markdown_page",
    "markdown_table",
    "plain_bars",
    "print_answer",
    "print_tables",
    "quantity_rows",
    "quantity_table",
    "read_interval",
    "save_answer",
    "save_blocks",
    "save_figure",
    "with_about",
    "write_markdown",
    "write_page",
    "write_parts",
]
lazy_names(__name__)
