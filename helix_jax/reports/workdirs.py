"""Work directories of finished runs, and what a page shows of each."""

import json
from pathlib import Path
from typing import Any

from helix_jax.errors import RunError
from helix_jax.reports.answers import load_answer
from helix_jax.reports.blocks import load_blocks
from helix_jax.reports.sections import Section
from helix_jax.textfile import read_json


def find_ended(folder: Path, *, flag: str = "workdirs") -> list[Path]:
    """The folder itself if it holds a finished run, else those below it that do.

    Args:
      folder: a work directory, or a folder of work directories.
      flag: the flag that named it.

    Raises:
      RunError: the folder does not exist, or holds no finished run.
    """
    if not folder.is_dir():
        raise RunError(
            f"--{flag}={folder} is not a folder; name work directories that exist."
        )
    if (folder / "DONE").is_file():
        return [folder]
    ended = sorted(path.parent for path in folder.rglob("DONE"))
    if not ended:
        raise RunError(
            f"--{flag}={folder} holds no DONE: expected the work directory of a "
            "finished experiment, or a folder of such directories."
        )
    return ended


def read_section(folder: Path) -> Section:
    """The section of a work directory: answer, blocks, its flags and its machine.

    Raises:
      RunError: the folder holds no finished run, or a file is damaged.
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
