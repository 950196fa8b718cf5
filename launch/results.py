"""What the runs of a sweep found: one table, one page, the best by the select split."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from helix_jax.atomic import replaced_file, write_file
from helix_jax.errors import RunError
from helix_jax.reports import (
    Section,
    Table,
    format_interval,
    write_markdown,
    write_page,
)
from helix_jax.runs.prepare import must_be_among

# If no number is requested, the first of these that exists is used.
SELECT = ("select/mapped_accuracy", "fit/select_kl_nats", "fit/select_r2")
TEST = ("test/mapped_accuracy", "test/r2", "test/loss_nats")
_COST = re.compile(r"(loss|error|perplexity|_nats|_seconds|_bytes)")


class Outcome(NamedTuple):
    """One run of a sweep.

    Attributes:
      name: name of its folder.
      flags: swept flag -> value.
      summary: summary of the run; None if it failed.
      failure: the last line that it printed; empty if it succeeded.
    """

    name: str
    flags: Mapping[str, Any]
    summary: Mapping[str, float | None] | None
    failure: str = ""


def number_names(outcomes: Sequence[Outcome]) -> list[str]:
    """Names of all numbers of all runs, each once."""
    return sorted({name for one in outcomes for name in one.summary or ()})


def select_name(outcomes: Sequence[Outcome], asked: str) -> str:
    """The number by which the best setting is chosen; empty if runs have none.

    Raises:
      RunError: the requested number is not of the select split, or no run has it.
    """
    names = number_names(outcomes)
    of_select = [name for name in names if is_of_select(name)]
    if not asked:
        return next((name for name in SELECT if name in of_select), "")
    if not is_of_select(asked):
        raise RunError(
            f"--select={asked} is not a number of the select split, which alone "
            f"chooses a setting; the runs have: {', '.join(of_select) or 'none'}."
        )
    if asked not in of_select and names:
        raise RunError(f"--select{must_be_among(asked, of_select or names)}")
    return asked


def is_of_select(name: str) -> bool:
    """Whether a number is of the select split, judged by its name."""
    return "select" in re.split("[/_]", name)


def best_outcome(outcomes: Sequence[Outcome], select: str) -> Outcome | None:
    """The run with the best number; None if no run has it.

    Smallest is best for losses, errors, nats, seconds and bytes, else largest; ties go
    to the first run.
    """
    sign = -1 if _COST.search(select) else 1
    scored = [
        (sign * one.summary[select], -place, one)
        for place, one in enumerate(outcomes)
        if one.summary is not None and one.summary.get(select) is not None
    ]
    return max(scored)[2] if scored else None


def write_tables(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write sweep.csv and sweep.parquet: one row per run, in the order of the sweep.

    Columns: run, state (ended or failed), the swept flags, every number.
    """
    flags = list(dict.fromkeys(name for one in outcomes for name in one.flags))
    numbers = number_names(outcomes)
    columns: dict[str, list[Any]] = {
        "run": [one.name for one in outcomes],
        "state": ["failed" if one.summary is None else "ended" for one in outcomes],
        **{name: [one.flags.get(name) for one in outcomes] for name in flags},
        **{
            name: [(one.summary or {}).get(name) for one in outcomes]
            for name in numbers
        },
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values()))
    write_file(folder / "sweep.csv", text.getvalue(), raises=RunError)
    with replaced_file(folder / "sweep.parquet", raises=RunError) as place:
        pyarrow.parquet.write_table(pyarrow.table(columns), place)


def write_report(
    folder: Path, title: str, outcomes: Sequence[Outcome], *, select: str, test: str
) -> Outcome | None:
    """Write report.html and report.md; return the best run, see `best_outcome`.

    Args:
      folder: folder of the sweep.
      title: heading of the page.
      outcomes: outcomes of all runs.
      select: from `select_name`.
      test: number shown for each run; empty for the program's main one.
    """
    names = number_names(outcomes)
    if test and names and test not in names:
        raise RunError(f"--test{must_be_among(test, names)}")
    test = test or next((name for name in TEST if name in names), "")
    best = best_outcome(outcomes, select) if select else None
    shown = [name for name in (select, test) if name]
    flags = list(dict.fromkeys(name for one in outcomes for name in one.flags))

    def row(one: Outcome) -> list[object]:
        swept = [one.flags.get(name) for name in flags]
        return [*swept, *(_cell(one.summary or {}, name) for name in shown)]

    blocks = []
    if best is not None:
        order = "lowest" if _COST.search(select) else "highest"
        note = (
            f"{best.name}: the {order} {select} of {len(outcomes)} runs; nothing else "
            "was considered. The numbers are comparable if all runs have the same "
            "select texts and target."
        )
        blocks.append(Table("The best setting", [*flags, *shown], [row(best)], note))
    header = [*flags, *shown, "state"]
    rows = [
        [*row(one), "failed" if one.summary is None else "ended"] for one in outcomes
    ]
    blocks.append(Table("All runs", header, rows))
    failed = [[one.name, one.failure] for one in outcomes if one.summary is None]
    if failed:
        blocks.append(Table("Failed runs", ["run", "last line of output"], failed))
    sections = [Section(title, {}, blocks)]
    write_markdown(folder / "report.md", title, sections)
    write_page(folder / "report.html", title, sections)
    return best


def _cell(summary: Mapping[str, float | None], name: str) -> object:
    return format_interval(summary, name, scale=1, digits=4)
