"""Hidden states of texts, extracted to a resumable store, or imported."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.activations.batching import length_ladder, plan_batches
    from helix_jax.activations.captured import load_captured, save_captured
    from helix_jax.activations.embeddings import load_embeddings
    from helix_jax.activations.extract import extract
    from helix_jax.activations.extraction import Extraction
    from helix_jax.activations.extractor import store_fingerprint
    from helix_jax.activations.join import Pair, join
    from helix_jax.activations.pair_stream import PairStream
    from helix_jax.activations.pooling import POOLINGS, pool
    from helix_jax.activations.store import Store, open_store
    from helix_jax.activations.token_pairs import TokenBlock, TokenPairs
    from helix_jax.activations.token_states import TokenSide, layer_side

__all__ = [
    "POOLINGS",
    "Extraction",
    "Pair",
    "PairStream",
    "Store",
    "TokenBlock",
    "TokenPairs",
    "TokenSide",
    "extract",
    "join",
    "layer_side",
    "length_ladder",
    "load_captured",
    "load_embeddings",
    "open_store",
    "plan_batches",
    "pool",
    "save_captured",
    "store_fingerprint",
]
lazy_names(__name__)
