"""Linear maps between two representation spaces, from their joint second moments."""

from helix_jax.alignment.accumulate import accumulate, fold_rows
from helix_jax.alignment.least_squares import fit_least_squares
from helix_jax.alignment.maps import (
    AffineMap,
    apply_map,
    compose_map,
    load_map,
    save_map,
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
    select_penalty,
)

__all__ = [
    "RELATIVE_PENALTIES",
    "AffineMap",
    "FitResult",
    "Moments",
    "RidgePath",
    "Selection",
    "accumulate",
    "all_merge",
    "apply_map",
    "compose_map",
    "empty",
    "fit_least_squares",
    "fit_ridge",
    "fold_rows",
    "from_batch",
    "load_map",
    "merge",
    "merge_all",
    "ridge_at",
    "ridge_maps",
    "save_map",
    "select_penalty",
    "translate",
]
