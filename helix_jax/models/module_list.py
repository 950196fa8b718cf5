"""modules.json of sentence-transformers: the order of modules, and the model's folder.

    modules.json    [{"path": "", "type": "...Transformer"}, {"path": "1_Pooling", ...}]

The transformer lies beside the list, or in a separate folder (0_Transformer), as older
versions wrote it.
"""

from pathlib import Path

from helix_jax.errors import CheckpointError
from helix_jax.textfile import read_json

LIST = "modules.json"


def module_kinds(root: Path) -> list[tuple[str, str]]:
    """(class, path) of each module of modules.json.

    Raises:
      CheckpointError: a damaged file.
    """
    modules = read_json(root / LIST, raises=CheckpointError)
    try:
        kinds = [(str(one["type"]), str(one.get("path", ""))) for one in modules]
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{root / LIST} must be a list of modules with a type each; fetch it again."
        ) from error
    own = "sentence_transformers."
    return [
        (kind.rsplit(".", 1)[-1] if kind.startswith(own) else kind, path)
        for kind, path in kinds
    ]


def transformer_folder(root: Path) -> Path:
    """The place of a folder's model: the folder itself, or where its list says.

    An unreadable list is ignored here; `read_modules` reports it.
    """
    try:
        kind, path = module_kinds(root)[0]
    except (CheckpointError, IndexError):
        return root
    inside = kind == "Transformer" and path == Path(path).name and path not in ("", ".")
    return root / path if inside and (root / path).is_dir() else root


def modules_root(folder: Path) -> Path | None:
    """The folder whose list names the model of a folder, or None."""
    if (folder / LIST).is_file():
        return folder
    parent = folder.parent
    listed = (parent / LIST).is_file() and transformer_folder(parent) == folder
    return parent if listed else None
