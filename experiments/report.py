r"""One page from the work directories of some runs.

    python -m experiments.report --workdirs=runs/demo,runs/trec --output=report

Writes OUTPUT/report.html (one file, no network), OUTPUT/report.md with its figures, and
OUTPUT/parts with every table in LaTeX and every figure as SVG and PNG. Every run opens
with its answer in a sentence and a figure; its samples come last, folded. A folder that
is not itself a work directory stands for those in it. With --tiny and no --workdirs the
page shows `experiments.fit --tiny`, run in OUTPUT/fit.

Cost: a few seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.paths import os_errors
from helix_jax.reports import (
    Answer,
    print_answer,
    write_markdown,
    write_page,
    write_parts,
)
from helix_jax.reports.workdirs import find_ended, read_section
from helix_jax.runs import option, prepare_config
from helix_jax.runs.places import local_places
from helix_jax.runs.program import start_program

if __name__ != "__main__":  # slow, and flags are read without
    from experiments import fit


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Flags of the program."""

    workdirs: tuple[str, ...] = option(
        (), "work directories, or folders of them", names="folder"
    )
    output: str = option("report", "folder to write to", names="path", required=True)
    title: str = option("Linear maps between language models", "heading of the page")
    tiny: bool = option(False, "without --workdirs: make a tiny run and report it")


def run(config: ReportConfig) -> Path:
    """Write the page; returns its path."""
    with local_places(prepare_config(config)) as local:
        return _write(local)


def _write(config: ReportConfig) -> Path:
    workdirs, output = config.workdirs, Path(config.output)
    if config.tiny and not workdirs:
        place = output / "fit"
        fit.run(fit.FitConfig(workdir=str(place), tiny=True))
        workdirs = (str(place),)
    if not workdirs:
        raise RunError(
            "missing: --workdirs (work directories of runs); or give --tiny alone."
        )
    folders = [folder for name in workdirs for folder in find_ended(Path(name))]
    sections = [read_section(folder) for folder in dict.fromkeys(folders)]
    with os_errors(f"--output={output}", "be written", RunError):
        output.mkdir(parents=True, exist_ok=True)
        write_markdown(output / "report.md", config.title, sections)
        write_parts(output / "parts", sections)
        page = write_page(output / "report.html", config.title, sections)
    for section in sections:
        print(f"\n{section.title}")
        print_answer(Answer(section.answer, section.about))
    print(f"\npage: {page}\nresults: {output}")
    return page


if __name__ == "__main__":
    start_program(ReportConfig, run)
