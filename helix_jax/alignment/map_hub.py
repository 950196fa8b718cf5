"""Maps pushed to the hub, from where `load_map("hub:OWNER/NAME")` has them."""

import os

from helix_jax import hub, kinds
from helix_jax.alignment.map_cards import map_card
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
    """Push the folder of a map to the hub, made there where it is missing.

    The token is the hub's own affair: HF_TOKEN, or what `hf auth login` saved.

    Args:
      folder: written by `save_map`; the card is written anew with its place.
      name: "OWNER/NAME", or "OWNER/NAME/FOLDER" for one of several maps.
      revision: an existing branch; None is the main one.
      private: whether a new repository is; None is the owner's default.
      message: of the commit.

    Returns:
      The commit, for `load_map(..., revision=...)`.

    Raises:
      ArtefactError: no map there, no such name, or the hub does not take it.
    """
    repository, inside = hub.split_name(name, raises=ArtefactError, who="a map")
    place = local_path(folder, "the folder of a map")
    found = read_map(place)
    card = map_card(
        found.config,
        confidence=found.confidence,
        place=f"{repository}/{inside}".rstrip("/"),
    )
    with os_errors(place, "be read", ArtefactError):
        files = {name: (place / name).read_bytes() for name in (CONFIG, ARRAYS)}
    return hub.push(
        {f"{inside}/{one}".lstrip("/"): data for one, data in files.items()}
        | {f"{inside}/{README}".lstrip("/"): card.encode()},
        repository,
        message=message,
        revision=revision,
        private=private,
        raises=ArtefactError,
    )
