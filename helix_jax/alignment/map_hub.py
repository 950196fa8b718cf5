"""Maps pushed to the hub, from which `load_map("hub:OWNER/NAME")` loads them."""

import os

from helix_jax import hub, kinds
from helix_jax.alignment.map_cards import atlas_card, map_card
from helix_jax.arguments import takes
from helix_jax.artefacts import ARRAYS, CONFIG, README
from helix_jax.errors import ArtefactError
from helix_jax.maps_numpy import read_map
from helix_jax.paths import local_path, os_errors


@takes(folder=kinds.PATH)
def push_map(
    folder: str | os.PathLike,
    name: str,
    *,
    revision: str | None = None,
    private: bool | None = None,
    message: str = "Add a map",
) -> str:
    """Push the folder of a map to the hub, making the repository if it is missing.

    The hub's client handles the token: HF_TOKEN, or the one saved by `hf auth login`.

    Args:
      folder: written by `save_map`; its card is rewritten with the place on the hub.
      name: "OWNER/NAME", or "OWNER/NAME/FOLDER" for one of several maps.
      revision: an existing branch; None is the main one.
      private: whether a new repository is; None is the owner's default.
      message: of the commit.

    Returns:
      The commit, for `load_map(..., revision=...)`.

    Raises:
      ArtefactError: no map there, no such name, or the hub refuses it.
    """
    repository, inside = hub.split_name(name, raises=ArtefactError, who="a map")
    return hub.push(
        _files_of(folder, repository, inside),
        repository,
        message=message,
        revision=revision,
        private=private,
        raises=ArtefactError,
    )


@takes(folder=kinds.PATH)
def push_maps(
    folder: str | os.PathLike,
    name: str,
    *,
    revision: str | None = None,
    private: bool | None = None,
    message: str = "Add maps",
) -> str:
    """Push a folder of maps, such as an atlas, in one commit; errors as `push_map`.

    Args:
      folder: a folder of map folders.
      name: "OWNER/NAME"; a map of it is "hub:OWNER/NAME/FOLDER" then.
      revision, private, message: as for `push_map`.

    Returns:
      The commit.
    """
    repository, inside = hub.split_name(name, raises=ArtefactError, who="maps")
    place = local_path(folder, "the folder of maps")
    names = sorted(one.parent.name for one in place.glob(f"*/{CONFIG}"))
    if inside or not names:
        raise ArtefactError(
            f"push_maps: {place} must hold folders of maps and {name!r} be OWNER/NAME; "
            f"found {len(names)} maps."
        )
    files: dict[str, bytes] = {}
    for one in names:
        files |= _files_of(place / one, repository, one)
    configs = {one: read_map(place / one).config for one in names}
    files[README] = atlas_card(configs, place=repository).encode()
    return hub.push(
        files,
        repository,
        message=message,
        revision=revision,
        private=private,
        raises=ArtefactError,
    )


def _files_of(
    folder: str | os.PathLike, repository: str, inside: str
) -> dict[str, bytes]:
    """Path in the repository -> content; the card names the place."""
    place = local_path(folder, "the folder of a map")
    found, where = read_map(place), f"{repository}/{inside}".rstrip("/")
    card = map_card(found.config, confidence=found.confidence, place=where)
    with os_errors(place, "be read", ArtefactError):
        files = {name: (place / name).read_bytes() for name in (CONFIG, ARRAYS)}
    files[README] = card.encode()
    return {f"{inside}/{name}".lstrip("/"): data for name, data in files.items()}
