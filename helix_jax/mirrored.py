"""Local folders that stand for bucket folders, and notification of their changes.

Programs work on local files. If a folder's real place is a bucket, `mirror.py`, which
fetched it, is notified of every completed file, and whoever names a file or opens a
store in it gets the real place.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

from helix_jax.errors import HelixError

_folders: dict[str, tuple[str, Callable[[bool], object]]] = {}


@contextlib.contextmanager
def standing_for(
    root: str | os.PathLike, url: str, changed: Callable[[bool], object]
) -> Iterator[None]:
    """Let a local folder stand for another place while the block lasts.

    Args:
      root: the local folder.
      url: the real place.
      changed: called when a file in it is complete, with whether it only grew.
    """
    name = os.path.realpath(root)
    _folders[name] = (url.rstrip("/"), changed)
    try:
        yield
    except HelixError as error:  # the user knows the place by its URL
        told = (
            with_public_names(one) if isinstance(one, str) else one
            for one in error.args
        )
        error.args = tuple(told)
        raise
    finally:
        del _folders[name]


def tell_change(path: str | os.PathLike, *, grown: bool = False) -> None:
    """Report that a file, or a group of files in a folder, is complete.

    Args:
      path: of the file or folder.
      grown: whether it only gained lines, which happens often.
    """
    for root, (_, changed) in list(_folders.items()):
        if _inside(os.path.realpath(path), root) is not None:
            changed(grown)


def public_name(name: str) -> str:
    """The place that a path stands for; otherwise the path itself."""
    for root, (url, _) in _folders.items():
        if (rest := _inside(os.path.realpath(name), root)) is not None:
            return url + rest.replace(os.sep, "/")
    return name


def with_public_names(text: str) -> str:
    """A text with its paths replaced by the places that they stand for."""
    for root, (url, _) in _folders.items():
        text = text.replace(root, url)
    return text


def _inside(path: str, root: str) -> str | None:
    """The part of a path below a root, with its slash; None if it is outside."""
    if path == root:
        return ""
    return path[len(root) :] if path.startswith(root + os.sep) else None
