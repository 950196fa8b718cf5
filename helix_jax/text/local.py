"""Files and folders of this machine as parts of a corpus."""

import functools
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import CorpusError
from helix_jax.paths import local_path, os_errors, printable
from helix_jax.text.columns import Columns, choose_columns, rows_from_records
from helix_jax.text.files import TABLES, column_names, read_paragraphs, read_records
from helix_jax.text.ids import name_in_id
from helix_jax.text.rows import SPLIT_NAMES, Part, Row, Source, role_fractions, role_of
from helix_jax.textfile import read_entries


def file_part(path: Path, flags: dict[str, str | None]) -> Part:
    """A file as a corpus named after it.

    Args:
      path: a file of SUFFIXES.
      flags: text_column, pair_column, label_column and id_column, or None for each.

    Raises:
      CorpusError: the file is of another kind, or lacks these columns.
    """
    name = path.stem
    return Part(name, (_file_source(path, name, "", flags),))


def folder_part(folder: Path, flags: dict[str, str | None]) -> Part:
    """A folder of files named after their split, with an optional labels.txt.

    Args:
      folder: the folder with the files.
      flags: as for `file_part`.

    Raises:
      CorpusError: the folder holds another table, the same split twice, or a labels.txt
        that is not a list of distinct names.
    """
    with os_errors(folder, "be read", CorpusError):
        everything = sorted(folder.iterdir())
    files = [
        local_path(path)
        for path in everything
        if path.suffix.lower() in TABLES and not path.name.startswith(".")
    ]
    listed = ", ".join(printable(path.name) for path in everything) or "nothing"
    roles = {path: role for path in files if (role := role_of(path.stem))}
    unknown = [path.name for path in files if path not in roles]
    if not files or unknown:
        raise CorpusError(
            f"{folder}: expected files named after their split "
            f"({', '.join(SPLIT_NAMES)}) ending in {', '.join(TABLES)}, found {listed}."
            + (f" Not a split: {printable(', '.join(unknown))}." if unknown else "")
        )
    left = [path for path in everything if path not in files and _may_be_split(path)]
    if left:
        raise CorpusError(
            f"{folder}: {printable(left[0].name)} is named like a split but cannot be "
            f"read here, where a split is a file that ends in {', '.join(TABLES)}. "
            "Unpack or convert it, give it another name, or move it out."
        )
    for path in everything:
        if path.name != "labels.txt" and path.name.lower() == "labels.txt":
            raise CorpusError(
                f"{folder}: {path.name} must be called labels.txt to be read."
            )
    stems = [path.stem for path in files]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise CorpusError(
            f"{folder}: split {twice[0]!r} exists in several formats: {listed}. "
            f"Keep one."
        )
    classes = None
    if (folder / "labels.txt").exists():
        classes = _read_class_names(folder / "labels.txt")
    fractions = role_fractions(set(roles.values()))
    name = local_path(folder.resolve()).name
    sources = tuple(
        _file_source(path, name, path.stem, flags, fractions[roles[path]])
        for path in files
    )
    return Part(name, sources, classes)


def _may_be_split(path: Path) -> bool:
    """Whether an entry that is not a table is named like the texts of a split."""
    name = path.name.partition(".")[0]
    beside = path.suffix.lower() in (".md", ".py", ".sh", ".log", ".lock", ".yaml")
    return role_of(name) is not None and not beside


def _read_class_names(path: Path) -> tuple[str, ...]:
    """The lines of a file, each a class name as written; its line sets its number."""
    names = read_entries(path, raises=CorpusError)
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        line = names.index("") + 1 if names else 1
        raise CorpusError(
            f"{path}, line {line}: no class name; expected one on every line, in the "
            "order of the class numbers."
        )
    for line, name in enumerate(names, start=1):
        if (first := names.index(name) + 1) < line:
            raise CorpusError(
                f"{path}, line {line}: the class {name!r} is already on line {first}; "
                "every class needs its own name."
            )
    return tuple(names)


def _file_source(
    path: Path,
    name: str,
    part: str,
    flags: dict[str, str | None],
    fractions: tuple[float, float, float] | None = None,
) -> Source:
    if path.suffix.lower() == ".txt":
        if any(flags.values()):
            raise CorpusError(f"{path}: a .txt file has no columns to name.")
        rows = functools.partial(_running_rows, path, name)
    else:
        columns = choose_columns(column_names(path), str(path), **flags)
        rows = functools.partial(_table_rows, path, columns, name, part)
    return Source(str(path), rows, *([] if fractions is None else [fractions]))


def _table_rows(path: Path, columns: Columns, name: str, part: str) -> Iterator[Row]:
    unit = "row" if path.suffix.lower() == ".parquet" else "line"
    return rows_from_records(
        read_records(path), columns, name=name, part=part, place=str(path), unit=unit
    )


def _running_rows(path: Path, name: str) -> Iterator[Row]:
    for document, number, text in read_paragraphs(path):
        yield Row(f"{name_in_id(name)}/{document}#{number}", text.strip())
