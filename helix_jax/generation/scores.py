"""Teacher-forced sums as numbers with intervals, under the names of a summary.

    generation/kl_nats, _low, _high         of the mapped head
    generation/kl_nats_shuffled             of a control, by its suffix
    generation/kl_nats_position_7           of predictions from positions 7 to 14
    generation/perplexity_ratio             of the mapped head to the native target
    generation/bits_over_source             bits a character more than the source alone

Intervals are bootstraps over documents; those of the last two are paired.
"""

import jax.numpy as jnp
import numpy as np

from helix_jax.generation.metrics import COLUMNS, DocumentSums
from helix_jax.stats import bootstrap_statistic, mean_of_sums
from helix_jax.types import Array

MEANS = ("agreement_top1", "agreement_top5", "kl_nats")


def perplexity_of_sums(sums: Array) -> Array:
    """exp(nats / tokens)."""
    return jnp.exp(sums[0] / sums[1])


def bits_of_sums(sums: Array) -> Array:
    """Bits a character, from (nats, characters)."""
    return sums[0] / jnp.log(2.0) / sums[1]


def perplexity_ratio_of_sums(sums: Array) -> Array:
    """From (nats of one, nats of the other, tokens of both)."""
    return jnp.exp((sums[0] - sums[1]) / sums[2])


def bits_difference_of_sums(sums: Array) -> Array:
    """Bits a character of one less those of the other, (nats, characters) of each."""
    return bits_of_sums(sums[:2]) - bits_of_sums(sums[2:])


def generation_scores(
    scored: DocumentSums,
    native_source: DocumentSums | None = None,
    *,
    resamples: int = 2000,
) -> dict[str, float]:
    """All measures of a stitch, its controls and the native models.

    Args:
      scored: from `teacher_forced`.
      native_source: from `native_sums` of the source, on the same texts.
      resamples: of the bootstrap.

    Returns:
      Flat name -> number; see the head of this file.
    """
    found: dict[str, float] = {
        "generation/tokens": int(scored.tokens.sum()),
        "generation/documents": len(scored.documents),
    }

    def add(name, statistic, *sums):
        rows = np.stack(sums, axis=1)
        interval = bootstrap_statistic(
            rows, np.arange(len(rows)), statistic, resamples=resamples
        )
        ends = zip(("", "_low", "_high"), interval)
        found.update({f"generation/{name}{end}": float(one) for end, one in ends})

    tokens, characters = scored.tokens.sum(1), scored.characters.sum(1)
    for number, arm in enumerate(scored.arms):
        suffix = "" if arm == "mapped" else f"_{arm}"
        column = dict(zip(COLUMNS, scored.values[:, :, number].sum(1).T))
        for name in MEANS:
            add(f"{name}{suffix}", mean_of_sums, column[name], tokens)
        nats = column["nll_nats"]
        add(f"perplexity_mapped{suffix}", perplexity_of_sums, nats, tokens)
        add(f"bits_per_character_mapped{suffix}", bits_of_sums, nats, characters)
    mapped, own = (
        scored.values[:, :, 0, COLUMNS.index(name)].sum(1)
        for name in ("nll_nats", "native_nats")
    )
    add("perplexity_native_target", perplexity_of_sums, own, tokens)
    add("bits_per_character_native_target", bits_of_sums, own, characters)
    add("perplexity_ratio", perplexity_ratio_of_sums, mapped, own, tokens)
    for bucket in np.flatnonzero(np.count_nonzero(scored.tokens, axis=0) > 1):
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
            mapped[both],
            characters[both],
            nats[there],
            letters[there],
        )
    return found
