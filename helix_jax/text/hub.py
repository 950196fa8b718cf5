"""Data sets of the hub, through `datasets`, as parts of a corpus."""

import dataclasses
import functools
import importlib
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub

from helix_jax.errors import CorpusError
from helix_jax.text.columns import choose_columns, rows_from_records, text_of
from helix_jax.text.ids import name_in_id, read_id
from helix_jax.text.paragraphs import paragraph_texts
from helix_jax.text.registry import HubSpec
from helix_jax.text.rows import Part, Row, Source, role_fractions, role_of
from helix_jax.textfile import split_lines

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BATCH = 1000


def hub_part(
    name: str,
    spec: HubSpec,
    *,
    revision: str | None = None,
    limit: int | None = None,
    **flags: str | None,
) -> Part:
    """Open a data set of the hub.

    Args:
      name: name of the corpus.
      spec: where it is and how it is read.
      revision: commit, branch or tag that replaces the pinned one; the commit that it
        resolves to is looked up and goes into the fingerprint.
      limit: most texts that are wanted; each row of a streamed data set gives at least
        one, so no more rows than this are read.
      **flags: text_column, pair_column, label_column and id_column, which replace the
        columns of the spec.

    Returns:
      The part, one source for each official split.

    Raises:
      CorpusError: the data set cannot be reached or found, or lacks a column.
    """
    try:
        spec = _pinned(spec, revision)
        splits = spec.splits or _find_splits(spec)
        tables = _open_tables(spec, [split for split, _ in splits])
    except CorpusError:
        raise
    except (OSError, ValueError, RuntimeError, _http_error()) as error:
        raise CorpusError(
            f"{name}: cannot load {_place(spec)} from the hub: "
            f"{type(error).__name__}: {error}\nWithout a connection give the path of a "
            f"file or of a folder of SPLIT.jsonl files instead of the name."
        ) from error
    first = next(iter(tables.values()))
    _check_commit(first, spec)
    columns = spec.columns
    if columns is None or any(flags.values()):
        columns = choose_columns(first.column_names or (), _place(spec), **flags)
    if not spec.splits:
        splits = _with_labels(splits, tables, columns.label)
    spec = dataclasses.replace(spec, columns=columns)
    rows = spec.stream_rows
    if rows is not None and limit is not None:
        rows = min(rows, limit)
    fractions = role_fractions({role for _, role in splits})
    sources = tuple(
        Source(
            f"{_place(spec)} {split}",
            functools.partial(_read, tables[split], name, split, spec, rows),
            fractions[role],
        )
        for split, role in splits
    )
    classes = spec.classes or _class_names(first, columns.label)
    origin = {
        "repository": spec.repository,
        "config": spec.config,
        "revision": spec.revision,
        "rows": rows,
    }
    return Part(name, sources, classes, origin, numbered=True)


def _pinned(spec: HubSpec, revision: str | None) -> HubSpec:
    """The spec with a commit as its revision, so that the hub's branches may move."""
    revision = revision or spec.revision
    if revision is None or not _COMMIT.fullmatch(revision):
        revision = (
            huggingface_hub.HfApi().dataset_info(spec.repository, revision=revision).sha
        )
    return dataclasses.replace(spec, revision=revision)


def _http_error() -> type[Exception]:
    """Base error of `huggingface_hub`'s HTTP library, which differs by release."""
    library = type(huggingface_hub.get_session()).__module__.partition(".")[0]
    return importlib.import_module(library).HTTPError


def _open_tables(spec: HubSpec, splits: list[str]) -> dict[str, Any]:
    import datasets  # slow to import, and only the hub needs it

    settings = {"revision": spec.revision}
    if spec.stream_rows is None:
        tables = datasets.load_dataset(
            spec.repository, spec.config, split=splits, **settings
        )
        return dict(zip(splits, tables))
    # A stream takes one split at a time.
    return {
        split: datasets.load_dataset(
            spec.repository, spec.config, split=split, streaming=True, **settings
        )
        for split in splits
    }


def _check_commit(table: Any, spec: HubSpec) -> None:
    """Raise unless the commit is the requested one.

    Offline, `datasets` uses whatever commit is cached; the folder is named after it.
    """
    files = getattr(table, "cache_files", None) or [{"filename": ""}]
    commit = Path(files[0]["filename"]).parent.name
    if _COMMIT.fullmatch(commit) and commit != spec.revision:
        raise CorpusError(
            f"{_place(spec)}: expected commit {spec.revision}, but without a "
            f"connection only {commit} is available. Connect to the hub once, or ask "
            f"for the cached one with revision={commit!r}."
        )


def _find_splits(spec: HubSpec) -> tuple[tuple[str, str], ...]:
    import datasets

    found = datasets.get_dataset_split_names(
        spec.repository, spec.config, revision=spec.revision
    )
    roles = {split: role_of(split) for split in found}
    splits = tuple((split, role) for split, role in roles.items() if role)
    if not splits:
        raise CorpusError(
            f"{_place(spec)}: no split is called train, validation or test; splits "
            f"found: {', '.join(found) or 'none'}."
        )
    return splits


def _with_labels(
    splits: tuple[tuple[str, str], ...], tables: dict[str, Any], label: str | None
) -> tuple[tuple[str, str], ...]:
    """Leave out splits with hidden labels: -1 or None in the first rows."""
    if label is None:
        return splits
    hidden = {
        split
        for split, _ in splits
        if all(
            v in (None, -1)
            for batch in itertools.islice(tables[split].iter(_BATCH), 1)
            for v in batch[label]
        )
    }
    if len(hidden) == len(splits):
        return splits
    return tuple((split, role) for split, role in splits if split not in hidden)


def _place(spec: HubSpec) -> str:
    config = f":{spec.config}" if spec.config else ""
    return f"{spec.repository}{config}"


def _class_names(table: Any, label: str | None) -> tuple[str, ...] | None:
    feature = (table.features or {}).get(label)
    names = getattr(feature, "names", None)
    return tuple(names) if names else None


def _read(
    table: Any, name: str, split: str, spec: HubSpec, rows: int | None
) -> Iterator[Row]:
    columns = spec.columns or choose_columns(table.column_names or (), _place(spec))
    records = _records(table.take(rows) if rows is not None else table)
    if not spec.running_text:
        yield from rows_from_records(
            records, columns, name=name, part=split, place=_place(spec)
        )
    elif columns.id is None:  # one line per row
        lines = (record[columns.text[0]] for _, record in records)
        for document, number, text in paragraph_texts(lines):
            yield Row(f"{name}/{split}/{document}#{number}", text.strip())
    else:  # one article per row
        for row, record in records:
            where = f"{_place(spec)} {split}, row {row}"
            article_lines = split_lines(text_of(record, columns.text[0], where))
            own = read_id(record[columns.id], where, raises=CorpusError)
            article = name_in_id(own)
            for part, number, text in paragraph_texts(article_lines):
                yield Row(f"{name}/{article}#{part}.{number}", text.strip())


def _records(table: Any) -> Iterable[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in table.iter(batch_size=_BATCH):
        names = list(batch)
        for values in zip(*batch.values()):
            number += 1
            yield number, dict(zip(names, values))
