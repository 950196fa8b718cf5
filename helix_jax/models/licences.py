"""The licence of a model, from its own card."""

import re
from pathlib import Path

from helix_jax import assets
from helix_jax.errors import CheckpointError
from helix_jax.models.hub import fetch_files, model_folder
from helix_jax.models.module_list import modules_root
from helix_jax.textfile import read_text

UNKNOWN = "unknown"
_OWN = "apache-2.0"  # of the embedded models, as of this package
_CARD = "README.md"


def licence_of(name: str) -> str:
    """The licence that the front matter of a model's card names.

    Args:
      name: an embedded model, a folder, or a hub id; what `model_folder` takes.

    Returns:
      A name such as "apache-2.0"; "unknown" if there is no card, or it names none.
    """
    if name in assets.NAMES:
        return _OWN
    try:
        folder = model_folder(name, weights=False)
        folder = fetch_files(name, folder, [_CARD])
    except CheckpointError:
        return UNKNOWN
    root = modules_root(folder) or folder
    return _named_in(root / _CARD)


def _named_in(card: Path) -> str:
    if not card.is_file():
        return UNKNOWN
    text = read_text(card, raises=CheckpointError)
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license: *[\"']?([\w.+-]+)", head[1] if head else "", re.M)
    return found[1] if found else UNKNOWN
