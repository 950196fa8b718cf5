"""Text from one model's transformer and another's output head."""

from helix_jax.generation.stitch import (
    Part,
    Stitch,
    StitchCache,
    empty_stitch_cache,
    native,
    read_head,
    run_stitch,
    stitch,
)

__all__ = [
    "Part",
    "Stitch",
    "StitchCache",
    "empty_stitch_cache",
    "native",
    "read_head",
    "run_stitch",
    "stitch",
]
