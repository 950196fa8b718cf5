"""Fits through the service: seconds, and the provider's cost as rows grow."""

import time

import jax
import numpy as np

from benchmarks.service_flags import ROWS, TINY
from benchmarks.service_own import Place, own_service
from benchmarks.service_results import write_part
from helix_jax.alignment import accumulate
from helix_jax.private.comparisons import moment_errors
from helix_jax.private.planted import planted_rows


def fit(place: Place) -> None:
    """Measure fits of growing n, and what they cost the provider."""
    width, table = 32 if TINY.value else 768, []
    sizes = (300, 600) if TINY.value else ROWS.value
    fewest = min(sizes)
    for rows in sizes:
        x, y = planted_rows(rows=rows, widths=(width, width))
        file = place.folder / f"rows{rows}.npz"
        np.savez(file, y=y.astype(np.float32))
        with jax.enable_x64(True):
            plain = accumulate([(x, y)])
        settings = {"rows.public": {"path": str(file), "share": 1e9}}
        for workers in (2, 1):
            with (
                own_service(place, settings, workers=workers) as own,
                own.connect() as connection,
            ):
                idle = own.service.resident_bytes()
                for turn in ("first", "again") if rows == fewest else ("first",):
                    mine = time.process_time()
                    theirs, start = own.service.processor_seconds(), time.perf_counter()
                    found = connection.fit("public", x)
                    took = time.perf_counter() - start
                    errors = moment_errors(found.moments, plain)
                    table.append(
                        [
                            rows,
                            workers,
                            turn,
                            took,
                            time.process_time() - mine,
                            own.service.processor_seconds() - theirs,
                            idle / 1e6,
                            own.service.peak_bytes() / 1e6,
                            errors["relative_error"],
                        ]
                    )
                    print(*table[-1], flush=True)
    header = [
        "rows",
        "workers",
        "turn",
        "seconds",
        "client's processor, s",
        "service's processor, s",
        "service's memory before, MB",
        "its peak, MB",
        "relative error",
    ]
    notes = (
        f"Profile `guarded`, {width} by {width} dimensions, from rows to moments. "
        "First: of services that have just begun, whose functions come from the cache "
        "of compiled ones where there is one. Peak: sum of the largest resident "
        "sizes of all its processes."
    )
    write_part("fit", "Fits through the service", header, table, notes)
