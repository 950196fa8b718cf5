"""Files of keys and tokens: readable only by their owner, and never overwritten.

A file that others can read is refused, not repaired: they may have read it already.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from helix_jax.atomic import sync
from helix_jax.errors import HelixError, PathError
from helix_jax.paths import os_errors

OTHERS = 0o077  # the rights of everybody but the owner


def require_secret(
    path: Path, what: str, *, raises: type[HelixError] = PathError
) -> None:
    """Refuse a file that anyone but its owner may use.

    Args:
      path: the file.
      what: what it holds, such as "the admission's key".
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; it is missing, not a file, or others may use it.
    """
    with os_errors(path, f"be used as {what}", raises):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode) or mode & OTHERS:
        raise raises(f"{path} must be a file that only its owner may read: chmod 600.")


def read_secret(
    path: Path, what: str, *, raises: type[HelixError] = PathError
) -> bytes:
    """The content of a file that only its owner may use; see `require_secret`."""
    require_secret(path, what, raises=raises)
    with os_errors(path, f"be used as {what}", raises):
        return path.read_bytes()


def make_secret(
    path: Path, content: bytes, what: str, *, raises: type[HelixError] = PathError
) -> bool:
    """Make a file of mode 0600, whole or not at all; of two writers the first wins.

    Args:
      path: the file; a missing folder is made, for its owner alone.
      content: of the file.
      what: what the content is, for messages.
      raises: class of the error.

    Returns:
      Whether it was made; False if the name exists.

    Raises:
      HelixError: of class `raises`; it cannot be made.
    """
    with os_errors(path, f"be written as {what}", raises):
        make_private_folder(path.parent)
        own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        file = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(content)
            sync(own)
            os.link(own, path)
            sync(path.parent)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                own.unlink()
    return True


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter; an existing one stays as it is.

    Raises:
      OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def require_private_folder(
    path: Path, what: str, *, raises: type[HelixError] = PathError
) -> None:
    """Refuse a folder that anyone but its owner may enter; a missing one is made.

    Args:
      path: the folder.
      what: what it is, such as "--state".
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; it is not a folder, cannot be made, or is not
        private.
    """
    with os_errors(path, f"be used as {what}", raises):
        make_private_folder(path)
        mode = path.stat().st_mode
    if mode & OTHERS:
        raise raises(
            f"{path} must be a folder that only its owner may enter: chmod 700."
        )
