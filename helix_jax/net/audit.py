"""The audit log: a JSON line per request, without plaintext, keys, tokens, bodies."""

import json
import logging
import os
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

FILE = "audit.jsonl"
_BYTES, _FILES = 50_000_000, 10


class Audit:
    """Writes lines to the state's folder; old files go when ten are full."""

    def __init__(self, folder: Path):
        path = folder / FILE
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        self._log = logging.Logger("audit")
        handler = RotatingFileHandler(
            path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8"
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._log.addHandler(handler)

    def write(self, **fields: Any) -> None:
        """One line: what is given, and the time."""
        self._log.info(json.dumps({"time": round(time.time(), 3), **fields}))

    def close(self) -> None:
        """Close the file."""
        for handler in list(self._log.handlers):
            handler.close()
            self._log.removeHandler(handler)
