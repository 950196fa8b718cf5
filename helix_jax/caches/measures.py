"""How well a target continues from a cache, teacher-forced on the true continuation.

    kl_nats              KL(native || arm) of the next token, averaged over tokens
    agreement_top1       share of tokens with the native first choice
    bits_per_character   -log2 p of the continuation, divided by its characters
    retention            1 - (bits_arm - bits_native) / (bits_none - bits_native)

Retention is 1 for the native target and 0 for one that has read nothing; a cache below
0 does harm. All have bootstrap intervals over documents, native and none resampled with
the arm.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import kl_of_logits
from helix_jax.caches.prompts import Prompts
from helix_jax.models import KeyValueCache, Model, ModelSpec, apply_model
from helix_jax.stats import Interval, bootstrap_statistic, mean_of_sums
from helix_jax.types import Array

COLUMNS = ("kl_nats", "agreement_top1", "nats")
# Measure -> the statistic of its sums, and what is summed, each [N].
Columns = dict[str, tuple[Callable[[Array], Array], list[np.ndarray]]]


class ContinuationRows(NamedTuple):
    """Sums over the continuation of each of N prompts.

    Attributes:
      documents: N names.
      values: arm -> [N, len(COLUMNS)].
      tokens: [N] tokens of the continuation.
      characters: [N] characters of the continuation.
    """

    documents: list[str]
    values: dict[str, np.ndarray]
    tokens: np.ndarray
    characters: np.ndarray


@partial(jax.jit, static_argnames="spec")
def continuation_logits(
    params: Mapping, cache: KeyValueCache, tokens: Array, *, spec: ModelSpec
) -> Array:
    """[B, T, V] logits after each of the tokens [B, T], read after a cache."""
    return apply_model(params, spec, tokens, logits=True, cache=cache).logits


@jax.jit
def _score(native: Array, logits: Array, following: Array) -> Array:
    """[B, len(COLUMNS)] sums over a continuation, one row after another."""

    def row(one: tuple[Array, Array, Array]) -> Array:
        native, logits, following = one
        log_p = jax.nn.log_softmax(logits)
        nats = -jnp.take_along_axis(log_p, following[:, None], axis=-1)[:, 0]
        same = jnp.argmax(native, axis=-1) == jnp.argmax(logits, axis=-1)
        return jnp.stack(
            [kl_of_logits(native, logits).sum(), same.sum(), nats.sum()]
        ).astype(jnp.float32)

    return jax.lax.map(row, (native, logits, following))


def continuation_tokens(prompts: Prompts) -> tuple[Array, Array]:
    """What is read after a cache, [B, closing + C - 1], and what follows, [B, C]."""
    closing = prompts.target[:, -prompts.closing :]
    read = np.concatenate([closing, prompts.continuation[:, :-1]], axis=1)
    return jnp.asarray(read), jnp.asarray(prompts.continuation)


def score_caches(
    model: Model, caches: Mapping[str, KeyValueCache], prompts: Prompts
) -> dict[str, np.ndarray]:
    """Sums over the continuation for each arm.

    Args:
      model: the target.
      caches: arm -> its cache of the prompts, "native" among them.
      prompts: B of them.

    Returns:
      arm -> [B, len(COLUMNS)].
    """
    read, following = continuation_tokens(prompts)
    count = following.shape[1]

    def logits(cache: KeyValueCache) -> Array:
        found = continuation_logits(model.params, cache, read, spec=model.spec)
        return found[:, -count:]

    native = logits(caches["native"])
    return {
        arm: np.asarray(
            _score(native, native if arm == "native" else logits(cache), following)
        )
        for arm, cache in caches.items()
    }


def joined_rows(
    parts: Sequence[Mapping[str, np.ndarray]], prompts: Prompts, documents: list[str]
) -> ContinuationRows:
    """The rows of all batches; the first len(documents) are valid."""
    count = len(documents)
    values = {
        arm: np.concatenate([part[arm] for part in parts])[:count] for arm in parts[0]
    }
    tokens = np.full(count, prompts.continuation.shape[1])
    return ContinuationRows(documents, values, tokens, prompts.characters[:count])


def bits_of_sums(sums: Array) -> Array:
    """Bits per character, from (nats, characters)."""
    return sums[0] / jnp.log(2.0) / sums[1]


def retention_of_sums(sums: Array) -> Array:
    """From the nats of (arm, native, none)."""
    return 1 - (sums[0] - sums[1]) / (sums[2] - sums[1])


def continuation_numbers(
    rows: ContinuationRows, *, resamples: int = 2000
) -> dict[str, float | Interval]:
    """caches/MEASURE_ARM of every arm, see the top of this file.

    Args:
      rows: with the arms "native" and "none".
      resamples: of the bootstrap over documents.
    """
    numbers: dict[str, float | Interval] = {
        "caches/documents": len(set(rows.documents)),
        "caches/prompts": len(rows.documents),
        "caches/continuation_tokens": int(rows.tokens.sum()),
    }
    native, none = (rows.values[arm][:, 2] for arm in ("native", "none"))
    for arm, values in rows.values.items():
        kl, same, nats = values.T
        columns: Columns = {
            "kl_nats": (mean_of_sums, [kl, rows.tokens]),
            "agreement_top1": (mean_of_sums, [same, rows.tokens]),
            "bits_per_character": (bits_of_sums, [nats, rows.characters]),
            "retention": (retention_of_sums, [nats, native, none]),
        }
        for name, (statistic, sums) in columns.items():
            if arm in ("native", "none") and name == "retention":
                continue
            numbers[f"caches/{name}_{arm}"] = bootstrap_statistic(
                np.stack(sums, axis=1), rows.documents, statistic, resamples=resamples
            )
    return numbers
