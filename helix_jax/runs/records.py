"""A file of records in a work directory that grows by batches and can be resumed."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from helix_jax.atomic import append_lines
from helix_jax.errors import RunError
from helix_jax.runs.workdir import Run, log_metrics, truncate_metrics, write_atomically
from helix_jax.textfile import read_jsonl


class Records(NamedTuple):
    """One JSON object per line; each batch also has a line of metrics.

    Attributes:
      run: an open work directory.
      name: name of the file in it.
      batch: records per batch; the last may have fewer.
    """

    run: Run
    name: str
    batch: int

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.run.folder / self.name

    def resume(self) -> int:
        """Drop incomplete batches; return the number of records left."""
        exists = self.path.exists()
        lines = self.path.read_text().splitlines(keepends=True) if exists else []
        whole = [line for line in lines if line.endswith("\n")]
        count = len(whole) // self.batch * self.batch
        write_atomically(self.path, "".join(whole[:count]))
        truncate_metrics(self.run, count - 1)
        return count

    def append(
        self,
        first: int,
        records: Iterable[Mapping[str, Any]],
        metrics: Mapping[str, float],
    ) -> None:
        """Add a batch; records and metrics are on disk when this returns.

        Args:
          first: index of its first record, the step of its metrics.
          records: JSON-able.
          metrics: name -> number.
        """
        log_metrics(self.run, first, metrics)
        # Written last, since metrics without records are dropped.
        append_lines(self.path, map(json.dumps, records), raises=RunError)

    def read(self) -> list[dict[str, Any]]:
        """All records.

        Raises:
          RunError: the file is damaged.
        """
        return [record for _, record in read_jsonl(self.path, raises=RunError)]

    def total(self, metric: str) -> float:
        """The sum of a metric over all batches."""
        path = self.run.folder / "metrics.jsonl"
        return sum(line[metric] for _, line in read_jsonl(path, raises=RunError))
