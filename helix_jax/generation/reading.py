"""Text that grows by the target's tokens, as the source's tokenizer reads it.

A reading depends only on the text, not on the tokens that it grew by:

* The text is the prompt and the bytes of the chosen tokens, decoded as UTF-8. Bytes
  that can never become valid are U+FFFD. A special token has no bytes.
* The source reads its own special tokens, then the whole text, encoded anew, in which
  the spelling of a special token is plain text. Special tokens that its tokenizer puts
  after a text are left out.
* An unfinished character at the end is read as single-byte tokens if the source has
  them, otherwise as U+FFFD.

So that a long text need not be encoded anew for each token, the ids are kept up to the
last split: a place between a visible ASCII character and a space followed by an ASCII
letter, or between an ASCII letter and punctuation other than an apostrophe. If no token
of the vocabulary spans such a place, no merge and no Viterbi path does, and every
pre-tokenizer that we know splits there; `make_reader` tests both on a few texts, and
does not use the kinds of places that fail.

In a native reading the chosen tokens are read as they are.
"""

import codecs
import json
import re
import string
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from helix_jax.text.token_bytes import TokenBytes, token_bytes

_BEFORE_WORD = r"[!-~](?= [A-Za-z])"
_WORD_PROBES = (
    ("The cat", " sat"),
    ("Is it 3.5%", " x"),
    ("\n\t we're", " Done, é 12\n"),
)
_PUNCTUATION = string.punctuation.replace("'", "")
_BEHIND = ("", "x", "X 1", " x", "  ", "1", "\n", ".", "'s")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Reader(NamedTuple):
    """How the bytes of one vocabulary become tokens of another.

    Attributes:
      pieces: for each target token its bytes, or None.
      own_pieces: for each source token its bytes, or None.
      first: encodes a text from its beginning.
      inside: encodes a text that follows another one, without a dummy space.
      byte_ids: [256] the source's single-byte tokens, -1 where there is none.
      splits: a match ends where the ids before it can no longer change; None: nowhere.
      native: chosen tokens are read as they are.
    """

    pieces: Sequence[bytes | None]
    own_pieces: Sequence[bytes | None]
    first: Callable[[str], tuple[int, ...]]
    inside: Callable[[str], tuple[int, ...]]
    byte_ids: np.ndarray
    splits: re.Pattern | None
    native: bool


class Reading(NamedTuple):
    """A text and the source tokens that it is read as.

    Attributes:
      ids: source tokens, those of `prefix` first.
      prefix: source tokens before the text: special tokens, the opening of a chat.
      behind: the text follows other text in the prefix (`Reader.inside`).
      text: whole characters.
      pending: bytes of an unfinished character after them.
      start, fixed: the first `fixed` ids are those of the prefix and `text[:start]`,
        and can no longer change.
    """

    ids: list[int]
    prefix: tuple[int, ...]
    behind: bool
    text: str
    pending: bytes
    start: int
    fixed: int


def make_reader(source: Any, target: Any, *, native: bool) -> Reader:
    """A reader for two tokenizers.

    Args:
      source: fast tokenizer whose tokens are read.
      target: fast tokenizer whose tokens are chosen.
      native: the two are the same, and chosen tokens are read as they are.
    """
    table, chosen = token_bytes(source), token_bytes(target)
    first = _encoder(source.backend_tokenizer.to_str())
    inside = _encoder(_without_dummy_space(source.backend_tokenizer.to_str()))
    return Reader(
        chosen.pieces,
        table.pieces,
        first,
        inside,
        table.byte_ids,
        _splits(table, first, inside),
        native,
    )


def open_reading(
    reader: Reader, prefix: Sequence[int], text: str, *, behind: bool
) -> Reading:
    """The reading of a prompt; arguments as in `Reading`."""
    blank = Reading(list(prefix), tuple(prefix), behind, text, b"", 0, len(prefix))
    return _read_tail(reader, blank)


def extend(reader: Reader, reading: Reading, token: int) -> Reading:
    """The reading with one more target token."""
    piece = reader.pieces[token] if token < len(reader.pieces) else None
    text, pending = append_bytes(reading.pending, piece or b"")
    _, prefix, behind, before, _, start, fixed = reading
    longer = Reading(reading.ids, prefix, behind, before + text, pending, start, fixed)
    if reader.native:
        return longer._replace(ids=[*reading.ids, token])
    return _read_tail(reader, longer, len(before))


