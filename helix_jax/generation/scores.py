"""Teacher-forced sums as numbers with intervals, under the names of a summary.

    generation/kl_nats, _low, _high         of the mapped head
    generation/kl_nats_shuffled             of a control, by its suffix
    generation/kl_nats_position_7           of predictions from positions 7 to 14

Intervals are bootstraps over documents.
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
    found: dict[str, float] = {"generation/tokens": int(scored.tokens.sum())}

    def add(name, sums, over, statistic):
        rows = np.stack([sums, over], axis=1)
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
            add(f"{name}{suffix}", column[name], tokens, mean_of_sums)
        nats = column["nll_nats"]
        add(f"perplexity_mapped{suffix}", nats, tokens, perplexity_of_sums)
        add(f"bits_per_character_mapped{suffix}", nats, characters, bits_of_sums)
    own = scored.values[:, :, 0, COLUMNS.index("native_nats")]
    add("perplexity_native_target", own.sum(1), tokens, perplexity_of_sums)
    add("bits_per_character_native_target", own.sum(1), characters, bits_of_sums)
    for bucket in np.flatnonzero(np.count_nonzero(scored.tokens, axis=0) > 1):
        held = scored.tokens[:, bucket] > 0
        values, counts = scored.values[held, bucket, 0], scored.tokens[held, bucket]
        place = 2 ** int(bucket) - 1
        for name in MEANS[::2]:
            sums = values[:, COLUMNS.index(name)]
            add(f"{name}_position_{place}", sums, counts, mean_of_sums)
    if native_source is not None:
        nats = native_source.values[..., 0, COLUMNS.index("nll_nats")].sum(1)
        tokens = native_source.tokens.sum(1)
        characters = native_source.characters.sum(1)
        add("perplexity_native_source", nats, tokens, perplexity_of_sums)
        add("bits_per_character_native_source", nats, characters, bits_of_sums)
    return found
