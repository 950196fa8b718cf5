r"""How alike some tokenizers are: shared vocabulary, and tokens that match on one text.

    python -m experiments.tokenizers --workdir=runs/tokenizers --tokenizers=A,B,C \
      --data=NAME_FILE_OR_FOLDER

--tokenizers takes folders with tokenizer files, sentencepiece files and hub ids. Every
number is defined in `helix_jax.text.compatibility` and has its spelling in its name;
rates have 95% bootstrap intervals over documents.

Cost: two cores, 2,000 texts: 20 seconds per pair.

The paper (arXiv 2603.18908) gives Jaccard / match: Qwen2.5 - Mistral-Nemo .316 / .672,
Qwen2.5 - Mistral-7B-v0.2 .061 / .151, Nemo - Mistral-7B .067 / .151. Measured:

* Its Jaccard is that of raw strings, special tokens included: .316, .061, .067. That
  compares alphabets too, as the two families write " the" differently. In bytes the
  same pairs share .317, .190 and .220.
* No definition of the match gives its three numbers on any corpus tried here:

                     TREC            MNLI            AG News         IMDB
    position_raw     .84 .05 .06     .64 .03 .03     .34 .03 .04     .19 .01 .01
    position_bytes   .84 .62 .63     .64 .21 .23     .34 .10 .14     .19 .05 .05
    pair_raw         .95 .09 .09     .95 .14 .15     .90 .18 .21     .94 .16 .17
    pair_bytes       .95 .85 .85     .95 .80 .81     .90 .75 .79     .94 .82 .84

  The nearest is position_bytes on texts as long as MNLI's pairs: one extra token on one
  side shifts all that follow, so the number falls with the length of a text, and the
  paper does not name its texts. pair_raw is close to .151 twice, but far from .672.
* If tokens are paired by their ends, as for fitting maps of tokens, most have the same
  bytes even in pairs that the paper finds incompatible; 86 to 91% of all boundaries
  agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from functools import partial

from experiments.shared.about import BRACKETS, about, short_data
from experiments.shared.names import COUNTED_NAMES, SPELLING_NAMES
from experiments.shared.options import (
    TextOptions,
    limit_option,
    require_distinct,
    resamples_option,
    workdir_option,
)
from helix_jax.errors import CorpusError
from helix_jax.models import model_name
from helix_jax.progress import bar, stage
from helix_jax.reports import Block, Quantity, bar_of, cross_matrix, quantity_table
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.hashing import document_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus
    from helix_jax.models import load_tokenizer
    from helix_jax.text.compatibility import RATES, Rate
    from helix_jax.text.tokenizer_pairs import count_matches, likeness

MATRICES = {
    "jaccard_bytes": "Vocabulary Jaccard in bytes",
    "match_pair_bytes": "Tokens with the same bytes, of all paired",
}
SAME_BYTES = Quantity("tokens with the same bytes, %", 100, 1)
_AT_ONCE = 1000  # texts


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


def require_two(config: TokenizersConfig, _: Specs) -> None:
    """Raise RunError unless there are two tokenizers, of different names."""
    require_distinct("tokenizers", list(map(short_name, config.tokenizers)))


@experiment(tiny={"limit": 100, "resamples": 100}, check=require_two)
def compute(config: TokenizersConfig, _: Run) -> Report:
    """Compare every pair; see the module docstring."""
    corpus = open_corpus(config, least={})
    with stage("loading the tokenizers"):
        tokenizers = {
            short_name(name): load_tokenizer(name) for name in config.tokenizers
        }
    with stage("reading the texts"):
        texts = [text for split in corpus.splits for text in corpus.read(split)]
    documents = [document_of(text.id) for text in texts]
    if len(set(documents)) < 2:
        raise CorpusError(
            f"{corpus.name}: all {len(texts)} texts are of one document; intervals "
            "need two or more."
        )
    batches = [
        [text.text for text in texts[start : start + _AT_ONCE]]
        for start in range(0, len(texts), _AT_ONCE)
    ]
    counts = count_matches(tokenizers, bar(batches, "thousands of texts compared"))
    characters = sum(len(text.text) for text in texts)
    numbers: dict[str, float | Interval] = {
        "data/texts": len(texts),
        "data/documents": len(set(documents)),
        "data/characters": characters,
    }
    for name, tokens in counts.tokens.items():
        numbers[f"{name}/characters_a_token"] = characters / tokens
    for a, b in bar(counts.matches, "pairs summarised"):
        alike = likeness(counts, (a, b), documents, resamples=config.resamples)
        numbers |= {f"{a}/{b}/jaccard_{k}": v for k, v in alike.jaccard.items()}
        numbers |= {f"{a}/{b}/match_{k}": v for k, v in alike.match.items()}
    told = about(
        ", ".join(tokenizers),
        short_data(config.data),
        f"{len(texts):,} texts (of {numbers['data/documents']:,} documents)",
        documents=numbers["data/documents"],
    )
    blocks = result_blocks(numbers, counts.matches, list(tokenizers))
    answer = tokenizers_answer(numbers, counts.matches)
    return Report(numbers, blocks, told, answer=answer)


def short_name(name: str) -> str:
    """A tokenizer's name: last part of a folder, last two of a file or hub id."""
    return "--".join(model_name(name).split("/")[-2:])


