"""Teacher-forced sums as numbers with intervals, by their names in a summary.

    generation/kl_nats                      of the mapped head
    generation/kl_nats_shuffled             of a control, by its suffix
    generation/kl_nats_position_7           of predictions from positions 7 to 14
    generation/perplexity_ratio             of the mapped head to the native target
    generation/bits_over_source             bits per character above the source alone
    generation/gap_closed, log_gap_closed   if "ridge" is a control: the share of its
                                            distance to the native target, in perplexity
                                            and in nats, that the mapped head closes

All but the gaps and the counts are Intervals: bootstraps over documents, paired for the
ratio and the bits over the source.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from helix_jax.alignment import StateMap
from helix_jax.generation.metrics import (
    COLUMNS,
    DocumentSums,
    native_sums,
    teacher_forced,
)
from helix_jax.generation.stitch import Stitch
from helix_jax.models import Model
from helix_jax.progress import Progress, stage
from helix_jax.stats import Interval, bootstrap_statistic, estimate_of, mean_of_sums
from helix_jax.types import Array, Text

MEANS = ("agreement_top1", "agreement_top5", "kl_nats")


def perplexity_of_sums(sums: Array) -> Array:
    """exp(nats / tokens)."""
    return jnp.exp(sums[0] / sums[1])


def bits_of_sums(sums: Array) -> Array:
    """Bits per character, from (nats, characters)."""
    return sums[0] / jnp.log(2.0) / sums[1]


def perplexity_ratio_of_sums(sums: Array) -> Array:
    """From (nats of one, nats of the other, tokens of both)."""
    return jnp.exp((sums[0] - sums[1]) / sums[2])


def bits_difference_of_sums(sums: Array) -> Array:
    """Difference in bits per character, from (nats, characters) of each of the two."""
    return bits_of_sums(sums[:2]) - bits_of_sums(sums[2:])


def score_stitch(
    parts: Stitch,
    models: tuple[Model, Model],
    tokenizers: tuple[Any, Any],
    texts: Sequence[Text],
    *,
    controls: Mapping[str, StateMap],
    key: Array,
    max_tokens: int = 512,
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """All measures of a stitch on held-out texts, beside both models alone.

    Args:
      parts: the stitch, with its map.
      models, tokenizers: of the source and the target.
      texts: held-out texts.
      controls: arm -> another map between the same layers.
      key: jax.random key of the control "random_head".
      max_tokens: longer texts are truncated.
      resamples: of the bootstrap over documents.

    Returns:
      Name -> number or Interval, see `generation_scores`.

    Raises:
      CorpusError: as `teacher_forced`.
    """
    source, target = models
    with Progress("scoring the maps", unit="texts read") as shown:
        read = partial(shown.over, texts)
        scored = teacher_forced(
            parts,
            target,
            *tokenizers,
            read,
            controls=controls,
            key=key,
            max_tokens=max_tokens,
        )
    with Progress("scoring the source alone", unit="texts read") as shown:
        read = partial(shown.over, texts)
        source_alone = native_sums(source, tokenizers[0], read, max_tokens=max_tokens)
    with stage("intervals over documents"):
        return generation_scores(scored, source_alone, resamples=resamples)


def generation_scores(
    scored: DocumentSums,
    native_source: DocumentSums | None = None,
    *,
    resamples: int = 2000,
    by_position: bool = True,
) -> dict[str, float | Interval]:
    """All measures of a stitch, its controls and the native models.

    Args:
      scored: from `teacher_forced`.
      native_source: from `native_sums` of the source, on the same texts.
      resamples: of the bootstrap.
      by_position: also measure each octave of positions.

    Returns:
      Name -> number or Interval; see the top of this file.
    """
    numbers: dict[str, float | Interval] = {
        "generation/tokens": int(scored.tokens.sum()),
        "generation/documents": len(scored.documents),
    }

    def add(name: str, statistic: Callable[[Array], Array], *sums: np.ndarray) -> None:
        rows = np.stack(sums, axis=1)
        numbers[f"generation/{name}"] = bootstrap_statistic(
            rows, np.arange(len(rows)), statistic, resamples=resamples
        )

    tokens, characters = scored.tokens.sum(1), scored.characters.sum(1)
    for number, arm in enumerate(scored.arms):
        suffix = "" if arm == "mapped" else f"_{arm}"
        column = dict(zip(COLUMNS, scored.values[:, :, number].sum(1).T))
        for name in MEANS:
            add(f"{name}{suffix}", mean_of_sums, column[name], tokens)
        nats = column["nll_nats"]
        add(f"perplexity_mapped{suffix}", perplexity_of_sums, nats, tokens)
        add(f"bits_per_character_mapped{suffix}", bits_of_sums, nats, characters)
    mapped_nats, target_nats = (
        scored.values[:, :, 0, COLUMNS.index(name)].sum(1)
        for name in ("nll_nats", "native_nats")
    )
    add("perplexity_native_target", perplexity_of_sums, target_nats, tokens)
    add("bits_per_character_native_target", bits_of_sums, target_nats, characters)
    add("perplexity_ratio", perplexity_ratio_of_sums, mapped_nats, target_nats, tokens)
    buckets = np.flatnonzero(np.count_nonzero(scored.tokens, axis=0) > 1)
    for bucket in buckets if by_position else ():
        held = scored.tokens[:, bucket] > 0
        values, counts = scored.values[held, bucket, 0], scored.tokens[held, bucket]
        place = 2 ** int(bucket) - 1
        for name in MEANS[::2]:
            sums = values[:, COLUMNS.index(name)]
            add(f"{name}_position_{place}", mean_of_sums, sums, counts)
    if native_source is not None:
        nats = native_source.values[..., 0, COLUMNS.index("nll_nats")].sum(1)
        counts = native_source.tokens.sum(1)
        letters = native_source.characters.sum(1)
        add("perplexity_native_source", perplexity_of_sums, nats, counts)
        add("bits_per_character_native_source", bits_of_sums, nats, letters)
        places = {name: i for i, name in enumerate(native_source.documents)}
        both = [i for i, name in enumerate(scored.documents) if name in places]
        there = [places[scored.documents[i]] for i in both]
        add(
            "bits_over_source",
            bits_difference_of_sums,
            mapped_nats[both],
            characters[both],
            nats[there],
            letters[there],
        )
    if "ridge" in scored.arms:
        numbers |= _gap_closed(numbers)
    return numbers


def _gap_closed(numbers: Mapping[str, float | Interval]) -> dict[str, float]:
    """The share of ridge's gap to the native target that the mapped head closes."""
    native, ridge, mapped = (
        estimate_of(numbers[f"generation/perplexity_{arm}"])
        for arm in ("native_target", "mapped_ridge", "mapped")
    )
    log_gap = np.log(ridge / mapped) / np.log(ridge / native)
    return {
        "generation/gap_closed": (ridge - mapped) / (ridge - native),
        "generation/log_gap_closed": float(log_gap),
    }
