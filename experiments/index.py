r"""An index of texts for private search, as a folder that a provider serves.

    python -m experiments.index --workdir=runs/index --model=DIR_OR_ID \
      --data=NAME_FILE_OR_FOLDER [--splits=fit,select,test] [--text_bytes=400]
    python -m experiments.index --workdir=runs/index --model=embeddings:FILE --data=...

Texts are embedded by the model, or their embeddings are read from a file, and written
to WORKDIR/index with their ids and texts, for `SearchProvider` to open. Up to 200,000
rows, every query scores all of them; larger indexes are split into clusters, and a
query scores --probes clusters. Texts are read under encryption as records of one size,
so the longest text sets the cost of all: texts longer than --text_bytes are truncated.

Cost: two cores: 50,000 embedded rows of width 384 in clusters in 5 seconds, a million
in some minutes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from experiments.shared.about import about, short_data
from experiments.shared.options import (
    ExtractionOptions,
    TextOptions,
    seed_option,
    workdir_option,
)
from helix_jax.private.packing import MAX_WIDTH
from helix_jax.private.search.limits import MAX_LISTED, MAX_PROBES, MAX_TEXT_BYTES
from helix_jax.reports import Quantity, Table
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.text.corpus import SPLITS

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import load_side, open_corpus, states_of, with_stores
    from helix_jax.private.search import save_index

ANSWER = (
    "The index has {index/rows} rows of width {index/width}; {index/texts_cut} texts "
    "were truncated, and each is read in a record that has room for the longest one, "
    "of {index/longest_text_bytes} bytes."
)
ROWS = {"auto": None, "scored": False, "clusters": True}


@dataclasses.dataclass(frozen=True)
class IndexConfig(TextOptions, ExtractionOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    model: str = option(
        "",
        "folder or hub id, or embeddings:FILE",
        names="side",
        required=True,
        tiny="pebble-llama",
    )
    layer: int = option(-1, "0 is the embedding, -1 the last")
    splits: tuple[str, ...] = option(
        SPLITS, "splits to index", choices=SPLITS, required=True
    )
    text_bytes: int = option(
        400, "longer texts are truncated", least=0, most=MAX_TEXT_BYTES
    )
    rows: str = option(
        "auto",
        "layout of rows; auto: clusters from 200,001 rows on",
        choices=tuple(ROWS),
    )
    block_rows: int = option(
        512, "most rows of a cluster or block", least=1, most=MAX_WIDTH
    )
    probes: int = option(16, "clusters per query", least=1, most=MAX_PROBES)
    listed: int = option(
        4096, "most sets of clusters in the public list", least=1, most=MAX_LISTED
    )
    seed: int = seed_option("of the order and the clusters")
    tiny: bool = option(False, "200 texts, 64 tokens each at most")


@experiment(tiny={"limit": 200, "max_tokens": 64})
def compute(config: IndexConfig, _: Run) -> Report:
    """Embed, lay out, write; see the module docstring."""
    corpus = open_corpus(config, least=dict.fromkeys(config.splits, 1))
    side = load_side(config.model, config, layer=config.layer)
    vectors, ids, texts, cut = [], [], [], 0
    for split in config.splits:
        store = states_of(side, corpus, split, with_stores(config))
        vectors.append(store.read())
        of_split = {text.id: text.text for text in corpus.read(split)}
        for text_id in store.ids:
            whole = of_split[text_id].encode()
            cut += len(whole) > config.text_bytes
            ids.append(text_id)
            texts.append(whole[: config.text_bytes].decode(errors="ignore"))
    rows = np.concatenate(vectors)

    def write(folder: Path) -> None:
        save_index(
            folder,
            rows,
            model=store.fingerprint,
            ids=ids,
            texts=texts,
            clusters=ROWS[config.rows],
            block_rows=config.block_rows,
            probes=config.probes,
            listed=config.listed,
            seed=config.seed,
        )

    numbers = {
        "index/rows": len(rows),
        "index/width": rows.shape[1],
        "index/texts_cut": cut,
        "index/longest_text_bytes": max(len(text.encode()) for text in texts),
    }
    table = Table(
        "Index for private search",
        ["rows", "width", "longest text, bytes", "truncated texts"],
        [[len(rows), rows.shape[1], numbers["index/longest_text_bytes"], cut]],
    )
    told = about(side.name, short_data(config.data), f"{len(rows):,} texts")
    answer = Quantity("count", form=",.0f").fill(ANSWER, numbers)
    return Report(numbers, [table], told, files={"index": write}, answer=answer)


run = compute.run

if __name__ == "__main__":
    compute.main()
