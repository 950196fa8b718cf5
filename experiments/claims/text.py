"""Claims on tokenizers, layers, numbers of fitting rows and generated text."""

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from experiments import fit_tokens, layers, scaling, tokenizers
from experiments.claims.bench import Bench, claim, missing, names_of, read, show, values
from experiments.claims.compatibility import compatibility
from helix_jax.models import read_spec
from helix_jax.reports.ledger import Case
from helix_jax.stats import at_most, exact_fraction

# Pairs of tokenizers -> the paper's vocabulary Jaccard and exact match rate.
TOKENIZERS = {
    ("qwen2.5", "mistral"): (0.061, 0.151),
    ("qwen2.5", "llama3"): (0.643, 0.925),
    ("nemo", "llama3"): (0.382, 0.637),
    ("qwen2.5", "apertus"): (0.316, 0.672),
    ("nemo", "apertus"): (0.999, 1.000),
    ("nemo", "mistral"): (0.067, 0.151),
    ("qwen2.5", "nemo"): (0.316, 0.672),
}
JACCARDS, MATCHES = (
    "; ".join(f"{a} - {b} {values[place]}" for (a, b), values in TOKENIZERS.items())
    for place in (0, 1)
)
NO_TOKENIZERS = missing("pair of tokenizers that the paper lists")
NO_DECODERS = missing("pair of decoders")


class TokenizerPair(NamedTuple):
    """Two tokenizers that the paper compares.

    Attributes:
      title: "A - B", by the paper's names.
      jaccard, match: the paper's values.
      key: with which names of the pair's numbers begin.
      summary: of experiments.tokenizers.
    """

    title: str
    jaccard: float
    match: float
    key: str
    summary: Mapping[str, float]


def _tokenizer_pairs(bench: Bench) -> Iterator[TokenizerPair]:
    """The pairs whose tokenizers are available, from one run."""
    if len(bench.tokenizers) < 2:
        return
    summary = bench.run(
        tokenizers.compute,
        "tokenizers",
        tokenizers=tuple(bench.tokenizers.values()),
        data=bench.corpora.get("mnli", "docstrings"),
        limit=min(1000, bench.options["limit"]),
    )
    for a, b in itertools.combinations(bench.tokenizers, 2):
        paper = TOKENIZERS.get((a, b)) or TOKENIZERS.get((b, a))
        if paper:
            key = "/".join(tokenizers.short_name(bench.tokenizers[n]) for n in (a, b))
            yield TokenizerPair(f"{a} - {b}", *paper, key, summary)


@claim(JACCARDS, none=NO_TOKENIZERS)
def jaccard(bench: Bench) -> Iterator[Case]:
    """The vocabulary Jaccard of tokenizers is as published.

    of raw strings with special tokens; in bytes, tokens that differ only in spelling
    count as the same; a pair holds if it differs by .002 or less
    """
    for pair in _tokenizer_pairs(bench):
        raw, alike = values(pair.summary, f"{pair.key}/jaccard_", "raw", "bytes")
        yield Case(
            f"{pair.title}: {raw:.3f} (paper {pair.jaccard}), bytes {alike:.3f}",
            at_most(abs(exact_fraction(raw) - exact_fraction(pair.jaccard)), 0.002),
            {f"{pair.key}/raw": raw, f"{pair.key}/bytes": alike},
        )


@claim(MATCHES, none=NO_TOKENIZERS)
def match_rate(bench: Bench) -> Iterator[Case]:
    """The exact token match rate is as published.

    positions of the same text whose tokens have the same bytes; the rate depends on the
    texts, which the paper does not name; a pair holds if the interval contains its
    published value
    """
    for pair in _tokenizer_pairs(bench):
        position, ends = (
            read(pair.summary, f"{pair.key}/match_{name}_bytes")
            for name in ("position", "pair")
        )
        yield Case(
            f"{pair.title}: {show(position)}% (paper {100 * pair.match:.1f}%), paired "
            f"by ends {show(ends)}% ({pair.summary['data/texts']:,} texts)",
            position.low <= pair.match <= position.high,
            {f"{pair.key}/position": position.value},
        )


