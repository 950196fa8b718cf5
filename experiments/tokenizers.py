r"""How alike some tokenizers are: shared vocabulary, and tokens that match on one text.

    python -m experiments.tokenizers --workdir=runs/tokenizers --tokenizers=A,B,C \
      --data=NAME_FILE_OR_FOLDER

Any folders with tokenizer files, sentencepiece files and hub ids. Every number is
defined in `helix_jax.text.compatibility` and has its spelling in its name; rates have
95% bootstrap intervals over documents.

Cost: two cores, 2,000 texts: 20 seconds a pair.

The paper (arXiv 2603.18908) gives Jaccard / match: Qwen2.5 - Mistral-Nemo .316 / .672,
Qwen2.5 - Mistral-7B-v0.2 .061 / .151, Nemo - Mistral-7B .067 / .151. Measured:

* Its Jaccard is that of raw strings, special tokens included: .316, .061, .067. That
  compares alphabets too, as the two families write " the" differently. In bytes the
  same pairs share .317, .190 and .220.
* No definition of the match gives its three numbers on a corpus of ours:

                     TREC            MNLI            AG News         IMDB
    position_raw     .84 .05 .06     .64 .03 .03     .34 .03 .04     .19 .01 .01
    position_bytes   .84 .62 .63     .64 .21 .23     .34 .10 .14     .19 .05 .05
    pair_raw         .95 .09 .09     .95 .14 .15     .90 .18 .21     .94 .16 .17
    pair_bytes       .95 .85 .85     .95 .80 .81     .90 .75 .79     .94 .82 .84

  Nearest is position_bytes on texts of the length of MNLI's pairs: one token more on
  one side shifts all that follow, so that the number falls with the length of a text,
  and the paper does not name its texts. pair_raw is near to .151 twice, but far from
  .672.
* Paired by their ends, as maps of tokens are fitted, most tokens of a pair that the
  paper finds incompatible are the same bytes; 86 to 91% of all boundaries agree.
"""

import dataclasses
import itertools

import numpy as np

from experiments.shared.about import BRACKETS, about, short_data, show, show_saved
from experiments.shared.names import COUNTED_NAMES, SPELLING_NAMES
from experiments.shared.options import (
    TextOptions,
    limit_option,
    require_distinct,
    resamples_option,
    workdir_option,
)
from experiments.shared.sides import open_corpus
from helix_jax.errors import CorpusError
from helix_jax.models import load_tokenizer, model_name
from helix_jax.progress import bar, stage
from helix_jax.reports import Matrix, Table
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.stats import bootstrap_statistic, mean_of_sums
from helix_jax.text.compatibility import (
    RATES,
    SPELLINGS,
    match_counts,
    spell,
    vocabulary_jaccard,
)
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of
from helix_jax.text.tokens import encode_texts, private_tokenizer

_AT_ONCE = 1000  # texts
_WHOLE = 2**31 - 1  # tokens: texts are not cut


