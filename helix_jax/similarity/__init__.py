"""How alike two representation spaces are, and how alike by chance."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.similarity.calibration import Calibrated, calibrate
    from helix_jax.similarity.cca import (
        CanonicalDirections,
        canonical_directions,
        mean_cca,
        pwcca,
        score_directions,
        svcca,
    )
    from helix_jax.similarity.cka import linear_cka, unbiased_linear_cka
    from helix_jax.similarity.functional import (
        centred_row_cosine,
        row_agreement,
        row_divergence,
    )
    from helix_jax.similarity.gram import (
        gram_cka,
        gram_correlation,
        gram_unbiased_cka,
        minibatch_cka,
        rbf_cka,
        rsa,
    )
    from helix_jax.similarity.gram_null import (
        centred_matrices,
        gram_null,
        linear_cka_null,
    )
    from helix_jax.similarity.gram_sums import GramSums, gram_sums
    from helix_jax.similarity.neighbours import (
        Neighbours,
        cknna,
        mutual_neighbours,
        nearest_neighbours,
        nearest_rows,
    )
    from helix_jax.similarity.norm_moments import (
        NormMoments,
        accumulate_norms,
        merge_norms,
        norms_from_batch,
    )
    from helix_jax.similarity.nulls import (
        cca_null,
        moments_null,
        neighbours_null,
        predictivity_null,
        rows_null,
    )
    from helix_jax.similarity.permuted_moments import (
        NullMoments,
        cka_null_moments,
        correlation_null_moments,
        linear_cka_null_moments,
        unbiased_cka_null_moments,
    )
    from helix_jax.similarity.predictivity import linear_predictivity, swapped
    from helix_jax.similarity.procrustes import procrustes_distance

__all__ = [
    "Calibrated",
    "CanonicalDirections",
    "GramSums",
    "Neighbours",
    "NormMoments",
    "NullMoments",
    "accumulate_norms",
    "calibrate",
    "canonical_directions",
    "cca_null",
    "centred_matrices",
    "centred_row_cosine",
    "cka_null_moments",
    "cknna",
    "correlation_null_moments",
    "gram_cka",
    "gram_correlation",
    "gram_null",
    "gram_sums",
    "gram_unbiased_cka",
    "linear_cka",
    "linear_cka_null",
    "linear_cka_null_moments",
    "linear_predictivity",
    "mean_cca",
    "merge_norms",
    "minibatch_cka",
    "moments_null",
    "mutual_neighbours",
    "nearest_neighbours",
    "nearest_rows",
    "neighbours_null",
    "norms_from_batch",
    "predictivity_null",
    "procrustes_distance",
    "pwcca",
    "rbf_cka",
    "row_agreement",
    "row_divergence",
    "rows_null",
    "rsa",
    "score_directions",
    "svcca",
    "swapped",
    "unbiased_cka_null_moments",
    "unbiased_linear_cka",
]
lazy_names(__name__)
