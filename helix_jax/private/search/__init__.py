"""Private search: an index is scored, and a text is read, under encryption.

    scores    one linear layer of N columns: every row's cosine with the query
    clusters  for more rows: the centroids' layer, then those of some clusters, real
              ones among decoys
    texts     a one-hot of the row in its block times the bytes of the block's texts

A `SearchProvider` holds an index folder (`save_index`), a `SearchClient` asks; bytes go
between them. What the provider learns, and the client: docs/search.md.
"""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.private.search.client import Hit, SearchClient
    from helix_jax.private.search.conversation import converse
    from helix_jax.private.search.index import SearchIndex, open_index, save_index
    from helix_jax.private.search.provider import SearchProvider
    from helix_jax.private.search.records import Document
    from helix_jax.private.search.requests import Request

__all__ = [
    "Document",
    "Hit",
    "Request",
    "SearchClient",
    "SearchIndex",
    "SearchProvider",
    "converse",
    "open_index",
    "save_index",
]
lazy_names(__name__)
