"""Tables, plots and pages of results."""

from helix_jax.reports.tables import format_interval, markdown_table

__all__ = ["format_interval", "markdown_table"]
