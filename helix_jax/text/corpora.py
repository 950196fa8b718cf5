"""Corpora by name, by file or by folder, alone or joined.

    load_corpus("sst2")                          the hub, pinned to a commit
    load_corpus("docstrings")                    the embedded corpus, no download
    load_corpus("topics")                        Python's own language reference
    load_corpus("owner/name:config")             any data set of the hub
    load_corpus("texts.csv")                     a CSV, TSV, JSONL, Parquet or .txt file
    load_corpus("data/trec")                     a folder of SPLIT.jsonl|csv|tsv|parquet
    load_corpus("docstrings,books.txt,imdb")     all of them as one, without labels

Splits are "fit", "select" and "test", by a hash of the document's id, or the official
ones of the source if it has any (see `role_fractions`).
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.errors import CorpusError, PathError
from helix_jax.paths import is_url, local_path
from helix_jax.text.corpus import Corpus, build_corpus
from helix_jax.text.docstrings import CLASSES, package_versions, read_docstrings
from helix_jax.text.files import SUFFIXES
from helix_jax.text.hub import hub_part
from helix_jax.text.local import file_part, folder_part
from helix_jax.text.registry import REGISTRY, HubSpec
from helix_jax.text.rows import SPLIT_NAMES, Part, Row, Source
from helix_jax.text.topics import read_topics, topics_origin

EMBEDDED = ("docstrings", "topics")
NAMES = (*EMBEDDED, *REGISTRY)
_CORPUS = kinds.PATH.but(
    list="','.join({})",
    tuple="','.join({})",
    DataFrame="a file, from {}.to_csv('FILE.csv', index=False)",
)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[^/:]+)?")


@takes(name=_CORPUS, limit=kinds.COUNT)
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
        Names take precedence over paths: write ./imdb for a folder called imdb. A path
        may hold commas: the longest one that exists is taken.
      text_column: column of the text; else one with a customary name.
      pair_column: column of the second text, put below the first (PAIR_TEMPLATE).
      label_column: column of the label.
      id_column: column of unique ids, "document" or "document#part".
      revision: for the hub, a commit, branch or tag in place of the pinned commit.
      limit: keep at most this many texts in all, chosen by a hash of their ids; each
        split keeps its share, and at least a tenth of the limit if it has that many.

    Returns:
      The corpus.

    Raises:
      CorpusError: there is no such corpus, or it does not fit the arguments.
    """
    flags = {
        "text_column": text_column,
        "pair_column": pair_column,
        "label_column": label_column,
        "id_column": id_column,
    }
    with _as_corpus_errors():
        parts = [_open(one, flags, revision, limit) for one in _names_of(name)]
    label = "+".join(part.name for part in parts)
    return build_corpus(label, parts, limit=limit, labelled=len(parts) == 1)


def check_corpus(name: str | os.PathLike, **flags: str | None) -> None:
    """Check that `load_corpus` could open this, without reading texts or the hub.

    Args:
      name: as for `load_corpus`.
      **flags: text_column, pair_column, label_column and id_column.

    Raises:
      CorpusError: there is no such corpus, or a file lacks a column.
    """
    columns = ("text_column", "pair_column", "label_column", "id_column")
    flags = dict.fromkeys(columns) | flags
    with _as_corpus_errors():
        for one in _names_of(name):
            if one not in REGISTRY and (_exists(one) or not _is_hub_id(one)):
                _open(one, flags, None, None)


def _names_of(name: str | os.PathLike) -> list[str]:
    """The corpora of a joined name, one or more."""
    joined = os.fspath(name)
    if not joined.strip(", "):
        raise CorpusError(f"load_corpus: no corpus named; {_choices()}")
    return _split_names(joined)


@contextlib.contextmanager
def _as_corpus_errors() -> Iterator[None]:
    try:
        yield
    except PathError as error:
        raise CorpusError(str(error)) from error


def _split_names(joined: str) -> list[str]:
    """The names that are joined by commas; a path may itself hold commas."""
    pieces, names = joined.split(","), []
    while pieces:
        ends = range(len(pieces), 1, -1)
        end = next((i for i in ends if _exists(",".join(pieces[:i]))), 1)
        names.append(",".join(pieces[:end]))
        pieces = pieces[end:]
    if not all(name.strip() for name in names):
        raise CorpusError(f"{joined!r}: a name is empty; write A,B for two corpora.")
    return names


def _open(
    name: str, flags: dict[str, str | None], revision: str | None, limit: int | None
) -> Part:
    path = local_path(name, "a corpus")
    on_hub = name in REGISTRY or (not _exists(name) and _is_hub_id(name))
    if revision is not None and not on_hub:
        raise CorpusError(
            f"{name}: revision={revision!r} is for data sets of the hub; files and "
            f"embedded corpora have no revisions."
        )
    if name in EMBEDDED:
        asked = [flag for flag, column in flags.items() if column is not None]
        if asked:
            raise CorpusError(f"{name}: has no columns; leave out {asked}.")
        return _docstrings_part() if name == "docstrings" else _topics_part()
    if name in REGISTRY:
        return hub_part(name, REGISTRY[name], revision=revision, limit=limit, **flags)
    if path.is_dir():
        return folder_part(path, flags)
    if _exists(name):
        return file_part(path, flags)
    if on_hub:
        repository, _, config = name.partition(":")
        spec = HubSpec(repository, config or None, splits=())
        short = name.partition("/")[2].replace(":", "-")
        return hub_part(short, spec, revision=revision, limit=limit, **flags)
    raise CorpusError(f"{name!r}: no such corpus, file or folder; {_choices()}")


def _exists(name: str) -> bool:
    # Unlike Path.exists, raises no error if the name is too long for a file.
    return not is_url(name) and os.path.exists(os.path.expanduser(name))


def _is_hub_id(name: str) -> bool:
    suffixes = {Path(part).suffix.lower() for part in (name, name.partition(":")[0])}
    local = suffixes & {*SUFFIXES, ".json", ".gz"}
    return bool(_HUB_ID.fullmatch(name)) and not local


def _choices() -> str:
    return (
        f"expected one of {', '.join(NAMES)}; or the path of a file "
        f"({', '.join(SUFFIXES)}); or the path of a folder of files named after their "
        f"split ({', '.join(SPLIT_NAMES)}: train.jsonl, test.jsonl and so on, with "
        f"an optional labels.txt); or owner/name[:config] of a data set of the hub; or "
        f"several of these joined by commas."
    )


def _docstrings_part() -> Part:
    def rows() -> Iterator[Row]:
        return (Row(*text) for text in read_docstrings())

    origin = {"versions": dict(package_versions())}
    return Part("docstrings", (Source("docstrings", rows),), CLASSES, origin)


def _topics_part() -> Part:
    rows = functools.partial(map, lambda text: Row(*text), read_topics())
    return Part("topics", (Source("topics", rows),), origin=topics_origin())
