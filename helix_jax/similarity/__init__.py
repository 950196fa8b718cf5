"""How alike two representation spaces are."""

from helix_jax.similarity.cka import linear_cka, unbiased_linear_cka
from helix_jax.similarity.norm_moments import (
    NormMoments,
    accumulate_norms,
    merge_norms,
    norms_from_batch,
)

__all__ = [
    "NormMoments",
    "accumulate_norms",
    "linear_cka",
    "merge_norms",
    "norms_from_batch",
    "unbiased_linear_cka",
]
