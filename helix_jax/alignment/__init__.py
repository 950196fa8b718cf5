"""Linear maps between two representation spaces, from their joint second moments."""

from helix_jax.alignment.accumulate import accumulate, fold_rows
from helix_jax.alignment.controls import (
    derangement,
    fit_shuffled,
    identity_map,
    mean_map,
    random_orthogonal_map,
)
from helix_jax.alignment.evaluate import Evaluation, evaluate_map
from helix_jax.alignment.least_squares import fit_least_squares
from helix_jax.alignment.map_files import load_map, save_map
from helix_jax.alignment.maps import (
    AffineMap,
    LowRankMap,
    MlpMap,
    ResidualMap,
    StateMap,
    apply_map,
    compose_map,
    to_affine,
)
from helix_jax.alignment.moments import (
    Moments,
    all_merge,
    empty,
    from_batch,
    merge,
    merge_all,
    translate,
)
from helix_jax.alignment.ridge import (
    RELATIVE_PENALTIES,
    FitResult,
    RidgePath,
    Selection,
    fit_ridge,
    ridge_at,
    ridge_maps,
    select_by_gcv,
    select_penalty,
)
from helix_jax.alignment.rows import RowScores, row_cosine, score_rows

__all__ = [
    "RELATIVE_PENALTIES",
    "AffineMap",
    "Evaluation",
    "FitResult",
    "LowRankMap",
    "MlpMap",
    "Moments",
    "ResidualMap",
    "RidgePath",
    "RowScores",
    "Selection",
    "StateMap",
    "accumulate",
    "all_merge",
    "apply_map",
    "compose_map",
    "derangement",
    "empty",
    "evaluate_map",
    "fit_least_squares",
    "fit_ridge",
    "fit_shuffled",
    "fold_rows",
    "from_batch",
    "identity_map",
    "load_map",
    "mean_map",
    "merge",
    "merge_all",
    "random_orthogonal_map",
    "ridge_at",
    "ridge_maps",
    "row_cosine",
    "save_map",
    "score_rows",
    "select_by_gcv",
    "select_penalty",
    "to_affine",
    "translate",
]