def tokenizers_answer(
    numbers: Mapping[str, float | Interval], pairs: Collection[tuple[str, str]]
) -> str:
    """How many paired tokens have the same bytes, in the most and least alike pair."""
    names = {pair: f"{'/'.join(pair)}/match_pair_bytes" for pair in pairs}
    order = sorted(pairs, key=lambda pair: numbers[names[pair]].value, reverse=True)
    shares = [
        f"{SAME_BYTES.told(numbers, names[pair])} between {' and '.join(pair)}"
        for pair in order
    ]
    said = f"Of the tokens paired by their ends, {shares[0]} have the same bytes"
    if len(shares) == 1:
        return f"{said}."
    return f"{said}, the most of {len(shares)} pairs, and {shares[-1]}, the least."


def rate_words(rate: Rate) -> str:
    """A match rate in words."""
    words = COUNTED_NAMES[rate.counted], SPELLING_NAMES.get(rate.spelling)
    return ", ".join(filter(None, words))


def result_blocks(
    numbers: Mapping[str, float | Interval],
    pairs: Iterable[tuple[str, str]],
    names: list[str],
) -> list[Block]:
    """A table with a column per pair, and matrices of the two most telling numbers."""
    shown = {
        f"jaccard_{spelling}": Quantity(f"vocabulary Jaccard: {words}", form=3)
        for spelling, words in SPELLING_NAMES.items()
    }
    shown |= {
        f"match_{name}": Quantity(f"tokens that match: {rate_words(rate)}", form=3)
        for name, rate in RATES.items()
    }
    columns = {f"{a}/{b}": f"{a} - {b}" for a, b in pairs}
    note = (
        "Vocabulary strings have alphabets that differ between families; bytes are "
        "what the tokens stand for. Same position: token k against token k; paired by "
        f"ends: the second tokenizer as the target. {BRACKETS}"
    )
    table = quantity_table(
        "Tokenizers: vocabulary Jaccard and exact token match rate",
        numbers,
        shown,
        lambda name, pair: f"{pair}/{name}",
        columns,
        corner="quantity",
        note=note,
    )
    sides = dict(zip(names, names))

    def value(name: str, a: str, b: str) -> float:
        return bar_of(shown[name], numbers.get(f"{a}/{b}/{name}"))[0]

    return [
        table,
        *(
            cross_matrix(title, title, sides, sides, partial(value, name))
            for name, title in MATRICES.items()
        ),
    ]


run = compute.run

if __name__ == "__main__":
    compute.main()
