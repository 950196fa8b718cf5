"""Where a model's tokenizer is, and what the small files beside it say."""

from pathlib import Path
from typing import NamedTuple

from helix_jax.errors import CheckpointError
from helix_jax.models.adapter_config import has_adapter, read_base
from helix_jax.models.hub import model_folder
from helix_jax.models.tokenizer_files import TokenizerFiles, read_tokenizer_files
from helix_jax.models.vocabulary_files import VOCABULARIES

# A folder with a tokenizer of its own has at least one of these.
_TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model")


class TokenizerPlace(NamedTuple):
    """A tokenizer that has been found but not read yet.

    Attributes:
      path: the folder, or the file that was named.
      vocabulary: the file that defines it.
      files: what the files beside it say.
    """

    path: Path
    vocabulary: Path
    files: TokenizerFiles


def find_tokenizer(name_or_path: str, *, revision: str | None = None) -> TokenizerPlace:
    """Look for a tokenizer without reading its vocabulary, which takes seconds.

    Args:
      name_or_path, revision: as for `load_tokenizer`.

    Raises:
      CheckpointError: no tokenizer files, or settings that are not honoured.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return TokenizerPlace(path, path, read_tokenizer_files(path.parent))
    folder = model_folder(name_or_path, revision=revision, weights=False)
    if has_adapter(folder) and not any(map(list, map(folder.glob, _TOKENIZERS))):
        base, revision = read_base(folder)  # an adapter alone uses its base's tokenizer
        folder = model_folder(base, revision=revision, weights=False)
    return TokenizerPlace(folder, _vocabulary(folder), read_tokenizer_files(folder))


def _vocabulary(folder: Path) -> Path:
    """The file that defines a folder's tokenizer: of the first kind that is there."""
    for name in ("tokenizer.json", *VOCABULARIES, "tokenizer.model"):
        if (folder / name).exists():
            return folder / name
    pieces = sorted(folder.glob("*.model"))
    if len(pieces) == 1:
        return pieces[0]
    names = ", ".join(one.name for one in pieces)
    found = f"it has {names}: name one of these files" if pieces else ""
    raise CheckpointError(
        f"{folder} has no readable tokenizer: expected tokenizer.json, "
        "tokenizer.model, vocab.json with merges.txt, or vocab.txt; "
        + (found or "take the tokenizer files from the model's page, or name a folder")
        + "."
    )
