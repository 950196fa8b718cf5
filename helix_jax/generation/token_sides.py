"""Two models that read the same texts, and the pairs of their tokens."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.activations.token_states import layer_side
from helix_jax.models import Model, load_model, load_tokenizer, model_name
from helix_jax.progress import Progress, bar, stage
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import hashed_sample
from helix_jax.types import Text


class TokenSides(NamedTuple):
    """Source and target, each a model with its tokenizer."""

    models: tuple[Model, Model]
    tokenizers: tuple[Any, Any]

    def pairs(
        self,
        texts: Sequence[Text],
        shown: Progress,
        *,
        layers: tuple[Sequence[int], Sequence[int]],
        normed: tuple[bool, bool],
        **settings: Any,
    ) -> TokenPairs:
        """The token pairs of some texts.

        Args:
          texts: to read.
          shown: progress, which counts the texts.
          layers, normed: as for `layer_side`, for each side.
          **settings: of `TokenPairs`.
        """
        source, target = (
            layer_side(model, tokenizer, layers=of_side, normed=after_norm)
            for model, tokenizer, of_side, after_norm in zip(*self, layers, normed)
        )
        return TokenPairs(source, target, lambda: shown.over(texts), **settings)


def load_sides(source: str, target: str, *, dtype: str = "float32") -> TokenSides:
    """Both models and their tokenizers.

    Args:
      source, target: embedded model by name, model folder or hub id.
      dtype: of the weights.

    Raises:
      CheckpointError: as `load_model`.
    """
    loaded = []
    for name in (source, target):
        with stage(f"loading {model_name(name)}"):
            loaded.append((load_model(name, dtype=dtype), load_tokenizer(name)))
    (model_x, tokenizer_x), (model_y, tokenizer_y) = loaded
    return TokenSides((model_x, model_y), (tokenizer_x, tokenizer_y))


def sample_texts(
    corpus: Corpus, split: str, tokens: int, *, max_tokens: int
) -> list[Text]:
    """Texts of a split with about this many tokens, chosen and ordered by hash.

    A token is taken to be four characters; text beyond `max_tokens` is not counted.
    """

    def size(text: Text) -> int:
        return min(len(text.text), 4 * max_tokens)

    texts = bar(corpus.read(split), f"choosing {split} texts")
    return hashed_sample(texts, 4 * tokens, size=size, salt="tokens")


def sample_prompts(corpus: Corpus, count: int, *, words: int) -> list[tuple[str, str]]:
    """(id, first words) of texts of the test split, chosen and ordered by hash."""
    texts = sample_texts(corpus, "test", 100 * count, max_tokens=100)
    prompts = [(text.id, first_words(text.text, words)) for text in texts]
    return [(name, prompt) for name, prompt in prompts if prompt][:count]


def first_words(text: str, words: int) -> str:
    """The first words of a text, as a prompt."""
    return " ".join(text.split()[:words])