@dataclasses.dataclass(frozen=True)
class TokenizersConfig(TextOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    tokenizers: tuple[str, ...] = option(
        (),
        "two or more: embedded models by name, folders, files or hub ids",
        names="tokenizer",
        required=True,
        tiny=("pebble-llama", "pebble-neox"),
    )
    limit: int = limit_option(2000)
    resamples: int = resamples_option()
    tiny: bool = option(False, "100 texts, 100 resamples")


def run(config: TokenizersConfig) -> dict[str, float]:
    """Compare every pair; see the module docstring."""
    config = prepare_config(config, tiny={"limit": 100, "resamples": 100})
    names = [short_name(name) for name in config.tokenizers]
    require_distinct("tokenizers", "tokenizers", names)
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    corpus = open_corpus(config, least={})
    with stage("loading the tokenizers"):
        loaded = dict(zip(names, map(load_tokenizer, config.tokenizers)))
    summary = compare(loaded, corpus, resamples=config.resamples)
    documents = summary["data/documents"]
    said = about(
        ", ".join(names),
        short_data(config.data),
        f"{summary['data/texts']:,} texts (of {documents:,} documents)",
        documents=documents,
    )
    show(directory, result_blocks(summary, names), said)
    return finish_run(directory, summary)


def short_name(name: str) -> str:
    """A tokenizer's name: of a folder the last part, of a file or hub id two."""
    return "--".join(model_name(name).split("/")[-2:])


def compare(
    tokenizers: dict[str, object], corpus: Corpus, *, resamples: int
) -> dict[str, float]:
    """A/B/jaccard_SPELLING, A/B/match_RATE and its interval, of every pair A, B.

    Args:
      tokenizers: name -> fast tokenizer; in a pair the later one is the target.
      corpus: all its splits are read; nothing is fitted.
      resamples: of the bootstrap.

    Returns:
      The summary, and tokens a character of each tokenizer.
    """
    with stage("reading the texts"):
        texts = [text for split in corpus.splits for text in corpus.read(split)]
    documents = [document_of(text.id) for text in texts]
    if len(set(documents)) < 2:
        raise CorpusError(
            f"{corpus.name}: all {len(texts)} texts are of one document; intervals "
            "need two or more."
        )
    spelled = {name: spell(one) for name, one in tokenizers.items()}
    backends = {
        name: private_tokenizer(one, max_tokens=_WHOLE)
        for name, one in tokenizers.items()
    }
    pairs = list(itertools.combinations(tokenizers, 2))
    counts = {(*pair, rate): [] for pair in pairs for rate in RATES}
    tokens = dict.fromkeys(tokenizers, 0)
    starts = range(0, len(texts), _AT_ONCE)
    for start in bar(starts, "thousands of texts compared"):
        some = [text.text for text in texts[start : start + _AT_ONCE]]
        encoded = {
            name: encode_texts(backend, some, with_ends=True)
            for name, backend in backends.items()
        }
        for name, one in encoded.items():
            tokens[name] += sum(int((ends >= 0).sum()) for ends in one.ends)
        for a, b in pairs:
            found = match_counts(spelled[a], spelled[b], encoded[a], encoded[b])
            for rate, rows in found.items():
                counts[a, b, rate].append(rows)
    characters = sum(len(text.text) for text in texts)
    summary = {
        "data/texts": len(texts),
        "data/documents": len(set(documents)),
        "data/characters": characters,
    }
    for name, number in tokens.items():
        summary[f"{name}/characters_a_token"] = characters / number
    for a, b in bar(pairs, "pairs summarised"):
        for spelling in SPELLINGS:
            value = vocabulary_jaccard(spelled[a], spelled[b], spelling=spelling)
            summary[f"{a}/{b}/jaccard_{spelling}"] = value
        for rate in RATES:
            interval = bootstrap_statistic(
                np.concatenate(counts[a, b, rate]),
                documents,
                mean_of_sums,
                resamples=resamples,
            )
            for end, value in zip(("", "_low", "_high"), interval):
                summary[f"{a}/{b}/match_{rate}{end}"] = float(value)
    return summary


def result_rows(
    summary: dict[str, float], names: list[str]
) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table: a row a quantity, a column a pair."""
    pairs = list(itertools.combinations(names, 2))
    rows = [
        [f"vocabulary Jaccard: {SPELLING_NAMES[spelling]}"]
        + [f"{summary[f'{a}/{b}/jaccard_{spelling}']:.3f}" for a, b in pairs]
        for spelling in SPELLINGS
    ]
    rows += [
        [f"tokens that match: {rate_name(rate)}"]
        + [_interval(summary, f"{a}/{b}/match_{rate}") for a, b in pairs]
        for rate in RATES
    ]
    return ["quantity", *(f"{a} - {b}" for a, b in pairs)], rows


def rate_name(rate: str) -> str:
    """A match rate in words."""
    counted, _, spelling = rate.partition("_")
    said = SPELLING_NAMES.get(spelling)
    return ", ".join(one for one in (COUNTED_NAMES[counted], said) if one)


def result_blocks(summary: dict[str, float], names: list[str]) -> list[Table | Matrix]:
    """The table, and as matrices the two numbers that say most."""
    table = Table(
        "Tokenizers: vocabulary Jaccard and exact token match rate",
        *result_rows(summary, names),
        note="Vocabulary strings have alphabets that differ between families; bytes "
        "are what the tokens stand for. Same position: token k against token k; paired "
        f"by ends: the second tokenizer as the target. {BRACKETS}",
    )
    matrices = [
        Matrix(title, title, names, names, _matrix(summary, names, key))
        for title, key in (
            ("Vocabulary Jaccard in bytes", "jaccard_bytes"),
            ("Tokens with the same bytes, of all paired", "match_pair_bytes"),
        )
    ]
    return [table, *matrices]


def _matrix(summary: dict[str, float], names: list[str], key: str) -> list[list[float]]:
    """The upper triangle of a quantity; the rest is empty."""
    empty = float("nan")
    return [[summary.get(f"{a}/{b}/{key}", empty) for b in names] for a in names]


def _interval(summary: dict[str, float], name: str) -> str:
    value, low, high = (summary[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    start_program(TokenizersConfig, run)
