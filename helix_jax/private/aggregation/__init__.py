"""Sums over silos that reveal no single silo's part; see docs/aggregation.md."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.private.aggregation.aggregator import Aggregator
    from helix_jax.private.aggregation.fixed_point import MomentsFormat, decode, encode
    from helix_jax.private.aggregation.past_sums import name_moments
    from helix_jax.private.aggregation.rehearsal import (
        Rehearsal,
        rehearse,
        rehearse_moments,
    )
    from helix_jax.private.aggregation.session import (
        Session,
        default_threshold,
        least_threshold,
        most_colluders,
        new_identity,
        new_session,
    )
    from helix_jax.private.aggregation.silo import Silo

__all__ = [
    "Aggregator",
    "MomentsFormat",
    "Rehearsal",
    "Session",
    "Silo",
    "decode",
    "default_threshold",
    "encode",
    "least_threshold",
    "most_colluders",
    "name_moments",
    "new_identity",
    "new_session",
    "rehearse",
    "rehearse_moments",
]
lazy_names(__name__)
