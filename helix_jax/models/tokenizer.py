"""Tokenizers of models, and whether the two belong together."""

from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.hub import model_folder
from helix_jax.models.spec import ModelSpec


def load_tokenizer(name_or_path: str, *, revision: str | None = None) -> Any:
    """The fast tokenizer of a model folder or hub id.

    Args:
      name_or_path: a folder with tokenizer files, or a hub id.
      revision: branch, tag or commit of a hub id.

    Returns:
      transformers.PreTrainedTokenizerFast; a padding token is set where it has none.

    Raises:
      CheckpointError: no tokenizer files, or none that gives character offsets.
    """
    from transformers import AutoTokenizer

    folder = model_folder(name_or_path, revision=revision, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} has no readable tokenizer ({type(error).__name__}: {error})."
        ) from error
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{folder} has a slow tokenizer without character offsets; save it as "
            "tokenizer.json (PreTrainedTokenizerFast) first."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def check_vocabulary(tokenizer: Any, spec: ModelSpec, where: str) -> None:
    """Raise unless every token id of the tokenizer has an embedding.

    A model may have more rows than its tokenizer has tokens (padding for speed), never
    fewer.

    Raises:
      CheckpointError: the largest id is outside the embedding.
    """
    largest = max(tokenizer.get_vocab().values())
    if largest >= spec.vocab_size:
        raise CheckpointError(
            f"{where}: the tokenizer's largest id is {largest}, the model embeds "
            f"{spec.vocab_size} ids; tokenizer and model do not belong together."
        )
