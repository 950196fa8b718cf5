"""Where a model's files are: embedded, a local folder, or fetched from the hub.

Names of embedded models take precedence over paths, and paths over hub ids: write
./pebble-llama for a folder named pebble-llama.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from helix_jax import assets, hub
from helix_jax.errors import CheckpointError
from helix_jax.models.module_list import transformer_folder
from helix_jax.models.weights import LAYOUTS, index_shards
from helix_jax.near_names import did_you_mean

SMALL_FILES = ["*.json", "tokenizer*", "*.model", "*.txt", "*.jinja"]


def model_name(name_or_path: str) -> str:
    """The name of a model without its location: a hub id, or a folder's last part."""
    if name_or_path in assets.NAMES:
        return name_or_path
    path = Path(name_or_path).expanduser()
    return path.resolve().name if path.is_dir() else name_or_path


def model_folder(
    name_or_path: str, *, revision: str | None = None, weights: bool = True
) -> Path:
    """The local folder of a model, fetched from the hub if it is not local.

    Args:
      name_or_path: an embedded model such as "pebble-llama", a folder, or a hub id
        such as "Qwen/Qwen2.5-0.5B". For a local sentence-transformers folder, the one
        of its transformer.
      revision: branch, tag or commit of a hub id.
      weights: fetch the weights too; False for config and tokenizer alone.

    Raises:
      CheckpointError: neither a folder here nor an available hub id, or a revision for
        something that has none.
    """
    embedded = name_or_path in assets.NAMES
    path = Path(name_or_path).expanduser()
    if embedded or path.is_dir():
        if revision is not None:
            raise CheckpointError(
                f"revision={revision!r} is for hub ids; {name_or_path} has none."
            )
        return assets.model_path(name_or_path) if embedded else transformer_folder(path)
    is_id = re.fullmatch(r"[\w][\w.-]*(/[\w.-]+)?", name_or_path) is not None
    if not is_id or path.suffix in (".safetensors", ".bin", ".json"):
        raise CheckpointError(
            f"{name_or_path!r} is neither a folder here nor a hub id; name a folder "
            "with config.json and *.safetensors."
        )
    folder = _fetch(name_or_path, revision, SMALL_FILES)
    return fetch_weights(name_or_path, folder) if weights else folder


def fetch_weights(name: str, folder: Path) -> Path:
    """The folder of a model with its weights, once its config has been checked.

    Args:
      name: a hub id, or another argument of `model_folder`.
      folder: what `model_folder` returned for that name.

    Raises:
      CheckpointError: the hub does not provide them.
    """
    # Pinned to the commit of the first fetch, in case the branch moves.
    commit = resolved_revision(folder)
    if commit is None or Path(name).expanduser().is_dir():
        return folder
    for stem, suffix in LAYOUTS:
        folder = _fetch(name, commit, [f"{stem}{suffix}"])
        if (folder / f"{stem}{suffix}").is_file():
            break
        index = folder / f"{stem}{suffix}.index.json"
        if index.is_file():
            folder = _fetch(name, commit, index_shards(index))
            break
    return folder


def fetch_files(name: str, folder: Path, patterns: Sequence[str]) -> Path:
    """Like `fetch_weights`, for the files that match the patterns."""
    commit = resolved_revision(folder)
    if commit is None or Path(name).expanduser().is_dir():
        return folder
    return _fetch(name, commit, patterns)


def resolved_revision(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache; None for any other folder."""
    in_cache = folder.parent.name == "snapshots"
    return (
        folder.name if in_cache and re.fullmatch("[0-9a-f]{40}", folder.name) else None
    )


def _fetch(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The cache folder of a hub id with the files that match."""
    return hub.fetch(
        name,
        revision=revision,
        patterns=["config.json", *patterns],
        raises=CheckpointError,
        # Subfolders hold copies in other formats; only modules need theirs.
        subfolders=any("/" in one for one in patterns),
        hint=did_you_mean(name, assets.NAMES, alike=0.75),
    )
