"""Answers of a fit on the disk: complete before they are charged, and made only once.

    made, written, synced --> charged --> given, as often as requested

A process that ends before the second step has given nothing, and answers that it had
not finished writing are made again; after that step the same bytes are given again.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from helix_jax.atomic import sync
from helix_jax.errors import ProtocolError
from helix_jax.paths import os_errors


class KeptAnswers:
    """The answers of one fit in a folder of its own."""

    def __init__(self, folder: Path, number: bytes):
        """Take the folder of a fit's state, and the fit's 16 bytes."""
        self._folder = folder / f"answers-{number.hex()}"

    def has(self, name: str) -> bool:
        """Whether an answer is there, complete."""
        return (self._folder / name).is_dir()

    def keep(self, name: str, make: Callable[[], Iterable[bytes]]) -> list[Path]:
        """The files of an answer, one per message, made and written if it is missing.

        Args:
          name: of the answer.
          make: gives its messages.

        Raises:
          ProtocolError: it cannot be written; no part of it is left.
        """
        place, passing = self._folder / name, self._folder / f".{name}"
        if not place.is_dir():
            with os_errors(place, "be written", ProtocolError):
                self._folder.mkdir(0o700, exist_ok=True)
                shutil.rmtree(passing, ignore_errors=True)
                passing.mkdir(0o700)
                try:
                    for number, message in enumerate(make()):
                        file = passing / f"{number:06d}"
                        file.write_bytes(message)
                        sync(file)
                    sync(passing)
                    passing.rename(place)
                except BaseException:
                    shutil.rmtree(passing, ignore_errors=True)
                    raise
                sync(self._folder)
                sync(self._folder.parent)
        return sorted(place.iterdir())
