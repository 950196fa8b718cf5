r"""Detection metrics of ten million scores: exact, against scikit-learn.

    python -m benchmarks.ood

The scores are normal, half in-distribution, half out-of-distribution; once distinct and
once rounded to two places, so that nearly all are tied. scikit-learn computes three of
our seven metrics (AUROC and average precision both ways); they must agree before a time
counts.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import alternate, medians, write_results
    from helix_jax.ood import detection_metrics

ROWS = flags.DEFINE_integer(
    "rows", 10_000_000, "scores of both sides together", lower_bound=1
)
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TINY = flags.DEFINE_bool("tiny", False, "20,000 scores")


def peer(known: np.ndarray, strange: np.ndarray) -> tuple[float, float, float]:
    """AUROC and the average precision of either side, with scikit-learn."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = np.repeat([0, 1], [len(known), len(strange)])
    scores = np.concatenate([known, strange])
    return (
        roc_auc_score(truth, scores),
        average_precision_score(1 - truth, -scores),
        average_precision_score(truth, scores),
    )


def main(_: list[str]) -> None:
    """Measure and write the table."""
    rows = 20_000 if TINY.value else ROWS.value
    generator = np.random.default_rng(0)
    known = generator.standard_normal(rows // 2)
    strange = generator.standard_normal(rows // 2) + 1
    kinds = {
        "float32": [z.astype(np.float32) for z in (known, strange)],
        "float64": [known, strange],
        "float64, tied": [z.round(2) for z in (known, strange)],
    }
    table = []
    for kind, sides in kinds.items():
        found: dict[str, tuple] = {}
        seconds = medians(
            alternate(
                {
                    "ours": lambda: found.update(ours=detection_metrics(*sides)),  # noqa: B023
                    "peer": lambda: found.update(peer=peer(*sides)),  # noqa: B023
                },
                repeats=REPEATS.value,
                warmups=0,
            )
        )
        worst = np.abs(np.subtract(found["ours"][:3], found["peer"])).max()
        if worst > 1e-9:
            raise SystemExit(f"{kind}: metrics differ by {worst}, no time counts")
        ours, theirs = seconds["ours"], seconds["peer"]
        table.append([kind, ours, theirs, theirs / ours, float(worst)])
    header = [
        "scores",
        "ours, seconds",
        "scikit-learn, seconds",
        "ratio",
        "largest difference",
    ]
    notes = (
        f"{rows:,} scores, half of them strange. Ours: all seven metrics from one sort "
        "of each side. scikit-learn: AUROC and both average precisions. "
        f"{REPEATS.value} repetitions."
    )
    title = "Detection metrics"
    print(write_results("ood", title, header, table, notes, not TINY.value))


if __name__ == "__main__":
    start_main(main)
