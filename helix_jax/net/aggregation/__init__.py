"""Sums over silos as services: the aggregator, its silos; see docs/aggregation.md."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.net.aggregation.agreement import Agreement, read_agreement
    from helix_jax.net.aggregation.connection import SiloConnection
    from helix_jax.net.aggregation.participation import take_part
    from helix_jax.net.aggregation.service import AGGREGATION_DOORS, AggregationService

__all__ = [
    "AGGREGATION_DOORS",
    "AggregationService",
    "Agreement",
    "SiloConnection",
    "read_agreement",
    "take_part",
]
lazy_names(__name__)
