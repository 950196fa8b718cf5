"""How well a gate does on held-out tokens, by single tokens or by whole texts."""

from collections.abc import Mapping

import numpy as np

from helix_jax.generation.gate import (
    Gate,
    GateRows,
    coverage_curve,
    fit_gate,
    row_scores,
)
from helix_jax.generation.scores import perplexity_of_sums
from helix_jax.progress import stage
from helix_jax.stats import Interval, bootstrap_statistic, mean_of_sums
from helix_jax.text.hashing import document_of


def measure_gate(
    rows: Mapping[str, GateRows], *, kind: str, quality: float, resamples: int = 2000
) -> dict[str, float | Interval]:
    """Fit a gate, set its threshold and measure it, by tokens and by whole texts.

    Args:
      rows: of the splits "fit", "select" and "test".
      kind, quality: as for `fit_gate`.
      resamples: of the bootstrap over documents.

    Returns:
      The numbers of `gate_summary`; those by whole texts end in _by_text.

    Raises:
      ValueError: as `fit_gate`.
    """
    numbers: dict[str, float | Interval] = {}
    for suffix, by_text in (("", False), ("_by_text", True)):
        with stage("fitting and scoring the gate"):
            fitting = rows["fit"], rows["select"]
            gate = fit_gate(*fitting, kind=kind, quality=quality, by_text=by_text)
            worth = gate_summary(
                gate, rows["test"], by_text=by_text, resamples=resamples
            )
        numbers |= {f"{name}{suffix}": value for name, value in worth.items()}
    return numbers


def gate_summary(
    gate: Gate, rows: GateRows, *, by_text: bool = False, resamples: int = 2000
) -> dict[str, float | Interval]:
    """How well a gate does on held-out tokens.

    Args:
      gate: from `fit_gate`.
      rows: of the test split.
      by_text: as for `fit_gate`.
      resamples: of the bootstrap over documents.

    Returns:
      Intervals gate/coverage; gate/agreement of trusted tokens (NaN if none is
      trusted), gate/agreement_all of all tokens; gate/agreement_mixed and
      gate/perplexity_mixed if the target answers the rest. Numbers gate/agreement_at_10
      .. _100, the curve over coverage; gate/curve_gain, its mean above that of a random
      gate.
    """
    scores = row_scores(gate, rows, by_text)
    trusted = scores >= gate.threshold
    ones = np.ones(len(scores))
    documents = [document_of(text_id) for text_id in rows.text_ids]
    mixed_nats = np.where(trusted, rows.mapped_nats, rows.native_nats)
    columns = {
        "coverage": (trusted, ones, mean_of_sums),
        "agreement": (trusted & rows.agrees, trusted, mean_of_sums),
        "agreement_all": (rows.agrees, ones, mean_of_sums),
        "agreement_mixed": (~trusted | rows.agrees, ones, mean_of_sums),
        "perplexity_mixed": (mixed_nats, ones, perplexity_of_sums),
    }
    numbers: dict[str, float | Interval] = {}
    for name, (sums, over, statistic) in columns.items():
        values = np.stack([sums, over], axis=1).astype(float)
        numbers[f"gate/{name}"] = bootstrap_statistic(
            values, documents, statistic, resamples=resamples
        )
    shares = np.arange(1, 11) / 10
    curve = coverage_curve(scores, rows.agrees, shares)
    for share, value in zip(shares, curve):
        numbers[f"gate/agreement_at_{round(100 * share)}"] = float(value)
    numbers["gate/curve_gain"] = float(curve.mean() - rows.agrees.mean())
    return numbers
