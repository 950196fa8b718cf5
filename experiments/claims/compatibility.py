"""The claim that similar tokenizers give good text, over all ordered pairs of models.

The paper lets a judge score the quality of generated text. Our measure needs no judge:
how many more bits per character the target's head on mapped states needs for held-out
text than the source alone. Pairs that share a model are not independent, so intervals
resample models (`stats.pair_rank_correlation`).
"""

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments import fit_tokens, pretrain, tokenizers
from experiments.claims.bench import Bench, claim, missing, read, show
from helix_jax.reports.ledger import Case
from helix_jax.stats import pair_rank_correlation

LEAST_MODELS = 12
# Small causal models with their own tokenizers: flags of experiments.pretrain.
TRAINED = {
    "seed-gpt2": {"family": "gpt2", "vocab_size": 512},
    "seed-olmo2": {"family": "olmo2", "vocab_size": 2048},
    "seed-llama": {"family": "llama", "vocab_size": 16384},
}
LIKENESS = {  # of two tokenizers, in experiments.tokenizers -> the paper's name
    "match_position_bytes": "match rate",
    "jaccard_raw": "Jaccard",
}


@claim(
    "r = .822 (Jaccard) and .898 (match rate) over 23 pairs of models of 4B or more",
    name="compatibility",
    none=missing(f"set of {LEAST_MODELS} causal models"),
)
def compatibility(bench: Bench) -> Iterator[Case]:
    """Jaccard and match rate correlate with the judged quality of generated text.

    Spearman's rank correlation with minus the bits per character that the mapped head
    loses against the source alone, over all ordered pairs; intervals over models; a
    measure holds if its interval is above 0
    """
    models = (*bench.causal, *(_train(bench, name) for name in bench.trained))
    if len(models) < LEAST_MODELS:
        return
    alike = bench.run(
        tokenizers.compute,
        "compatibility",
        "tokenizers",
        tokenizers=models,
        data=bench.public,
        limit=min(500, bench.options["limit"]),
        resamples=20,
    )
    pairs = list(itertools.permutations(models, 2))
    lost = [bits_lost(bench, pair) for pair in pairs]
    yield from correlations(pairs, alike, lost)


def correlations(
    pairs: Sequence[tuple[str, str]], alike: Mapping[str, float], lost: Sequence[float]
) -> Iterator[Case]:
    """One case for each measure of likeness.

    Args:
      pairs: ordered pairs of models.
      alike: summary of experiments.tokenizers for them, by unordered pairs.
      lost: bits per character, for each pair.
    """
    for name, title in LIKENESS.items():
        values = []
        for pair in pairs:
            a, b = map(tokenizers.short_name, pair)
            keys = f"{a}/{b}/{name}", f"{b}/{a}/{name}"
            values.extend(alike[key] for key in keys if key in alike)
        interval = pair_rank_correlation(values, -np.asarray(lost), pairs)
        models = {model for pair in pairs for model in pair}
        yield Case(
            f"{title}: {show(interval, scale=1, digits=2)} ({len(models)} models, "
            f"{len(pairs)} pairs)",
            interval.low > 0,
            {name: interval.value},
        )


def _train(bench: Bench, name: str) -> str:
    """The folder of a small causal model with its own tokenizer, trained if missing."""
    config = bench.config(
        pretrain.compute,
        "compatibility",
        name,
        data="docstrings",
        limit=2000 if bench.small else 0,
        tokens=20_000 if bench.small else 1_500_000,
        dtype="float32",
        **TRAINED[name],
    )
    pretrain.run(config)
    folder = bench.folder / "compatibility" / "models" / name
    if not folder.is_dir():  # a copy named after the model, as links are resolved
        half = folder.with_name(f"{name}.copying")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(bench.folder / "compatibility" / name / "model", half)
        half.rename(folder)
    return str(folder)


def bits_lost(bench: Bench, pair: tuple[str, str]) -> float:
    """How many more bits per character the mapped head needs than the source alone."""
    summary = bench.run_pair(
        fit_tokens.compute,
        pair,
        "compatibility",
        "pairs",
        data=bench.public,
        map="ridge",
        pairs=1000 if bench.small else 10_000,
        select_pairs=500 if bench.small else 2000,
        test_pairs=500 if bench.small else 2000,
        resamples=20,
    )
    return float(read(summary, "generation/bits_over_source").value)
