"""Refusals of settings in which a score says nothing about the representations."""

from typing import Any

from helix_jax import checks
from helix_jax.alignment.moments import Moments

ROWS_PER_RANK = 5


def require_rows_for_rank(who: str, rows: Any, rank: Any) -> None:
    """Raise if concrete `rows` are fewer than 5 for each direction that is fitted.

    At 5 rows per direction, the largest canonical correlation of two independent sides
    is still about 0.6 on the rows it was fitted on.
    """
    if not checks.is_concrete(rows, rank):
        return
    if float(rows) < ROWS_PER_RANK * int(rank):
        raise ValueError(
            f"{who}: {float(rows):g} rows are too few for {int(rank)} directions, "
            f"{ROWS_PER_RANK} per direction are needed: unrelated rows "
            "would score high too. Use more rows or a smaller rank, or "
            "allow_few_rows=True with a permutation null."
        )


def require_same_widths(who: str, dx: int, y: Any, moments: Moments) -> None:
    """Raise unless what was fitted has the widths of the moments to score on."""
    fitted, got = [dx, y.shape[0]], list(moments.cov_xy.shape)
    if fitted != got:
        raise ValueError(
            f"{who}: fitted on widths {fitted}, asked to score {got}. Use the test "
            "split of the same stores."
        )
