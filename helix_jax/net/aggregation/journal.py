"""An aggregator's accepted messages and closed rounds, on disk before anybody is told.

    FOLDER/journal.jsonl    a line per event, in order
    FOLDER/KIND-SILO-ID     a message, named by a line once it was accepted
    FOLDER/total            the sum, [2, L] uint64, when the last line says so

A line is appended whole and brought to the disk (`append_lines`); a file without a line
was never answered, and goes when the aggregator starts. So what a killed aggregator
had acknowledged is there when it starts again; what it had not is sent once more.

It holds nothing that the aggregator did not see: the protocol's promise is made against
one that keeps everything (docs/aggregation.md, "Assumptions").
"""

import json
import mmap
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from helix_jax.atomic import append_lines, replaced_file
from helix_jax.errors import ProtocolError
from helix_jax.paths import os_errors
from helix_jax.private.aggregation.messages import Kind

LINES, TOTAL = "journal.jsonl", "total"
TAKEN, CLOSED, FAILED, SUMMED = "taken", "closed", "failed", "summed"


class Event(NamedTuple):
    """One line.

    Attributes:
      what: TAKEN, CLOSED, FAILED or SUMMED.
      kind: the round.
      silos: who sent the message (one), stayed in the round, or is in the total.
      file: name of the message's file.
      digest: SHA-256 of the message, hex.
    """

    what: str
    kind: Kind
    silos: tuple[int, ...] = ()
    file: str = ""
    digest: str = ""


class Journal:
    """The folder of one session; one process writes it at a time."""

    def __init__(self, folder: Path):
        """Open or make the folder, without reading it.

        Raises:
          ProtocolError: it cannot be made.
        """
        self.folder = folder
        with os_errors(folder, "be written", ProtocolError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> list[Event]:
        """All events in order.

        Raises:
          ProtocolError: the journal cannot be read, or is not ours.
        """
        path = self.folder / LINES
        with os_errors(path, "be read", ProtocolError):
            text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a killed writer leaves half a line
        return [self._event(line) for line in whole.splitlines()]

    def sweep(self) -> None:
        """Remove messages that no line names, before others are written.

        Raises:
          ProtocolError: as `read`, or the folder cannot be written.
        """
        events = self.read()
        over = bool(events) and events[-1].what in (FAILED, SUMMED)
        self._keep_only(set() if over else {event.file for event in events})

    def new_file(self, kind: Kind, silo: int) -> Path:
        """Where to write a message that is coming in; nobody else writes there."""
        return self.folder / f"{kind.name}-{silo}-{secrets.token_hex(8)}"

    def take(self, kind: Kind, silo: int, file: Path, digest: str) -> None:
        """Write down that a silo's message was accepted; it is on the disk then."""
        self._add(Event(TAKEN, kind, (silo,), file.name, digest))

    def close(self, kind: Kind, silos: Iterable[int]) -> None:
        """Write down that a round closed with these silos."""
        self._add(Event(CLOSED, kind, tuple(sorted(silos))))

    def fail(self, kind: Kind) -> None:
        """Write down that the session ended in a round without a total."""
        self._add(Event(FAILED, kind))
        self._keep_only(set())

    def end(self, total: bytes | memoryview, silos: Iterable[int]) -> None:
        """Keep the total of these silos' vectors; their messages are not needed."""
        with replaced_file(self.folder / TOTAL, raises=ProtocolError) as temporary:
            temporary.write_bytes(total)
        self._add(Event(SUMMED, Kind.REVEAL, tuple(sorted(silos))))
        self._keep_only(set())

    def message(self, file: Path | str) -> mmap.mmap:
        """The bytes of a message, read from the disk as they are used."""
        path = self.folder / file
        with os_errors(path, "be read", ProtocolError), open(path, "rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def total_path(self) -> Path:
        """The file of the total."""
        return self.folder / TOTAL

    def _add(self, event: Event) -> None:
        record = event._asdict() | {"kind": event.kind.name}
        line = json.dumps({k: v for k, v in record.items() if v})
        append_lines(self.folder / LINES, [line], raises=ProtocolError)

    def _event(self, line: str) -> Event:
        try:
            record = json.loads(line)
            kind, silos = Kind[record.pop("kind")], tuple(record.pop("silos", ()))
            return Event(kind=kind, silos=silos, **record)
        except (KeyError, TypeError, ValueError) as wrong:
            raise ProtocolError(
                f"{self.folder / LINES} is damaged or of another version ({wrong}). "
                "Begin a new session in a new folder."
            ) from wrong

    def _keep_only(self, names: set[str]) -> None:
        """Remove all messages but these."""
        with os_errors(self.folder, "be written", ProtocolError):
            for path in self.folder.iterdir():
                if path.name.split("-")[0] in Kind.__members__ and (
                    path.name not in names
                ):
                    path.unlink()
