"""The tables of `benchmarks.service`, one per part."""

from collections.abc import Sequence
from typing import Any

from benchmarks.service_flags import TINY
from benchmarks.timing import write_results


def write_part(
    part: str, title: str, header: Sequence[str], table: Sequence[Any], notes: str
) -> None:
    """Keep and print the table of a part."""
    command = f"service --only={part}"
    name, keep = f"service_{part}", not TINY.value
    print(write_results(name, title, header, table, notes, keep, command))
    print(notes, flush=True)