@claim(
    "MMLU .70 | .58 from the last, .67 | .00 from the one before, 0 from 3L/4",
    none=NO_DECODERS,
    name="layers",
)
def last_layers(bench: Bench) -> Iterator[Case]:
    """Only the last layers of the source serve the target's head.

    share of first choices that agree with the target's, by the source's layer; holds if
    the interval of the last layer is above that of the layer at half depth
    """
    for pair in bench.generators[:1]:
        depth, last = (read_spec(name).num_layers for name in pair)
        cuts = sorted({depth // 4, depth // 2, 3 * depth // 4, depth - 1, depth})
        summary = bench.run(
            layers.compute,
            "layers",
            source=pair[0],
            target=pair[1],
            source_layers=tuple(cuts),
            target_layers=(-1,),
            data=bench.public,
            pairs=4000 if bench.small else 60_000,
            select_pairs=1000 if bench.small else 8000,
            test_pairs=1000 if bench.small else 4000,
            resamples=200,
        )
        name = f"-{last}/generation/agreement_top1"
        agreement = {cut: read(summary, f"{cut}{name}") for cut in cuts}
        half = agreement[cuts[len(cuts) // 2 - 1]]
        shares = (f"layer {cut} {show(share)}%" for cut, share in agreement.items())
        yield Case(
            f"{names_of(pair)}: {', '.join(shares)}",
            agreement[depth].low > half.high,
            {str(cut): share.value for cut, share in agreement.items()},
        )


@claim("flat from about 1,000 on (4,000 in the first version)")
def plateau(bench: Bench) -> Iterator[Case]:
    """More than a few thousand fitting examples gain little.

    number of fitting texts, among 8 sizes of equal ratio, from which on the squared
    error is within 2% of that with all; a pair holds if the interval begins at 4,000 or
    below
    """
    for pair in bench.pairs[:2]:
        summary = bench.run_pair(
            scaling.compute,
            pair,
            "scaling",
            data="docstrings",
            methods=("ridge",),
            seeds=1,
            limit=700 if bench.tiny else bench.plateau_texts,
            resamples=200,
            sizes=4 if bench.tiny else 8,
        )
        names = names_of(pair).replace(" ", "-")
        rows = read(summary, "scaling/plateau_rows")
        flat = bool(summary["scaling/ridge_plateau_found"])
        yield Case(
            f"{names}: {show(rows, scale=1, digits=0)} texts of "
            f"{summary['scaling/rows']}" + ("" if flat else ", still falling"),
            flat and rows.low <= 4000,
            {names: rows.value},
        )


def _generations(bench: Bench) -> Iterator[tuple[str, Mapping[str, float]]]:
    """(names, summary) of ridge maps of tokens, for every pair of decoders."""
    for pair in bench.generators:
        summary = bench.run_pair(
            fit_tokens.compute,
            pair,
            "tokens",
            data=bench.public,
            map="ridge",
            pairs=4000 if bench.small else bench.token_pairs,
            select_pairs=1000 if bench.small else 15_000,
            test_pairs=1000 if bench.small else 20_000,
            resamples=200 if bench.small else 1000,
        )
        yield names_of(pair), summary


@claim("+26%", none=NO_DECODERS)
def perplexity(bench: Bench) -> Iterator[Case]:
    """The mapped head raises perplexity by 26% (pairs of 7-8B models).

    ratio to the target's own perplexity, per target token at paired positions, ridge; a
    pair holds if the interval of the ratio begins at 1.26 or below
    """
    for names, summary in _generations(bench):
        ratio = read(summary, "generation/perplexity_ratio")
        start = "generation/perplexity_"
        mapped, native = values(summary, start, "mapped", "native_target")
        yield Case(
            f"{names}: {show(ratio, scale=1, digits=2)} times ({mapped:.1f} against "
            f"{native:.1f}, {summary['generation/tokens']:,} tokens)",
            ratio.low <= 1.26,
            {f"{names}/ratio": ratio.value},
        )


@claim("MMLU 22 native, 20-21 mapped; 42 native, 28-36 mapped", none=NO_DECODERS)
def no_gain(bench: Bench) -> Iterator[Case]:
    """A weak source does not gain from a strong target's head.

    difference in bits per character on the same text, mapped head less source alone; a
    pair holds unless the interval is below zero
    """
    for names, summary in _generations(bench):
        more = read(summary, "generation/bits_over_source")
        start = "generation/bits_per_character_"
        mapped, native = values(summary, start, "mapped", "native_source")
        yield Case(
            f"{names}: {show(more, scale=1, digits=2)} bits more ({mapped:.2f} mapped, "
            f"{native:.2f} source alone, {summary['generation/tokens']:,} tokens)",
            more.high >= 0,
            {f"{names}/difference": more.value},
        )


CLAIMS = (jaccard, match_rate, compatibility, last_layers, plateau, perplexity, no_gain)
