"""Texts that are slow to parse, kept in the user's cache for the next program."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from helix_jax.atomic import write_file
from helix_jax.errors import HelixError
from helix_jax.paths import user_cache
from helix_jax.types import Text

FILES = 4  # newest files kept per corpus, for as many installations sharing the cache


def kept_texts(
    corpus: str, key: str, parse: Callable[[], Iterable[Text]]
) -> tuple[Text, ...]:
    """The result of `parse`, read from the user's cache if it was parsed before.

    A file with another key, or a damaged one, is not read. If the cache cannot be
    written, the texts are parsed each time.

    Args:
      corpus: name of the folder in the cache.
      key: hexadecimal digest of everything that the texts depend on.
      parse: makes the texts.
    """
    path = user_cache("texts", corpus) / f"{key}.jsonl"
    texts = _read(path)
    if texts is None:
        texts = tuple(parse())
        with contextlib.suppress(OSError, HelixError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, _written(texts))
            written = sorted(path.parent.glob("*.jsonl"), key=_written_at)
            for old in written[:-FILES]:
                old.unlink(missing_ok=True)
    return texts


def _written(texts: Iterable[Text]) -> bytes:
    """The digest of the other lines, then one line per text."""
    lines = "".join(json.dumps(text) + "\n" for text in texts).encode()
    return hashlib.sha256(lines).hexdigest().encode() + b"\n" + lines


def _read(path: Path) -> tuple[Text, ...] | None:
    try:
        digest, _, lines = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(lines).hexdigest().encode() != digest:
        return None
    return tuple(Text(*json.loads(line)) for line in lines.splitlines())


def _written_at(path: Path) -> int:
    return path.stat().st_mtime_ns
