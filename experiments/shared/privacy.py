"""Differential privacy of a fit's rows: rows in the unit ball, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.shared.privacy_options import PrivacyOptions
from helix_jax.alignment import AffineMap
from helix_jax.attacks.private_membership import most_auc, private_membership
from helix_jax.errors import RunError
from helix_jax.private.accountant import Privacy
from helix_jax.private.curator import private_map
from helix_jax.private.unit_rows import UnitRows, expand_map, unit_rows
from helix_jax.probes import right_rows
from helix_jax.progress import bar
from helix_jax.reports import Block, Curves, Table
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.transfer.task import Task

OWN_SHARE = 0.2  # of rho, for the source's own moments if pairs are protected
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 0.0)  # 0: no noise
_DRAWS = 5  # of the noise, for each accuracy
_RESAMPLES = 200  # of the rows, for each AUC
HEADER = ("epsilon", "accuracy, %", "AUC of membership", "bound for any test")


def require_privacy(options: PrivacyOptions) -> None:
    """Raise if the flags give no guarantee.

    Raises:
      RunError: says why.
    """
    try:
        Protection.of(options, options.epsilon)
    except ValueError as wrong:
        raise RunError(f"--epsilon, --delta: {wrong}") from wrong


class Protection(NamedTuple):
    """Both parties' shares of an epsilon; None: no noise."""

    privacy: Privacy | None
    own: Privacy | None

    @classmethod
    def of(cls, options: PrivacyOptions, epsilon: float) -> "Protection":
        """The shares at an epsilon."""
        if not epsilon:
            return cls(None, None)
        if options.protect == "targets":
            return cls(Privacy(epsilon, options.delta), None)
        shares = 1 - OWN_SHARE, OWN_SHARE
        return cls(*(Privacy(epsilon, options.delta, share=part) for part in shares))


class UnitPair(NamedTuple):
    """Both sides' rows in their unit balls.

    Attributes:
      x: [N, r] float64.
      y: [N, E] float64.
      source, target: how they were scaled into it.
    """

    x: np.ndarray
    y: np.ndarray
    source: UnitRows
    target: UnitRows

    def expand(self, affine: AffineMap) -> AffineMap:
        """A map between the unit balls as a map between the original rows."""
        return expand_map(affine, self.source, self.target)


def unit_pair(
    rows: tuple[np.ndarray, np.ndarray],
    reference: tuple[np.ndarray, np.ndarray],
    *,
    rank: int,
) -> UnitPair:
    """Paired rows in unit balls, which are fitted on paired public rows.

    Raises:
      RunError: the rank is missing or more than the public rows allow.
    """
    most = min(reference[0].shape[1], len(reference[0]) - 1)
    if not 1 <= rank <= most:
        raise RunError(
            f"differential privacy needs --rank from 1 to {most}, got {rank}: noise "
            "grows with the rank, and 8 or 16 are enough for some 2,000 rows."
        )
    source, target = unit_rows(reference[0], rank=rank), unit_rows(reference[1])
    return UnitPair(source.apply(rows[0]), target.apply(rows[1]), source, target)


def measure_privacy(
    options: PrivacyOptions, task: Task, *, rank: int, seed: int = 0
) -> dict[str, float | Interval]:
    """Accuracy and membership at each epsilon, in the clear.

    Accuracy is that of the target's probe on the test split, by maps of the fit split,
    averaged over draws of the noise. For membership the pool is the fit and test
    splits, of which each map sees a half. The select split is public.

    Args:
      options: flags.
      task: with labels.
      rank: of the source.
      seed: of halves.
    """
    reference = task.x["select"], task.y["select"]
    fit = unit_pair((task.x["fit"], task.y["fit"]), reference, rank=rank)
    pool = [np.concatenate([side["fit"], side["test"]]) for side in (task.x, task.y)]
    pool = unit_pair((pool[0], pool[1]), reference, rank=rank)
    numbers: dict[str, float | Interval] = {
        "member_rows": len(pool.x) // 2,
        "private_rank": rank,
    }
    for epsilon in bar(EPSILONS, "epsilons"):
        shares = Protection.of(options, epsilon)
        draws = _DRAWS if shares.privacy else 1
        maps = [
            private_map(fit.x, fit.y, shares.privacy, own=shares.own)
            for _ in range(draws)
        ]
        logits = [task.read_mapped(fit.expand(affine)) for affine in maps]
        right = np.mean(right_rows(logits, task.labels["test"]), axis=0)
        start = f"epsilon_{epsilon:g}"
        numbers[f"{start}_accuracy"] = bootstrap_interval(
            right, task.documents, resamples=task.resamples
        )
        found = private_membership(
            pool.x,
            pool.y,
            shares.privacy,
            own=shares.own,
            shadows=options.shadows,
            resamples=_RESAMPLES,
            rng=np.random.default_rng(seed),
        )
        numbers[f"{start}_auc"] = found.auc
        numbers[f"{start}_most_auc"] = most_auc(*shares)
    return numbers


def privacy_blocks(
    numbers: Mapping[str, float | Interval], options: PrivacyOptions
) -> list[Block]:
    """The table and curves of `measure_privacy`."""
    rows, curves = [], {"accuracy": [], "AUC of membership": []}
    for epsilon in EPSILONS:
        start = f"epsilon_{epsilon:g}"
        accuracy, auc = numbers[f"{start}_accuracy"], numbers[f"{start}_auc"]
        bound = numbers[f"{start}_most_auc"]
        cells = (_shown(accuracy, 100, 1), _shown(auc, 1, 3), f"{bound:.3f}")
        rows.append([f"{epsilon:g}" if epsilon else "no noise", *cells])
        if epsilon:
            for name, value in zip(curves, (accuracy, auc)):
                curves[name].append((epsilon, value.value, value.low, value.high))
    note = (
        f"delta {options.delta:g}, {options.protect} protected; rank "
        f"{numbers['private_rank']}; accuracy: maps of the fit split, mean of {_DRAWS} "
        f"draws of the noise; AUC: maps of {numbers['member_rows']:,} rows. The select "
        "split is public. [ ]: 95% intervals."
    )
    title = "Differential privacy"
    return [
        Table(title, HEADER, rows, note=note),
        Curves(title, "epsilon", "share", curves, log_x=True, note=note),
    ]


def _shown(value: Interval, times: float, digits: int) -> str:
    shown: Sequence[str] = [f"{times * one:.{digits}f}" for one in value]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"
