"""Training small causal language models from scratch: pure steps and batches."""

from helix_jax.training.packing import pack_documents, unpack_windows, window_batch
from helix_jax.training.pretraining import (
    TrainState,
    cross_entropy,
    init_state,
    make_optimizer,
    make_step,
)
from helix_jax.training.snapshot import load_snapshot, save_snapshot

__all__ = [
    "TrainState",
    "cross_entropy",
    "init_state",
    "load_snapshot",
    "make_optimizer",
    "make_step",
    "pack_documents",
    "save_snapshot",
    "unpack_windows",
    "window_batch",
]
