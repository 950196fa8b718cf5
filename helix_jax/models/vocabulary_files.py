"""Folders with only a vocabulary: vocab.json and merges.txt, or vocab.txt.

These files do not say how text is split before the look-up. The declared class of
transformers is used if it says how.
"""

from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.tokenizer_files import read_object
from helix_jax.textfile import read_text
from helix_jax.transformers_names import transformers_names

VOCABULARIES = ("vocab.json", "vocab.txt")


def read_vocabulary(folder: Path, declared: str | None) -> Any:
    """The tokenizer of the declared class.

    Args:
      folder: with the files.
      declared: name of the class, for the message.

    Returns:
      A fast tokenizer of transformers.

    Raises:
      CheckpointError: malformed files, or a class that does not split text.
    """
    AutoTokenizer, PreTrainedTokenizerFast = transformers_names(
        "AutoTokenizer", "PreTrainedTokenizerFast"
    )

    _check_vocabulary_files(folder)
    try:
        made = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises no narrower type
        raise CheckpointError(
            f"{folder} has no readable tokenizer ({type(error).__name__}: "
            f"{first_line(error)}); take tokenizer.json from the model's page."
        ) from error
    if not made.is_fast:
        raise CheckpointError(
            f"{folder} has a slow tokenizer without character offsets; save it as "
            "tokenizer.json (PreTrainedTokenizerFast) first."
        )
    if type(made) is PreTrainedTokenizerFast:
        raise CheckpointError(
            f"{folder} has a vocabulary without tokenizer.json, and its class "
            f"({declared}) does not say how text is split before the look-up; "
            "name the class as tokenizer_class in tokenizer_config.json, or take "
            "tokenizer.json from the model's page."
        )
    return made


def _check_vocabulary_files(folder: Path) -> None:
    """Refuse vocabulary files that transformers would not read as written."""
    for name in (*VOCABULARIES, "merges.txt"):
        path = folder / name
        if not path.exists():
            continue
        text = read_text(path, raises=CheckpointError)
        if path.read_bytes()[:1] not in (text[:1].encode()[:1], b""):
            raise CheckpointError(
                f"{path} begins with a byte order mark, which would become part of the "
                "first entry; write the file as plain UTF-8."
            )
        if path.suffix == ".json":
            read_object(path)
    if (folder / "vocab.json").exists() and not (folder / "merges.txt").exists():
        raise CheckpointError(
            f"{folder} has vocab.json without merges.txt; take merges.txt, or "
            "tokenizer.json, from the model's page."
        )


def first_line(error: Exception) -> str:
    """The first line of an error's message, without a final period."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
