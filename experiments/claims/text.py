"""Claims on tokenizers, layers, fitting rows and generated text."""

import itertools
from collections.abc import Iterator, Mapping

from experiments import fit_tokens, layers, scaling, tokenizers
from experiments.claims.ledger import (
    Bench,
    Case,
    Claim,
    Finding,
    interval_of,
    missing,
    show,
    tally,
    untestable,
    verdict_of,
)
from experiments.pairs import short_name
from helix_jax.models import family_of, model_folder
from helix_jax.models.config_file import read_config
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
NO_TOKENIZERS = "pair of tokenizers that the paper lists"
NO_DECODERS = "pair of decoders"


def claims() -> list[Claim]:
    """Every claim of this file."""
    jaccards, matches = (
        "; ".join(f"{a} - {b} {one[place]}" for (a, b), one in TOKENIZERS.items())
        for place in (0, 1)
    )
    return [
        Claim("jaccard", "Vocabulary Jaccard of tokenizers.", jaccards, check_jaccard),
        Claim("match_rate", "Exact token match rate.", matches, check_match),
        Claim(
            "compatibility",
            "Both correlate with the judged quality of generated text.",
            "r = .822 and .898 over 23 pairs of models of 4B or more",
            lambda bench: untestable("there are no judge and no 23 large pairs here"),
        ),
        Claim(
            "layers",
            "Only the last layers of the source serve the target's head.",
            "MMLU .70 | .58 from the last, .67 | .00 from the one before, 0 from 3L/4",
            check_layers,
        ),
        Claim(
            "plateau",
            "More than some thousand fitting examples bring little.",
            "flat from about 1,000 on (4,000 in the first version)",
            check_plateau,
        ),
        Claim(
            "perplexity",
            "Text by the mapped head costs 26% of perplexity (pairs of 7-8B).",
            "+26%",
            check_perplexity,
        ),
        Claim(
            "no_gain",
            "A weak source does not gain by a strong target's head.",
            "MMLU 22 native, 20-21 mapped; 42 native, 28-36 mapped",
            check_no_gain,
        ),
    ]


def _tokenizer_runs(
    bench: Bench,
) -> Iterator[tuple[str, tuple[float, float], str, Mapping[str, float]]]:
    """(the pair, the paper's values, its names, summary) of tokenizers at hand."""
    names = list(bench.tokenizers)
    if len(names) < 2:
        return
    folders = [bench.tokenizers[name] for name in names]
    config = bench.config(
        tokenizers.TokenizersConfig,
        "tokenizers",
        tokenizers=tuple(folders),
        data=bench.corpora.get("mnli", "docstrings"),
        limit=min(1000, bench.options["limit"]),
    )
    summary = tokenizers.run(config)
    for a, b in itertools.combinations(names, 2):
        paper = TOKENIZERS.get((a, b)) or TOKENIZERS.get((b, a))
        if paper:
            said = [tokenizers.short_name(bench.tokenizers[one]) for one in (a, b)]
            yield f"{a} - {b}", paper, "/".join(said), summary


def check_jaccard(bench: Bench) -> Finding:
    """A pair holds if the raw Jaccard is the paper's to .002."""

    def case(pair, paper, names, summary) -> Case:
        found = summary[f"{names}/jaccard_raw"]
        alike = summary[f"{names}/jaccard_bytes"]
        return Case(
            f"{pair}: {found:.3f} (paper {paper[0]}), bytes {alike:.3f}",
            at_most(abs(exact_fraction(found) - exact_fraction(paper[0])), 0.002),
            {f"{names}/raw": found, f"{names}/bytes": alike},
        )

    return tally(
        (case(*one) for one in _tokenizer_runs(bench)),
        "raw strings with special tokens; in bytes tokens that are spelled otherwise "
        "count as the same; a pair holds within .002",
        none=missing(NO_TOKENIZERS),
    )


def check_match(bench: Bench) -> Finding:
    """A pair holds if the positionwise rate in bytes contains the paper's value."""

    def case(pair, paper, names, summary) -> Case:
        found = interval_of(summary, f"{names}/match_position_bytes")
        paired = interval_of(summary, f"{names}/match_pair_bytes")
        return Case(
            f"{pair}: {show(found)}% (paper {100 * paper[1]:.1f}%), paired by ends "
            f"{show(paired)}% ({summary['data/texts']:,} texts)",
            float(found.low) <= paper[1] <= float(found.high),
            {f"{names}/position": float(found.value)},
        )

    return tally(
        (case(*one) for one in _tokenizer_runs(bench)),
        "positions of the same text with the same bytes; it depends on the texts, "
        "which the paper does not name; a pair holds if the interval contains its "
        "value",
        none=missing(NO_TOKENIZERS),
    )


