"""Membership in a map: an overfitted one, where it must show, and maps of many rows."""

import numpy as np

from helix_jax.attacks import membership
from helix_jax.attacks.setting import Finding, Setting


def measure_membership(
    setting: Setting, *, shadows: int, resamples: int, rng: np.random.Generator
) -> Finding:
    """Both scores on maps of d_x rows without ridge, and of more rows with their ridge.

    Args:
      setting: its rows are the pool; members are halves of it, or of parts of it.
      shadows: maps; each is the target of the others.
      resamples: of the bootstrap.
      rng: of everything.
    """
    order = rng.permutation(len(setting.x))
    widths = setting.x.shape[1], setting.y.shape[1]
    sizes = {"control": 2 * widths[0], "eighth": len(order) // 8, "all": len(order)}
    summary, rows = {}, []
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
            cells[curve.auc.value] = (
                score,
                (
                    f"AUC {curve.auc.value:.3f} [{curve.auc.low:.3f}, "
                    f"{curve.auc.high:.3f}]; TPR "
                    + ", ".join(
                        f"{100 * share.value:.1f}% at FPR {100 * rate:g}%"
                        for rate, share in curve.tpr.items()
                    )
                ),
            )
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
