"""Text from one model's transformer blocks and another model's output head."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.generation.generate import Generated, generate, generate_ids
    from helix_jax.generation.prompt import declared_stops
    from helix_jax.generation.sampling import Sampling
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
    "Generated",
    "Part",
    "Sampling",
    "Stitch",
    "StitchCache",
    "declared_stops",
    "empty_stitch_cache",
    "generate",
    "generate_ids",
    "native",
    "read_head",
    "run_stitch",
    "stitch",
]
lazy_names(__name__)
