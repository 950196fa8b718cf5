"""Two models and the pairs of their tokens: flags and data of the token experiments."""

import dataclasses
from typing import Any, NamedTuple

from experiments.shared.options import TextOptions, dtype_option, seed_option
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.activations.token_states import layer_side
from helix_jax.models import Model, load_model, load_tokenizer, model_name
from helix_jax.progress import Progress, bar, stage
from helix_jax.runs import option
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import hashed_sample
from helix_jax.types import Text

METHODS = ("ridge", "kl", "mlp")
MODEL = "embedded model by name, model folder or hub id"


@dataclasses.dataclass(frozen=True)
class TokenMapOptions(TextOptions):
    """Flags of a map between token states."""

    source: str = option("", MODEL, names="model", required=True, tiny="pebble-llama")
    target: str = option("", MODEL, names="model", required=True, tiny="pebble-qwen3")
    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    target_layer: int = option(-1, "0 is the embedding, -1 the last")
    source_norm: bool = option(True, "take states after the source's final norm")
    target_norm: bool = option(True, "give states after the target's final norm")
    dtype: str = dtype_option()
    max_tokens: int = option(256, "longer texts lose their end", least=2)
    map: str = option("ridge", "how it is fitted", choices=METHODS)
    pairs: int = option(400_000, "token pairs to fit on", least=1)
    select_pairs: int = option(50_000, "token pairs to choose on", least=1)
    test_pairs: int = option(100_000, "token pairs to score on", least=1)
    loop: str = option(
        "target", "which side's tokens are looped over", choices=("target", "source")
    )
    hidden: int = option(1024, "width of the network of --map=mlp", least=1)
    epochs: int = option(2, "of kl and mlp, at most", least=1)
    learning_rate: float = option(4e-3, "of kl and mlp, at its peak", above=0)
    batch: int = option(512, "token pairs a step of kl and mlp", least=1)
    seed: int = seed_option("of the fit and of the controls")


class TokenSides(NamedTuple):
    """Both models with their tokenizers."""

    source: Model
    source_tokenizer: Any
    target: Model
    target_tokenizer: Any


def load_token_sides(options: TokenMapOptions) -> TokenSides:
    """Both models of the flags."""
    parts: list[Any] = []
    for name in (options.source, options.target):
        with stage(f"loading {model_name(name)}"):
            parts += [load_model(name, dtype=options.dtype), load_tokenizer(name)]
    return TokenSides(*parts)


def token_pairs(
    sides: TokenSides,
    corpus: Corpus,
    split: str,
    options: TokenMapOptions,
    limit: int,
    shown: Progress,
) -> TokenPairs:
    """The pairs of a split, of texts chosen by hash, about `limit`."""
    texts = sample_texts(corpus, split, limit, max_tokens=options.max_tokens)
    return TokenPairs(
        layer_side(
            sides.source,
            sides.source_tokenizer,
            layers=(options.source_layer,),
            normed=options.source_norm,
        ),
        layer_side(
            sides.target,
            sides.target_tokenizer,
            layers=(options.target_layer,),
            normed=options.target_norm,
        ),
        lambda: shown.over(texts),
        max_tokens=options.max_tokens,
        loop=options.loop,
    )


def sample_texts(
    corpus: Corpus, split: str, tokens: int, *, max_tokens: int
) -> list[Text]:
    """Texts of a split with about this many tokens, chosen and ordered by hash.

    Four characters are reckoned for a token, of those that are not cut off.
    """

    def size(text: Text) -> int:
        return min(len(text.text), 4 * max_tokens)

    texts = bar(corpus.read(split), f"choosing {split} texts")
    return hashed_sample(texts, 4 * tokens, size=size, salt="tokens")
