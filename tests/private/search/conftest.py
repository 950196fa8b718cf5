"""Two indexes of the session, of one size of blocks: shapes compile for a second."""

import numpy as np
import pytest

from helix_jax.private.search import (
    SearchClient,
    SearchProvider,
    open_index,
    save_index,
)

WIDTH, BLOCK, DECOYS = 16, 32, 3
TEXTS = ["", "plain", "Füße, 世界, 🦜🦜", "a\0b\n", "x" * 90, "é" * 45]


def make_vectors(rows):
    """Rows about a few centres, of any norms."""
    generator = np.random.default_rng(7)
    centres = generator.normal(size=(12, WIDTH))
    near = centres[generator.integers(12, size=rows)]
    return near + 0.6 * generator.normal(size=(rows, WIDTH))


def make_texts(rows):
    """Ids and texts, the same longest ones in every index."""
    texts = [TEXTS[i % len(TEXTS)] for i in range(rows)]
    return {"ids": [f"row-{i:04}" for i in range(rows)], "texts": texts}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """ "scores" or "clusters" -> a folder of an index."""
    found = {}
    for name, rows in (("scores", 200), ("clusters", 600)):
        found[name] = save_index(
            tmp_path_factory.mktemp(name) / "index",
            make_vectors(rows),
            model={"name": "made up"},
            clusters=name == "clusters",
            block_rows=BLOCK,
            probes=4,
            **make_texts(rows),
        )
    return found


@pytest.fixture(scope="session")
def indexes(folders):
    """The same -> an open index."""
    return {name: open_index(folder) for name, folder in folders.items()}


@pytest.fixture
def open_search(indexes, client):
    """Name and settings -> (index, provider, client of the search)."""

    def start(name, *, secret=None, decoys=None, **settings):
        settings = {"decoys": DECOYS, "policy": "logits"} | settings
        provider = SearchProvider(indexes[name], **settings)
        provider.register(client("guarded").public_bundle())
        own = SearchClient(
            client("guarded"), provider.about, secret=secret, decoys=decoys
        )
        return indexes[name], provider, own

    return start
