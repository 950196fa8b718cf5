"""Files of keys and tokens: only their owner may read them, and none is written over.

A file that others may read is refused, not repaired: who could read it may have.
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
    """Refuse a file that others than its owner may use.

    Args:
      path: the file.
      what: what it holds, such as "the admission's key".
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; there is none, it is no file, or others may use it.
    """
    with os_errors(path, f"be used as {what}", raises):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode) or mode & OTHERS:
        raise raises(f"{path} is to be a file that only its owner may read: chmod 600.")


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
    """Make a file of mode 0600, whole or not at all; of two at once the first wins.

    Args:
      path: the file; its folder is made where it is missing, for its owner alone.
      content: what it is to hold.
      what: what that is.
      raises: class of the error.

    Returns:
      Whether it was made; False where something of this name is there.

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
    """A folder that only its owner may enter; one that is there stays as it is.

    Raises:
      OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def require_private_folder(
    path: Path, what: str, *, raises: type[HelixError] = PathError
) -> None:
    """Refuse a folder that others than its owner may enter; made where it is missing.

    Args:
      path: the folder.
      what: what it is, such as "--state".
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; it is no folder, cannot be made, or is not private.
    """
    with os_errors(path, f"be used as {what}", raises):
        make_private_folder(path)
        mode = path.stat().st_mode
    if mode & OTHERS:
        raise raises(
            f"{path} is to be a folder that only its owner may enter: chmod 700."
        )
