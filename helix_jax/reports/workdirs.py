"""Work directories of runs that have ended, and what a page says of each."""

import json
from pathlib import Path
from typing import Any

from helix_jax.errors import RunError
from helix_jax.reports.answers import load_answer
from helix_jax.reports.blocks import load_blocks
from helix_jax.reports.sections import Section
from helix_jax.textfile import read_json


def find_ended(folder: Path, *, flag: str = "workdirs") -> list[Path]:
    """The folder itself where it is a run that has ended, else those below it.

    Args:
      folder: a work directory, or a folder of such.
      flag: that named it.

    Raises:
      RunError: no folder, or none that has ended.
    """
    if not folder.is_dir():
        raise RunError(
            f"--{flag}={folder} is no folder; name work directories that exist."
        )
    if (folder / "DONE").is_file():
        return [folder]
    ended = sorted(path.parent for path in folder.rglob("DONE"))
    if not ended:
        raise RunError(
            f"--{flag}={folder} holds no DONE: expected the work directory of an "
            "experiment that has ended, or a folder of such."
        )
    return ended


def read_section(folder: Path) -> Section:
    """The section of a work directory: answer, blocks, its flags and its machine.

    Raises:
      RunError: no run that has ended, or a damaged file.
    """
    facts: dict[str, Any] = {}
    for name in ("config.json", "environment.json"):
        path = folder / name
        if path.is_file():
            facts |= read_json(path, raises=RunError)
    title = f"{facts.pop('experiment', 'run').removesuffix('Config')}: {folder.name}"
    shown = {
        name: json.dumps(value) if isinstance(value, (dict, list)) else value
        for name, value in facts.items()
    }
    blocks = load_blocks(folder)
    answer = load_answer(folder, blocks)
    return Section(title, shown, blocks, answer.text, answer.about)
