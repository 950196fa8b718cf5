r"""One page from the work directories of some runs.

    python -m experiments.report --workdirs=runs/demo,runs/trec --output=report

Writes OUTPUT/report.html (one file, no network), OUTPUT/report.md with its figures, and
OUTPUT/parts with every table in LaTeX and every figure as SVG and PNG. A folder that is
itself no work directory stands for the work directories in it. A few seconds.
"""

import dataclasses
import json
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.reports import (
    Section,
    load_blocks,
    write_markdown,
    write_page,
    write_parts,
)
from helix_jax.runs import option
from helix_jax.runs.program import start_program


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Flags of the program."""

    workdirs: tuple[str, ...] = option((), "work directories, or folders of them")
    output: str = option("report", "folder to write to")
    title: str = option("Linear maps between language models", "heading of the page")


def run(config: ReportConfig) -> Path:
    """Write the page; returns its path."""
    if not config.workdirs:
        raise RunError("report: --workdirs is required.")
    sections = [
        read_section(folder) for name in config.workdirs for folder in _runs(Path(name))
    ]
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    write_markdown(output / "report.md", config.title, sections)
    write_parts(output / "parts", sections)
    page = write_page(output / "report.html", config.title, sections)
    print(f"{page}: {len(sections)} runs")
    return page


def read_section(folder: Path) -> Section:
    """The section of a work directory: its blocks, its flags and its machine."""
    facts = {}
    for name in ("config.json", "environment.json"):
        path = folder / name
        if path.is_file():
            facts |= json.loads(path.read_text())
    title = f"{facts.pop('experiment', 'run').removesuffix('Config')}: {folder.name}"
    shown = {
        name: json.dumps(value) if isinstance(value, (dict, list)) else value
        for name, value in facts.items()
    }
    return Section(title, shown, load_blocks(folder))


def _runs(folder: Path) -> list[Path]:
    """The folder itself where it is a run that has ended, else those below it."""
    if (folder / "DONE").is_file():
        return [folder]
    found = sorted(path.parent for path in folder.rglob("DONE"))
    if not found:
        raise RunError(
            f"{folder} holds no DONE: expected the work directory of an experiment "
            "that has ended, or a folder of such."
        )
    return found


if __name__ == "__main__":
    start_program(ReportConfig, run)
