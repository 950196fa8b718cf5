"""Linear maps between two representation spaces, from their joint second moments."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.alignment.accumulate import accumulate, fold_rows
    from helix_jax.alignment.canonical import canonical_factors, fit_canonical
    from helix_jax.alignment.confidence import fit_confidence, score_confidence
    from helix_jax.alignment.controls import (
        gaussian_like,
        identity_map,
        mean_map,
        random_orthogonal_map,
    )
    from helix_jax.alignment.descents import GRADIENT_METHODS, Descended, fit_descent
    from helix_jax.alignment.dimensions import scale_dimensions
    from helix_jax.alignment.evaluate import Evaluation, evaluate_map
    from helix_jax.alignment.gradient import Descent, GradientFit, fit_gradient
    from helix_jax.alignment.growing import growing_moments
    from helix_jax.alignment.least_squares import fit_least_squares
    from helix_jax.alignment.losses import (
        cosine_rows,
        huber_rows,
        kl_loss,
        kl_of_logits,
        mse_rows,
    )
    from helix_jax.alignment.map_cards import MapCard
    from helix_jax.alignment.map_files import load_map, save_map
    from helix_jax.alignment.map_hub import push_map, push_maps
    from helix_jax.alignment.maps import (
        AffineMap,
        LowRankMap,
        MlpMap,
        ResidualMap,
        ShiftMap,
        StateMap,
        apply_map,
        compose_map,
        to_affine,
    )
    from helix_jax.alignment.methods import (
        METHODS,
        Fitted,
        fit_all,
        prepare,
        usable_methods,
    )
    from helix_jax.alignment.moments import (
        Moments,
        all_merge,
        empty,
        from_batch,
        merge,
        merge_all,
        select_columns,
        translate,
    )
    from helix_jax.alignment.partial_least_squares import fit_pls
    from helix_jax.alignment.path import (
        FitResult,
        MapPath,
        Selection,
        map_at,
        path_maps,
        path_r2,
        select_map,
    )
    from helix_jax.alignment.procrustes import CrossFactors, fit_procrustes
    from helix_jax.alignment.ranks import rank_grid
    from helix_jax.alignment.reduced_rank import fit_reduced_rank
    from helix_jax.alignment.relative import fit_relative, relative_representation
    from helix_jax.alignment.residual import (
        affine_rates,
        residual_affine,
        residual_low_rank,
        residual_mlp,
    )
    from helix_jax.alignment.ridge import (
        RELATIVE_PENALTIES,
        RidgePath,
        fit_ridge,
        ridge_at,
        ridge_maps,
        select_by_gcv,
        select_penalty,
    )
    from helix_jax.alignment.rows import (
        RowScores,
        deviations,
        r2_interval,
        r2_of_rows,
        row_cosine,
        score_rows,
        squared_errors,
    )
    from helix_jax.alignment.shuffled import (
        accumulate_with_shuffled,
        derangement,
        fit_shuffled,
        shuffled_moments,
    )
    from helix_jax.alignment.unpaired import UnpairedFit, fit_unpaired

__all__ = [
    "GRADIENT_METHODS",
    "METHODS",
    "RELATIVE_PENALTIES",
    "AffineMap",
    "CrossFactors",
    "Descended",
    "Descent",
    "Evaluation",
    "FitResult",
    "Fitted",
    "GradientFit",
    "LowRankMap",
    "MapCard",
    "MapPath",
    "MlpMap",
    "Moments",
    "ResidualMap",
    "RidgePath",
    "RowScores",
    "Selection",
    "ShiftMap",
    "StateMap",
    "UnpairedFit",
    "accumulate",
    "accumulate_with_shuffled",
    "affine_rates",
    "all_merge",
    "apply_map",
    "canonical_factors",
    "compose_map",
    "cosine_rows",
    "derangement",
    "deviations",
    "empty",
    "evaluate_map",
    "fit_all",
    "fit_canonical",
    "fit_confidence",
    "fit_descent",
    "fit_gradient",
    "fit_least_squares",
    "fit_pls",
    "fit_procrustes",
    "fit_reduced_rank",
    "fit_relative",
    "fit_ridge",
    "fit_shuffled",
    "fit_unpaired",
    "fold_rows",
    "from_batch",
    "gaussian_like",
    "growing_moments",
    "huber_rows",
    "identity_map",
    "kl_loss",
    "kl_of_logits",
    "load_map",
    "map_at",
    "mean_map",
    "merge",
    "merge_all",
    "mse_rows",
    "path_maps",
    "path_r2",
    "prepare",
    "push_map",
    "push_maps",
    "r2_interval",
    "r2_of_rows",
    "random_orthogonal_map",
    "rank_grid",
    "relative_representation",
    "residual_affine",
    "residual_low_rank",
    "residual_mlp",
    "ridge_at",
    "ridge_maps",
    "row_cosine",
    "save_map",
    "scale_dimensions",
    "score_confidence",
    "score_rows",
    "select_by_gcv",
    "select_columns",
    "select_map",
    "select_penalty",
    "shuffled_moments",
    "squared_errors",
    "to_affine",
    "translate",
    "usable_methods",
]
lazy_names(__name__)
