"""Private search through the service: 100,000 rows, and a million in clusters."""

import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.service_flags import INDEX_ROWS, INDEXES, SEARCHES, TINY, WEIGHTS
from benchmarks.service_own import Own, Place, own_service
from benchmarks.service_processes import counted_port
from benchmarks.service_results import write_part
from helix_jax.net import Connection
from helix_jax.paths import local_path
from helix_jax.private.search import Hit, SearchIndex, open_index, save_index
from helix_jax.private.search.planted import planted_index
from helix_jax.stats import bootstrap_interval

WIDTH, K = 384, 10
CHECKED = 200  # most searches
_BLOCK = 65_536


def search(place: Place) -> None:
    """Measure seconds and bytes of a search, and its recall of the clear search."""
    given = INDEXES.value
    folder = local_path(given, "--indexes") if given else place.folder / "indexes"
    count = 3 if TINY.value else SEARCHES.value
    table = []
    for rows in (500,) if TINY.value else INDEX_ROWS.value:
        name = folder / f"made{rows}"
        index, queries, built = make_index(name, rows)
        clear = nearest(index.vectors, queries[:count])
        settings = {"path": str(name), "weights_bytes": 1e9 * WEIGHTS.value}
        with (
            own_service(place, {"indexes.made": settings}, workers=1) as own,
            own.connect() as connection,
        ):
            connection.search("made", queries[0], k=K)  # compiles
            before, mine = own.service.processor_seconds(), time.process_time()
            seconds, found = timed_searches(connection, queries[:count])
            mine = (time.process_time() - mine) / count
            theirs = (own.service.processor_seconds() - before) / count
            reading = timed_readings(connection, found[-1])
            sizes = traffic(own, queries)
            peak = own.service.peak_bytes()
        found = [[hit.row for hit in hits] for hits in found]
        same = [len(set(ours) & set(truth)) / K for ours, truth in zip(found, clear)]
        recall = bootstrap_interval(np.array(same), [str(i) for i in range(count)])
        low, middle, high = np.quantile(seconds, (0.025, 0.5, 0.975))
        table.append(
            [
                rows,
                middle,
                f"{low:.2f}-{high:.2f}",
                mine,
                theirs,
                sizes[0] / 1e6,
                f"{recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}]",
                float(np.median(reading)),
                sizes[1] / 1e6,
                peak / 1e9,
                built,
            ]
        )
        print(*table[-1], flush=True)
    header = [
        "rows",
        "search, s",
        "95% of them, s",
        "client's processor, s",
        "service's processor, s",
        "both ways, MB",
        f"recall@{K}",
        "reading a text, s",
        "both ways, MB (text)",
        "service's peak, GB",
        "index built, s",
    ]
    notes = (
        f"{count} searches of each synthetic index of width {WIDTH}, rows in clusters "
        "of clusters; one client, one worker, `guarded`, scores to 12 bits, "
        f"{WEIGHTS.value:g} GB for transformed weights. Medians; recall by the clear "
        "search of the same vectors, interval over queries. Bytes on the wire."
    )
    write_part("search", "Private search through the service", header, table, notes)


def timed_searches(
    connection: Connection, queries: np.ndarray
) -> tuple[list[float], list[list[Hit]]]:
    """Seconds and hits of each query."""
    seconds, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(connection.search("made", query, k=K))
        seconds.append(time.perf_counter() - start)
    return seconds, found


def timed_readings(connection: Connection, hits: list[Hit]) -> list[float]:
    """Seconds of reading each hit's text, after one that compiles."""
    seconds = []
    for hit in hits:
        start = time.perf_counter()
        connection.read("made", hit)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def traffic(own: Own, queries: np.ndarray) -> list[int]:
    """Bytes both ways of a search, and of reading a text."""
    with counted_port(own.port) as counted, own.connect(counted.port) as connection:
        connection.search("made", queries[0], k=K)  # registers
        marks = [counted.up + counted.down]
        hits = connection.search("made", queries[1], k=K)
        marks.append(counted.up + counted.down)
        connection.read("made", hits[0])
        marks.append(counted.up + counted.down)
    return [later - before for before, later in pairwise(marks)]


def make_index(folder: Path, rows: int) -> tuple[SearchIndex, np.ndarray, float]:
    """An index (made if missing), queries for it, and the seconds that it took."""
    about = folder.with_suffix(".json")
    queries = folder.with_suffix(".npy")
    if not about.exists():
        vectors, asked = planted_index(rows=rows, queries=CHECKED, width=WIDTH)
        texts = [f"The text of row {row}." for row in range(rows)]
        start = time.perf_counter()
        save_index(folder, vectors, model={"made": rows}, texts=texts)
        took = time.perf_counter() - start
        np.save(queries, asked)
        about.write_text(json.dumps({"seconds": took}))
    took = json.loads(about.read_text())["seconds"]
    return open_index(folder), np.load(queries), took


def nearest(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """[Q, K] rows nearest to queries [Q, d] among unit vectors [N, d], by cosine."""
    scores = np.concatenate(
        [
            queries @ np.asarray(vectors[start : start + _BLOCK]).T
            for start in range(0, len(vectors), _BLOCK)
        ],
        axis=1,
    )
    return np.argpartition(-scores, K, axis=1)[:, :K]
