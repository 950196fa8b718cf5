"""Training small causal language models from scratch: pure steps and batches."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.training.documents import (
        encode_documents,
        held_out_windows,
        read_documents,
    )
    from helix_jax.training.packing import pack_documents, unpack_windows, window_batch
    from helix_jax.training.pretraining import (
        TrainState,
        cross_entropy,
        held_out_loss,
        init_state,
        make_optimizer,
        make_step,
        run_steps,
        trigram_loss,
    )
    from helix_jax.training.snapshot import load_snapshot, save_snapshot

__all__ = [
    "TrainState",
    "cross_entropy",
    "encode_documents",
    "held_out_loss",
    "held_out_windows",
    "init_state",
    "load_snapshot",
    "make_optimizer",
    "make_step",
    "pack_documents",
    "read_documents",
    "run_steps",
    "save_snapshot",
    "trigram_loss",
    "unpack_windows",
    "window_batch",
]
lazy_names(__name__)
