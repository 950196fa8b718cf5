"""Tokenizers of models, and whether the two belong together."""

import json
from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.hub import model_folder
from helix_jax.models.sentencepiece import read_sentencepiece


def load_tokenizer(name_or_path: str, *, revision: str | None = None) -> Any:
    """The fast tokenizer of a model folder or hub id.

    Args:
      name_or_path: a folder with tokenizer files, a sentencepiece file (such as
        tokenizer.model), or a hub id.
      revision: branch, tag or commit of a hub id.

    Returns:
      transformers.PreTrainedTokenizerFast; a padding token is set where it has none.

    Raises:
      CheckpointError: no tokenizer files, or none that gives character offsets.
    """
    from transformers import AutoTokenizer

    path = Path(name_or_path).expanduser()
    if path.is_file():
        return _from_sentencepiece(path)
    folder = model_folder(name_or_path, revision=revision, weights=False)
    pieces = sorted(folder.glob("*.model"))
    if len(pieces) == 1 and not any((folder / name).exists() for name in _COMPLETE):
        return _from_sentencepiece(pieces[0])
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


_COMPLETE = ("tokenizer.json", "vocab.json", "vocab.txt")


def _from_sentencepiece(path: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    config = path.parent / "tokenizer_config.json"
    settings = json.loads(config.read_text()) if config.is_file() else {}
    made = read_sentencepiece(path, begin=settings.get("add_bos_token", True))
    return PreTrainedTokenizerFast(
        tokenizer_object=made.tokenizer,
        unk_token=made.unk_token,
        bos_token=made.bos_token,
        eos_token=made.eos_token,
        pad_token=made.pad_token or made.eos_token or made.unk_token,
        name_or_path=str(path),
        clean_up_tokenization_spaces=False,
    )


def check_vocabulary(tokenizer: Any, vocab_size: int, *, model: str) -> None:
    """Refuse a tokenizer whose vocabulary is not the model's.

    Checkpoints pad their embedding table to a round number of rows, so it may have
    some more rows than the tokenizer has entries: up to the next multiple of 128, or
    a tenth of the table. Tokens added to the vocabulary may lie beyond the table, as
    <image_soft_token> does in the smallest gemma 3; a text that holds one is refused
    when it is read.

    Args:
      tokenizer: from `load_tokenizer`.
      vocab_size: V, rows of the model's embedding.
      model: the model's name, for the message.

    Raises:
      CheckpointError: too many entries, or far too few.
    """
    backend = tokenizer.backend_tokenizer
    base, size = (
        1 + max(backend.get_vocab(with_added_tokens=added).values(), default=-1)
        for added in (False, True)
    )
    padded = -(-size // 128) * 128
    if base > vocab_size or (padded < vocab_size and size < 0.9 * vocab_size):
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        raise CheckpointError(
            f"the tokenizer {name} has {size} entries and the model {model} has "
            f"{vocab_size}: they do not belong together. Load the tokenizer from the "
            "model's own folder."
        )
