"""Whether the cache of one prompt can be used: a prediction from its signals, tested.

    closeness   -log KL(native || mapped) of the next token, over the continuation
    retention   as in `measures`, of one prompt: only of prompts worth reading

A gate is a linear function of the signals, fitted to the closeness of prompts of the
select split by ridge; its thresholds are quantiles there. On the test split: the rank
correlation of each signal and of the gate with the measured outcome, documents
resampled, next to that with another prompt's outcome; and the outcomes of kept and of
refused prompts.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.caches.measures import Columns, ContinuationRows, retention_of_sums
from helix_jax.stats import (
    Interval,
    bootstrap_statistic,
    document_rank_correlations,
    mean_of_sums,
)

GATE = "gate"
OUTCOMES = ("closeness", "retention")
SHARES = (25, 50, 75, 90)  # percentages of select prompts that a threshold keeps
LEAST = 6  # documents of each split
_PENALTY = 0.3  # of the regression, per prompt, for signals of variance one
_SMALL = 1e-6  # nats
_WORTH = 0.02  # bits per character: a prompt that gives less is not worth reading


class PromptGate(NamedTuple):
    """score = (signals - centre) / spread @ weights; the higher, the nearer.

    Attributes:
      names: K signals.
      centre, spread, weights: [K] float64.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    def __call__(self, signals: Mapping[str, np.ndarray]) -> np.ndarray:
        """[N] float64 scores of N prompts."""
        rows = np.stack([signals[name] for name in self.names], axis=1)
        return (rows - self.centre) / self.spread @ self.weights


def closeness(rows: ContinuationRows, arm: str) -> np.ndarray:
    """[N] -log of the KL in nats per token; the higher, the nearer to native."""
    return -np.log(np.maximum(rows.values[arm][:, 0] / rows.tokens, 0) + _SMALL)


def prompt_retention(rows: ContinuationRows, arm: str) -> np.ndarray:
    """[N] retention of each prompt; NaN of prompts that are not worth reading."""
    own, native, none = (rows.values[a][:, 2] for a in (arm, "native", "none"))
    worth = (none - native) / np.log(2) / rows.characters
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1 - (own - native) / (none - native)
    return np.where(worth > _WORTH, found, np.nan)


def fit_prompt_gate(
    signals: Mapping[str, np.ndarray], outcome: np.ndarray, names: Sequence[str]
) -> PromptGate:
    """Ridge from the signals that vary to the outcome.

    Args:
      signals: name -> [N] of prompts of the select split.
      outcome: [N], to be predicted.
      names: of the signals to use, if they exist.
    """
    used = tuple(n for n in names if n in signals and np.ptp(signals[n]) > 0)
    rows = np.stack([signals[name] for name in used], axis=1)
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    z = (rows - centre) / spread
    penalty = _PENALTY * len(z) * np.eye(len(used))
    weights = np.linalg.solve(z.T @ z + penalty, z.T @ (outcome - outcome.mean()))
    return PromptGate(used, centre, spread, weights)


def correlation_numbers(
    signals: Mapping[str, np.ndarray],
    rows: ContinuationRows,
    arm: str,
    *,
    resamples: int = 2000,
) -> dict[str, Interval]:
    """Spearman's correlation of signals with what was measured, and its control.

    Args:
      signals: name -> [N], including the gate's score.
      rows: N prompts of the test split.
      arm: whose cache is scored.
      resamples: of documents.

    Returns:
      prompts/rank_OUTCOME_NAME; and prompts/control_OUTCOME_NAME with what was measured
      on the prompt that follows by hash of the ids. Signals that do not vary are left
      out.
    """
    numbers: dict[str, Interval] = {}
    outcomes = closeness(rows, arm), prompt_retention(rows, arm)
    for name, outcome in zip(OUTCOMES, outcomes):
        held = np.isfinite(outcome)
        documents = np.array(rows.documents, object)[held].tolist()
        own = {k: v[held] for k, v in signals.items()}
        own = {k: v for k, v in own.items() if len(v) and np.ptp(v) > 0}
        y = outcome[held]
        if len(set(documents)) < LEAST or not own or np.ptp(y) == 0:
            continue
        for kind, values in (("rank", y), ("control", y[dealt(documents)])):
            found = document_rank_correlations(
                own, values, documents, resamples=resamples
            )
            numbers |= {f"prompts/{kind}_{name}_{k}": v for k, v in found.items()}
    return numbers


def dealt(documents: Sequence[str]) -> np.ndarray:
    """[N] rows, each of another document if possible: all rotated by half."""
    order = np.argsort(np.array(documents, str), kind="stable")
    found = np.empty(len(order), int)
    found[order] = np.roll(order, len(order) // 2)
    return found


def decision_numbers(
    chosen_on: np.ndarray,
    scores: np.ndarray,
    rows: ContinuationRows,
    arm: str,
    *,
    kind: str = "",
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """Outcomes of the prompts that a threshold keeps, and of those that it refuses.

    Args:
      chosen_on: [M] scores of prompts of the select split; thresholds keep SHARES of
        them.
      scores: [N] of the test split.
      rows: these N prompts.
      arm: whose cache is scored.
      kind: of the gate, before the names of its numbers.
      resamples: of documents.

    Returns:
      prompts/KINDkept_SHARE, the share of test prompts that are kept; and
      prompts/KINDMEASURE_GROUP_SHARE, MEASURE retention or kl_nats, GROUP kept or
      refused, if it has prompts.
    """
    kl = rows.values[arm][:, 0]
    nats = [rows.values[one][:, 2] for one in (arm, "native", "none")]
    numbers: dict[str, float | Interval] = {}
    for share in SHARES:
        kept = scores >= np.quantile(chosen_on, 1 - share / 100)
        numbers[f"prompts/{kind}kept_{share}"] = float(kept.mean())
        for group, held in (("kept", kept), ("refused", ~kept)):
            if len({rows.documents[row] for row in np.flatnonzero(held)}) < 2:
                continue
            columns: Columns = {
                "kl_nats": (mean_of_sums, [kl, rows.tokens]),
                "retention": (retention_of_sums, nats),
            }
            for measure, (statistic, sums) in columns.items():
                numbers[f"prompts/{kind}{measure}_{group}_{share}"] = (
                    bootstrap_statistic(
                        np.stack([one * held for one in sums], axis=1),
                        rows.documents,
                        statistic,
                        resamples=resamples,
                    )
                )
    return numbers
