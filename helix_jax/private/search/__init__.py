"""Private search: an index is scored, and a text is read, under encryption.

    scores    one linear layer of N columns: every row's cosine with the query
    clusters  for more rows: the centroids' layer, then the layers of some clusters,
              the intended ones among decoys
    texts     a one-hot of the row in its block times the bytes of the block's texts

A `SearchProvider` serves an index folder (`save_index`) and a `SearchClient` queries
it; only bytes pass between them. docs/search.md says what each side learns.
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