def append_bytes(pending: bytes, piece: bytes) -> tuple[str, bytes]:
    """The whole characters of pending + piece, and the bytes of an unfinished one."""
    if not pending:
        try:
            return piece.decode(), b""
        except UnicodeDecodeError:
            pass
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(pending + piece)
    return text, decoder.getstate()[0]


def read_whole(reader: Reader, reading: Reading) -> list[int]:
    """The ids of a reading by definition: encoded anew from the beginning."""
    encode = reader.inside if reading.behind else reader.first
    known, unfinished = _unfinished(reader, reading.pending)
    return [*reading.prefix, *encode(reading.text + known), *unfinished]


def _read_tail(reader: Reader, reading: Reading, known: int = 0) -> Reading:
    """The reading with its ids, given that `known` characters were read before."""
    ids, prefix, behind, text, pending, start, fixed = reading
    ids = ids[:fixed]
    encode = reader.inside if behind or start > 0 else reader.first
    place = None
    if reader.splits:
        # A new split lies after, or across, the end of what was known.
        for match in reader.splits.finditer(text, max(start, known - 2)):
            place = match.end()
    if place is not None:
        ids += encode(text[start:place])
        start, fixed, encode = place, len(ids), reader.inside
    if pending:
        last, unfinished = _unfinished(reader, pending)
        ids += encode(text[start:] + last)
        ids += unfinished
    else:
        ids += encode(text[start:])
    return Reading(ids, prefix, behind, text, pending, start, fixed)


def _unfinished(reader: Reader, pending: bytes) -> tuple[str, list[int]]:
    """What an unfinished character is read as: text to encode, or ids."""
    if not pending:
        return "", []
    ids = [int(reader.byte_ids[byte]) for byte in pending]
    return (_REPLACEMENT, []) if min(ids, default=0) < 0 else ("", ids)


def _encoder(record: str) -> Callable[[str], tuple[int, ...]]:
    backend = Tokenizer.from_str(record)
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = True

    @lru_cache(maxsize=2**15)  # words recur
    def encode_short(text: str) -> tuple[int, ...]:
        return tuple(backend.encode(text, add_special_tokens=False).ids)

    def encode(text: str) -> tuple[int, ...]:
        return (encode_short if len(text) < 64 else encode_short.__wrapped__)(text)

    return encode


def _without_dummy_space(record: str) -> str:
    """The tokenizer's JSON without the steps that put a space before a text."""

    def mend(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        kind = part.get("type")
        if kind == "Prepend":
            return {"type": "Sequence", "normalizers": []}
        changes: dict[str, object] = {}
        if "add_prefix_space" in part:
            changes["add_prefix_space"] = False
        if kind == "Metaspace":
            changes["prepend_scheme"] = "never"
        for name in ("normalizers", "pretokenizers"):
            if name in part:
                changes[name] = [mend(step) for step in part[name]]
        return part | changes

    whole = json.loads(record)
    changed = {name: mend(whole[name]) for name in ("normalizer", "pre_tokenizer")}
    return json.dumps(whole | changed)


def _splits(table: TokenBytes, first: Callable, inside: Callable) -> re.Pattern | None:
    """A pattern of places before which ids do not depend on what follows."""
    joined = b"\xff".join(piece for piece in table.pieces if piece is not None)
    crossed = {pair[1:] for pair in re.findall(rb"[A-Za-z][!-/:-@[-`{-~]", joined)}

    def parts(probes: Iterable[tuple[str, str]]) -> bool:
        return all(first(a + b) == first(a) + inside(b) for a, b in probes)

    marks = [
        mark
        for mark in _PUNCTUATION
        if mark.encode() not in crossed
        and parts((text, mark + end) for text in ("ab", " Zq") for end in _BEHIND)
    ]
    kinds = [f"[A-Za-z](?=[{re.escape(''.join(marks))}])"] if marks else []
    if not re.search(rb"[!-~] ", joined) and parts(_WORD_PROBES):
        kinds.append(_BEFORE_WORD)
    return re.compile("|".join(kinds)) if kinds else None
