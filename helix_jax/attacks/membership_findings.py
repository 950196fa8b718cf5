"""Membership attacks on an overfitted map, where they must succeed, and on larger fits.

Also on maps of few directions with differential privacy, without their noise and with.
"""

import numpy as np

from helix_jax.attacks import membership
from helix_jax.attacks.private_membership import most_auc, private_membership
from helix_jax.attacks.setting import Finding, Setting
from helix_jax.private.accountant import Privacy
from helix_jax.private.unit_rows import unit_rows
from helix_jax.stats import Interval

DIRECTIONS = 32
PUBLIC_ROWS = 300


def measure_membership(
    setting: Setting, *, shadows: int, resamples: int, rng: np.random.Generator
) -> Finding:
    """Measure both scores on maps of d_x rows without ridge, and of more rows with it.

    Args:
      setting: its rows are the pool; members are halves of it, or of parts of it.
      shadows: number of maps; each is attacked with the others.
      resamples: of the bootstrap.
      rng: for everything.
    """
    order = rng.permutation(len(setting.x))
    widths = setting.x.shape[1], setting.y.shape[1]
    sizes = {"control": 2 * widths[0], "eighth": len(order) // 8, "all": len(order)}
    summary: dict[str, float | Interval] = {}
    rows: list[list[str | None]] = []
    for name, size in sizes.items():
        pool = order[: size - size % 2]
        control = name == "control"
        members = membership.draw_members(len(pool), shadows, rng=rng)
        residuals = membership.shadow_residuals(
            setting.x[pool],
            setting.y[pool],
            members,
            penalty=1e-8 if control else setting.penalty,
        )
        scores = {
            "loss": membership.loss_scores(residuals, members),
            "likelihood": membership.likelihood_scores(residuals),
        }
        count = len(pool) // 2
        expected = membership.expected_auc(*widths, count)
        summary[f"membership_{name}_rows"] = count
        summary[f"membership_{name}_expected_auc"] = expected
        cells = {}
        for score, values in scores.items():
            curve = membership.roc(values, members, rng=rng, resamples=resamples)
            start = f"membership_{name}_{score}"
            summary[f"{start}_auc"] = curve.auc
            for rate, share in curve.tpr.items():
                summary[f"{start}_tpr_at_{100 * rate:g}_percent"] = share
            cells[curve.auc.value] = (score, _cell(curve))
        score, cell = cells[max(cells)]  # the stronger of the two
        rows.append(
            [
                "" if rows else "membership in a map",
                f"{score}, {count} rows" + (", no ridge" if control else ""),
                cell if control else None,
                None if control else cell,
                "AUC 0.5",
            ]
        )
    return Finding(summary, rows)


def measure_private_membership(
    setting: Setting,
    *,
    epsilon: float,
    shadows: int,
    resamples: int,
    rng: np.random.Generator,
) -> Finding:
    """Measure the better score on differentially private maps, with and without noise.

    Args:
      setting: its first rows are public, the others the pool.
      epsilon: for a pair of rows; delta is 1e-5.
      shadows: number of maps; each is attacked with the others.
      resamples: of the bootstrap.
      rng: for halves and bootstrap.
    """
    rank = min(DIRECTIONS, setting.x.shape[1])
    x, y = (
        unit_rows(side[:PUBLIC_ROWS], rank=directions).apply(side[PUBLIC_ROWS:])
        for side, directions in ((setting.x, rank), (setting.y, None))
    )
    shares = [Privacy(epsilon, 1e-5, share=share) for share in (0.8, 0.2)]
    bare, hidden = (
        private_membership(
            x, y, privacy, own=own, shadows=shadows, resamples=resamples, rng=rng
        )
        for privacy, own in ((None, None), shares)
    )
    most = most_auc(*shares)
    numbers: dict[str, float | Interval] = {
        "private_membership_bare_auc": bare.auc,
        "private_membership_auc": hidden.auc,
        "private_membership_most_auc": most,
    }
    against = f"epsilon {epsilon:g}, {rank} directions, {len(x) // 2} rows"
    told = f"AUC 0.5; at most {most:.3f}"
    row = ["membership in a private map", against, _cell(bare), _cell(hidden), told]
    return Finding(numbers, [row])


def _cell(curve: membership.Roc) -> str:
    """A curve in the table."""
    rates = ", ".join(
        f"{100 * share.value:.1f}% at FPR {100 * rate:g}%"
        for rate, share in curve.tpr.items()
    )
    area = curve.auc
    return f"AUC {area.value:.3f} [{area.low:.3f}, {area.high:.3f}]; TPR {rates}"
