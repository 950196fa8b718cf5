"""Corpora by name, by file, by folder, and several joined.

    load_corpus("sst2")                          the hub, pinned to a commit
    load_corpus("docstrings")                    the embedded corpus, no download
    load_corpus("owner/name:config")             any data set of the hub
    load_corpus("texts.csv")                     a CSV, TSV, JSONL, Parquet or .txt file
    load_corpus("data/trec")                     a folder of SPLIT.jsonl|csv|tsv|parquet
    load_corpus("docstrings,books.txt,imdb")     one corpus without labels of them all

Splits are "fit", "select" and "test", by a hash of the document's id, or official
where the source has official ones (see `role_fractions`).
"""

import functools
import os
import re
from pathlib import Path

from helix_jax.errors import CorpusError
from helix_jax.text.columns import Columns, choose_columns, rows_from_records
from helix_jax.text.corpus import Corpus, build_corpus
from helix_jax.text.docstrings import CLASSES, package_versions, read_docstrings
from helix_jax.text.files import (
    SUFFIXES,
    TABLES,
    column_names,
    open_text,
    read_paragraphs,
    read_records,
)
from helix_jax.text.hub import hub_part
from helix_jax.text.registry import REGISTRY, HubSpec
from helix_jax.text.rows import (
    SPLIT_NAMES,
    Part,
    Row,
    Source,
    role_fractions,
    role_of,
)

NAMES = ("docstrings", *REGISTRY)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


def load_corpus(
    name: str | os.PathLike,
    *,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> Corpus:
    """Open a corpus, read it once and decide its splits.

    Args:
      name: one of NAMES, a file, a folder, an id of the hub, or several of these
        joined by commas (their labels are then left out; each keeps its own splits).
        Names go before paths: a folder that is called imdb is ./imdb.
      text_column: column of the text; else one with a customary name.
      pair_column: column of the second text, put below the first (PAIR_TEMPLATE).
      label_column: column of the label.
      id_column: column of unique ids, "document" or "document#part".
      revision: for the hub, a commit, branch or tag in place of the pinned commit.
      limit: keep at most this many texts in all, chosen by a hash of their ids.

    Returns:
      The corpus.

    Raises:
      CorpusError: there is no such corpus, or it is not what was asked for.
    """
    flags = {
        "text_column": text_column,
        "pair_column": pair_column,
        "label_column": label_column,
        "id_column": id_column,
    }
    name = os.fspath(name)
    names = [one for one in name.split(",") if one]
    if _exists(name):  # a path may hold commas
        names = [name]
    if not names:
        raise CorpusError(f"load_corpus: no corpus named; {_choices()}")
    parts = [_open(one, flags, revision, limit) for one in names]
    label = "+".join(part.name for part in parts)
    return build_corpus(label, parts, limit=limit, labelled=len(parts) == 1)


def _open(
    name: str, flags: dict[str, str | None], revision: str | None, limit: int | None
) -> Part:
    path = Path(name).expanduser()
    on_hub = name in REGISTRY or (not _exists(name) and _is_hub_id(name))
    if revision is not None and not on_hub:
        raise CorpusError(
            f"{name}: revision={revision!r} is for data sets of the hub; files and "
            f"docstrings have no revisions."
        )
    if name == "docstrings":
        asked = [flag for flag, column in flags.items() if column is not None]
        if asked:
            raise CorpusError(f"docstrings: has no columns; leave out {asked}.")
        return _docstrings_part()
    if name in REGISTRY:
        return hub_part(name, REGISTRY[name], revision=revision, limit=limit, **flags)
    if path.is_dir():
        return _folder_part(path, flags)
    if _exists(name):
        return _file_part(path, flags)
    if on_hub:
        repository, _, config = name.partition(":")
        spec = HubSpec(repository, config or None, splits=())
        short = name.partition("/")[2].replace(":", "-")
        return hub_part(short, spec, revision=revision, limit=limit, **flags)
    raise CorpusError(f"{name!r}: no such corpus, file or folder; {_choices()}")


def _exists(name: str) -> bool:
    # Unlike Path.exists, without an error for a name that is too long to be a file's.
    return os.path.exists(os.path.expanduser(name))


def _is_hub_id(name: str) -> bool:
    suffix = Path(name.partition(":")[0]).suffix.lower()
    return bool(_HUB_ID.fullmatch(name)) and suffix not in (*SUFFIXES, ".json", ".gz")


def _choices() -> str:
    return (
        f"expected one of {', '.join(NAMES)}; or the path of a file "
        f"({', '.join(SUFFIXES)}); or the path of a folder of files named after their "
        f"split ({', '.join(SPLIT_NAMES)}: train.jsonl, test.jsonl and so on, with "
        f"an optional labels.txt); or owner/name[:config] of a data set of the hub; or "
        f"several of these joined by commas."
    )


def _docstrings_part() -> Part:
    def rows():
        return (Row(*text) for text in read_docstrings())

    origin = {"versions": package_versions()}
    return Part("docstrings", (Source("docstrings", rows),), CLASSES, origin)


def _file_part(path: Path, flags: dict[str, str | None]) -> Part:
    name = path.stem
    return Part(name, (_file_source(path, name, "", flags),))


def _folder_part(folder: Path, flags: dict[str, str | None]) -> Part:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in TABLES and not path.name.startswith(".")
    )
    listed = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    unknown = [path.name for path in files if role_of(path.stem) is None]
    if not files or unknown:
        raise CorpusError(
            f"{folder}: expected files named after their split "
            f"({', '.join(SPLIT_NAMES)}) ending in {', '.join(TABLES)}, found {listed}."
            + (f" Not a split: {', '.join(unknown)}." if unknown else "")
        )
    stems = [path.stem for path in files]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise CorpusError(
            f"{folder}: split {twice[0]!r} is there in several formats: {listed}. "
            f"Leave one."
        )
    classes = None
    if (folder / "labels.txt").exists():
        with open_text(folder / "labels.txt") as lines:
            classes = tuple(line.strip() for line in lines if line.strip())
    fractions = role_fractions({role_of(path.stem) for path in files})
    name = folder.resolve().name
    sources = tuple(
        _file_source(path, name, path.stem, flags, fractions[role_of(path.stem)])
        for path in files
    )
    return Part(name, sources, classes)


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


def _table_rows(path: Path, columns: Columns, name: str, part: str):
    records = read_records(path)
    return rows_from_records(records, columns, name=name, part=part, place=str(path))


def _running_rows(path: Path, name: str):
    for document, number, text in read_paragraphs(path):
        yield Row(f"{name}/{document}#{number}", text.strip())
