"""When to trust a mapped state, and when to fall back to the target itself.

A score is linear in three signals of the mapped head's logits,

    s = w . (-entropy, log max p, log p_1 - log p_2) + b,      trust if s >= threshold

where w picks one signal, or is that of a logistic probe trained on the fit split to
predict whether the mapped head's first choice is the target's. The threshold is the
lowest that reaches a wanted agreement on the select split; if none reaches it, the
target always answers. A whole text is trusted by the mean of its tokens' scores.

Reference: Hendrycks and Gimpel 2017, arXiv 1610.02136 (maximum probability); El-Yaniv
  and Wiener 2010 and Geifman and El-Yaniv 2017, arXiv 1705.08500 (coverage and risk).
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax import checks, numeric
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.choices import SIGNALS
from helix_jax.errors import CorpusError
from helix_jax.generation.heads import Head, arm_side, head_of, native_side
from helix_jax.generation.metrics import ENTRIES_AT_ONCE, negative_log_p, padded_block
from helix_jax.generation.stitch import Stitch, native
from helix_jax.models import Model
from helix_jax.probes import train_probe
from helix_jax.stats import exact_fraction
from helix_jax.types import Array, Text


class GateRows(NamedTuple):
    """The data of a gate's fit and evaluation; N predicted tokens.

    Attributes:
      signals: [N, 3] float32, see the top of this file.
      agrees: [N] bool, whether the mapped head's first choice is the target's.
      mapped_nats, native_nats: [N] -log p of the true next token.
      text_ids: [N] object.
    """

    signals: np.ndarray
    agrees: np.ndarray
    mapped_nats: np.ndarray
    native_nats: np.ndarray
    text_ids: np.ndarray


@struct.dataclass
class Gate:
    """Trust where signals @ weights + bias >= threshold.

    Attributes:
      weights: [3].
      bias: [].
      threshold: []; infinity: never trust.
    """

    weights: Array
    bias: Array
    threshold: Array


def confidence_signals(logits: Array) -> Array:
    """[..., V] logits -> [..., 3] float32: -entropy, log max p, log p_1 - log p_2."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    best = jnp.argmax(log_p, axis=-1, keepdims=True)
    first = jnp.max(log_p, axis=-1)
    others = jnp.put_along_axis(log_p, best, -jnp.inf, axis=-1, inplace=False)
    return jnp.stack([-entropy, first, first - jnp.max(others, axis=-1)], axis=-1)


def gate_scores(gate: Gate, signals: Array) -> Array:
    """[..., 3] signals -> [...] scores."""
    return signals @ gate.weights + gate.bias


def trusts(gate: Gate, logits: Array) -> Array:
    """Whether to trust the mapped head, [..., V] logits -> [...] bool; jit-able."""
    return gate_scores(gate, confidence_signals(logits)) >= gate.threshold


