"""How sure a number is: intervals, permutation tests, false discoveries."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.stats.bootstrap import (
        bootstrap_counts,
        bootstrap_interval,
        bootstrap_statistic,
        mean_of_sums,
        paired_interval,
    )
    from helix_jax.stats.discovery import (
        benjamini_hochberg,
        benjamini_yekutieli,
        least_discoveries,
    )
    from helix_jax.stats.exact import at_most, exact_fraction
    from helix_jax.stats.interval import Interval, estimate_of
    from helix_jax.stats.jackknife import document_groups, jackknife_interval
    from helix_jax.stats.learning_curve import (
        LearningCurve,
        learning_curve,
        plateau_size,
    )
    from helix_jax.stats.permutation import permutation_null, permutation_p, sign_flip_p
    from helix_jax.stats.rank_correlation import (
        document_rank_correlations,
        pair_rank_correlation,
        rank_correlations,
    )
    from helix_jax.stats.relative import relative_error
    from helix_jax.stats.seeds import seed_interval

__all__ = [
    "Interval",
    "LearningCurve",
    "at_most",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "bootstrap_counts",
    "bootstrap_interval",
    "bootstrap_statistic",
    "document_groups",
    "document_rank_correlations",
    "estimate_of",
    "exact_fraction",
    "jackknife_interval",
    "learning_curve",
    "least_discoveries",
    "mean_of_sums",
    "pair_rank_correlation",
    "paired_interval",
    "permutation_null",
    "permutation_p",
    "plateau_size",
    "rank_correlations",
    "relative_error",
    "seed_interval",
    "sign_flip_p",
]
lazy_names(__name__)