def _cuts(source: str) -> tuple[int, ...]:
    """Layers at a quarter, half and three quarters of the depth, and the last two."""
    config = read_config(model_folder(source, weights=False))
    depth = family_of(config["model_type"]).spec_from_hf(config).num_layers
    return tuple(sorted({*(depth * i // 4 for i in (1, 2, 3)), depth - 1, depth}))


def check_layers(bench: Bench) -> Finding:
    """Holds if the last layer's agreement is above half depth's, by their intervals."""
    if not bench.generators:
        return missing(NO_DECODERS)
    source, target = bench.generators[0]
    small = bench.options["limit"] < 1000
    config = bench.config(
        layers.LayersConfig,
        "layers",
        source=source,
        target=target,
        source_layers=_cuts(source),
        target_layers=(-1,),
        data=bench.public,
        pairs=4000 if small else 60_000,
        select_pairs=1000 if small else 8000,
        test_pairs=1000 if small else 4000,
        resamples=200,
    )
    summary = layers.run(config)
    found = {
        name.split("/")[0]: interval_of(summary, name)
        for name in summary
        if name.endswith("/generation/agreement_top1")
    }
    cuts = {int(name.split("-")[0]): one for name, one in found.items()}
    last, half = cuts[max(cuts)], cuts[sorted(cuts)[len(cuts) // 2 - 1]]
    said = ", ".join(f"layer {cut} {show(one)}%" for cut, one in sorted(cuts.items()))
    return Finding(
        f"{short_name(source)} to {short_name(target)}: {said}",
        verdict_of([float(last.low) > float(half.high)]),
        "first choices that agree with the target's, by the source's layer; holds if "
        "the last is above half depth with apart intervals",
        {str(cut): float(one.value) for cut, one in cuts.items()},
    )


def check_plateau(bench: Bench) -> Finding:
    """A pair holds if its plateau may be at 4,000 rows, and is below all rows."""

    def case(source: str, target: str) -> Case:
        names = f"{short_name(source)}-to-{short_name(target)}"
        config = bench.config(
            scaling.ScalingConfig,
            "scaling",
            names,
            source=source,
            target=target,
            data="docstrings",
            methods=("ridge",),
            seeds=1,
            limit=700 if bench.tiny else 20_000,
            resamples=200,
            sizes=4 if bench.tiny else 8,
        )
        summary = scaling.run(config)
        rows = interval_of(summary, "scaling/plateau_rows")
        found = bool(summary["scaling/ridge_plateau_found"])
        return Case(
            f"{names}: {show(rows, scale=1, digits=0)} texts of "
            f"{summary['scaling/rows']}" + ("" if found else ", still falling"),
            found and float(rows.low) <= 4000,
            {names: float(rows.value)},
        )

    return tally(
        (case(*pair) for pair in bench.pairs[:2]),
        "fitting texts from which on the squared error is within 2% of that of all, "
        "the first of 8 sizes by ratio; a pair holds if the interval begins at 4,000 "
        "or below",
    )


def _generations(bench: Bench) -> Iterator[tuple[str, Mapping[str, float]]]:
    """(names, summary) of token maps by ridge for every pair of decoders."""
    small = bench.options["limit"] < 1000
    for source, target in bench.generators:
        names = f"{short_name(source)} to {short_name(target)}"
        config = bench.config(
            fit_tokens.FitTokensConfig,
            "tokens",
            names.replace(" ", "-"),
            source=source,
            target=target,
            data=bench.public,
            map="ridge",
            pairs=4000 if small else 150_000,
            select_pairs=1000 if small else 15_000,
            test_pairs=1000 if small else 20_000,
            resamples=200 if small else 1000,
        )
        yield names, fit_tokens.run(config)


def check_perplexity(bench: Bench) -> Finding:
    """A pair holds if the mapped perplexity may be 1.26 times the target's or less."""

    def case(names: str, summary: Mapping[str, float]) -> Case:
        ratio = interval_of(summary, "generation/perplexity_ratio")
        mapped, native = (
            summary[f"generation/perplexity_{one}"]
            for one in ("mapped", "native_target")
        )
        return Case(
            f"{names}: {show(ratio, scale=1, digits=2)} times ({mapped:.1f} against "
            f"{native:.1f}, {summary['generation/tokens']:,} tokens)",
            float(ratio.low) <= 1.26,
            {f"{names}/ratio": float(ratio.value)},
        )

    return tally(
        (case(*one) for one in _generations(bench)),
        "per target token at paired positions, ridge; a pair holds if the interval of "
        "the ratio begins at 1.26 or below",
        none=missing(NO_DECODERS),
    )


def check_no_gain(bench: Bench) -> Finding:
    """A pair holds if mapped may say no more of the text than the source itself."""

    def case(names: str, summary: Mapping[str, float]) -> Case:
        more = interval_of(summary, "generation/bits_over_source")
        mapped, native = (
            summary[f"generation/bits_per_character_{one}"]
            for one in ("mapped", "native_source")
        )
        return Case(
            f"{names}: {show(more, scale=1, digits=2)} bits more ({mapped:.2f} mapped, "
            f"{native:.2f} source alone, {summary['generation/tokens']:,} tokens)",
            float(more.high) >= 0,
            {f"{names}/difference": float(more.value)},
        )

    return tally(
        (case(*one) for one in _generations(bench)),
        "bits a character on the same text; a pair holds unless the interval is below "
        "zero",
        none=missing(NO_DECODERS),
    )