def gate_rows(
    parts: Stitch,
    target: Model,
    source_tokenizer: Any,
    target_tokenizer: Any,
    texts: Callable[[], Iterable[Text]],
    *,
    limit: int = 50_000,
    max_tokens: int = 512,
) -> GateRows:
    """Signals and outcomes on the first tokens that `teacher_forced` scores."""
    size = max(1, ENTRIES_AT_ONCE // target.spec.vocab_size)
    pairs = TokenPairs(
        arm_side(parts, (parts.map,), source_tokenizer),
        native_side(target, target_tokenizer),
        texts,
        max_tokens=max_tokens,
        block_rows=size,
        exact=True,
    )
    heads = head_of(parts.target), head_of(native(target).target)
    kept, count = [], 0
    for block in pairs:
        known = block.next_y >= 0
        full = padded_block(block, size)
        columns = _rows(*heads, full.x[0], full.y[0], full.next_y)
        columns = [np.asarray(column)[: len(known)][known] for column in columns]
        kept.append(GateRows._make((*columns, block.text_ids[known])))
        count += int(known.sum())
        if count >= limit:
            break
    if not count:
        raise CorpusError("the texts give no token to judge a gate by.")
    return GateRows(*(np.concatenate(column)[:limit] for column in zip(*kept)))


@jax.jit
def _rows(
    head: Head, own_head: Head, x: Array, y: Array, following: Array
) -> tuple[Array, ...]:
    logits, target_logits = head(x), own_head(y)
    agrees = jnp.argmax(logits, axis=-1) == jnp.argmax(target_logits, axis=-1)
    nats = (negative_log_p(each, following) for each in (logits, target_logits))
    return confidence_signals(logits), agrees, *nats


def fit_gate(
    fit: GateRows,
    select: GateRows,
    *,
    kind: str = "logistic",
    quality: float = 0.8,
    by_text: bool = False,
) -> Gate:
    """A gate whose trusted tokens agree with the target at the wanted rate.

    Args:
      fit: rows of the fit split; used by "logistic" only.
      select: rows of the select split, for the threshold.
      kind: "entropy", "max_probability", "margin" or "logistic".
      quality: wanted agreement among trusted tokens, in (0, 1].
      by_text: trust whole texts, by the mean score of their tokens.

    Returns:
      Gate.

    Raises:
      ValueError: the kind is unknown, or the quality is outside (0, 1].
    """
    if kind not in (*SIGNALS, "logistic"):
        raise ValueError(
            f"fit_gate: kind must be one of {(*SIGNALS, 'logistic')}, got {kind!r}."
        )
    if not 0 < quality <= 1 + 1e-12:
        raise ValueError(f"fit_gate: quality must be in (0, 1], got {quality}.")
    if kind == "logistic":
        labels = [rows.agrees.astype(np.int32) for rows in (fit, select)]
        trained = train_probe(fit.signals, labels[0], select.signals, labels[1], 2)
        kernel, biases = (
            np.asarray(weight) for weight in (trained.probe.kernel, trained.probe.bias)
        )
        weights, bias = kernel[:, 1] - kernel[:, 0], float(biases[1] - biases[0])
    else:
        weights, bias = np.eye(3)[SIGNALS.index(kind)], 0.0
    gate = Gate(np.float32(weights), np.float32(bias), np.float32(np.inf))
    scores = row_scores(gate, select, by_text)
    threshold = threshold_for(scores, select.agrees, quality)
    return dataclasses.replace(gate, threshold=threshold)


def threshold_for(scores: np.ndarray, good: np.ndarray, quality: float) -> np.float32:
    """The lowest threshold at which a share `quality` of the trusted rows is good.

    Args:
      scores: [N], compared as float32, the dtype of the threshold.
      good: [N] bool.
      quality: wanted share, up to rounding.

    Raises:
      TypeError, ValueError: the arguments are not numbers and booleans of the same
        rows, or a score is NaN.
    """
    scores, good = _ranking("threshold_for", scores, good)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    share = np.cumsum(good[order]) / np.arange(1, len(order) + 1)
    last_of_ties = np.append(ranked[1:] != ranked[:-1], True)
    least = float(exact_fraction(quality)) * (1 - 1e-12)
    reached = np.flatnonzero((share >= least) & last_of_ties)
    return np.float32(ranked[reached[-1]] if len(reached) else np.inf)


def coverage_curve(
    scores: np.ndarray, good: np.ndarray, coverages: np.ndarray
) -> np.ndarray:
    """Share of good rows among those scored best, for each coverage in (0, 1].

    Raises:
      TypeError, ValueError: as `threshold_for`, or a coverage is outside (0, 1].
    """
    scores, good = _ranking("coverage_curve", scores, good)
    coverages = np.asarray(coverages, float)
    if not ((coverages > 0) & (coverages <= 1 + 1e-12)).all():
        raise ValueError(f"coverage_curve: coverages need (0, 1], got {coverages}.")
    ranked = good[np.argsort(-scores, kind="stable")].astype(float)
    counts = np.clip(np.round(coverages * len(ranked)).astype(int), 1, len(ranked))
    return np.cumsum(ranked)[counts - 1] / counts


def _ranking(
    who: str, scores: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] float32 and which of them are good [N] bool."""
    rows = checks.same_rows(who, scores=scores, good=good)
    scores = np.asarray(numeric.numbers(who, "scores", scores, rank=1), np.float32)
    checks.require_not_nan(who, "scores", scores)
    return scores, numeric.whole_numbers(who, "good", good, rows=rows, below=2) > 0


def row_scores(gate: Gate, rows: GateRows, by_text: bool) -> np.ndarray:
    """[N] score of each token, or of its text."""
    scores = np.asarray(gate_scores(gate, rows.signals))
    if not by_text:
        return scores
    _, text = np.unique(rows.text_ids.astype(str), return_inverse=True)
    means = np.bincount(text, scores) / np.bincount(text)
    return means.astype(np.float32)[text]  # as exact as the threshold
