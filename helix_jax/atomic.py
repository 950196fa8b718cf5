"""Files and groups of files that change atomically, however a process ends.

A reader of one file sees the whole old version or the whole new one. So does a reader
of a group who opens its files all before or all after the change, if the file system
has symbolic links. Leftovers of a killed writer are named `.helix-partial-...`; the
next writer of the same folder removes them, and nothing else that is not its own.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from helix_jax.errors import HelixError, PathError
from helix_jax.lock_files import FILE, flock
from helix_jax.locks import hold
from helix_jax.mirrored import tell_change
from helix_jax.paths import os_errors

PARTIAL = ".helix-partial-"
_NO_LINKS = {
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
    errno.EACCES,
}


def is_passing(name: str) -> bool:
    """Whether a file of this name is a lock or a leftover of writing, not content."""
    return name == FILE or name.startswith(PARTIAL)


@contextlib.contextmanager
def replaced_file(
    path: str | os.PathLike, *, raises: type[HelixError] = PathError
) -> Iterator[Path]:
    """An empty file to write, which replaces another when the block ends.

    Args:
      path: the file; its folder must exist. A symbolic link stays, its target changes.
      raises: class of the error.

    Yields:
      Path to write to.

    Raises:
      HelixError: of class `raises`; it cannot be written, and the old one is intact.
    """
    place = Path(os.path.realpath(path))
    with os_errors(path, "be written", raises):
        if place.exists() and not place.is_file() and not place.is_dir():
            raise raises(f"{path} exists and is not a file; choose another path.")
        _sweep(place.parent)
        fd, temporary = _reserve(place.parent)
        try:
            yield temporary
            with contextlib.suppress(OSError):  # the old file's mode, if any
                os.chmod(temporary, stat.S_IMODE(place.stat().st_mode))
            sync(temporary)
            os.replace(temporary, place)
            sync(place.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
    tell_change(place)


def write_file(
    path: str | os.PathLike,
    content: str | bytes,
    *,
    raises: type[HelixError] = PathError,
) -> None:
    """Write a whole file atomically; see `replaced_file`."""
    data = content.encode() if isinstance(content, str) else content
    with replaced_file(path, raises=raises) as temporary:
        temporary.write_bytes(data)


def append_lines(
    path: str | os.PathLike,
    lines: Iterable[str],
    *,
    raises: type[HelixError] = PathError,
) -> None:
    """Add lines to a file of lines; they are on disk when this returns.

    An incomplete last line, left by a killed writer, is removed first.

    Args:
      path: the file; made where it is missing.
      lines: without line ends.
      raises: class of the error; an incomplete write is undone.
    """
    data = "".join(f"{line}\n" for line in lines).encode()
    with os_errors(path, "be written", raises):
        new = not os.path.exists(path)
        with open(path, "ab+", buffering=0) as stream:
            whole = _end_of_lines(stream)
            try:
                stream.truncate(whole)
                left = memoryview(data)
                while left:
                    left = left[stream.write(left) :]
                os.fsync(stream.fileno())
            except BaseException:
                os.ftruncate(stream.fileno(), whole)
                raise
        if new:
            sync(Path(path).parent)
    tell_change(path, grown=True)


@contextlib.contextmanager
def replaced_files(
    folder: str | os.PathLike, *, raises: type[HelixError] = PathError
) -> Iterator[Path]:
    """An empty folder to write files in, which all move to FOLDER at once.

    During the change, each name is a symbolic link through one link `current`, whose
    own replacement is the atomic step; then the links become files again. Other files
    of FOLDER stay. One process writes at a time. On a file system without symbolic
    links the files are replaced one by one, config.json last.

    Args:
      folder: made where it is missing, parents too.
      raises: class of the error.

    Yields:
      Path of a folder to write in, subfolders too.

    Raises:
      HelixError: of class `raises`; it cannot be written, and the old files are intact.
    """
    place = Path(os.path.realpath(folder))
    with os_errors(folder, "be written", raises):
        missing = [one for one in (place, *place.parents) if not one.exists()]
        try:
            place.mkdir(parents=True, exist_ok=True)
            with hold(place, "a save"):
                _settle(place)
                stage = place / f"{PARTIAL}{secrets.token_hex(8)}"
                try:
                    (stage / "new").mkdir(parents=True)
                    yield stage / "new"
                    _switch(place, stage)
                finally:
                    _settle(place)
        except BaseException:
            with contextlib.suppress(OSError):
                for one in missing:
                    one.rmdir()
            raise
    tell_change(place)


def _switch(folder: Path, stage: Path) -> None:
    new, current = stage / "new", stage / "current"
    names = _names(new)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sync(new / name)
    if len(names) > 1 and _can_link(stage):
        for name in names:
            _keep(folder / name, stage / "old" / name)
        (stage / "old").mkdir(exist_ok=True)
        os.symlink("old", current)
        sync(stage)
        for name in names:
            link = os.path.relpath(current / name, (folder / name).parent)
            _put_link(link, folder / name, stage)
        sync(folder)
        _put_link("new", current, stage)  # the atomic step
        sync(stage)
    for name in sorted(names, key=lambda name: name.name == "config.json"):
        os.replace(new / name, folder / name)
    sync(folder)


def _settle(folder: Path) -> None:
    """Turn links of earlier changes into their files; drop leftovers."""
    for stage in folder.glob(f"{PARTIAL}*"):
        if stage.is_symlink() or not stage.is_dir():
            continue
        for name in {*_names(stage / "old"), *_names(stage / "new")}:
            place, shown = folder / name, stage / "current" / name
            if place.is_symlink() and stage.name in os.readlink(place).split("/"):
                if os.path.lexists(shown):
                    os.replace(shown, place)
                else:
                    place.unlink()
        sync(folder)
        shutil.rmtree(stage)
    _sweep(folder)


def _names(folder: Path) -> list[Path]:
    """The files under a folder, relative to it."""
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def _keep(file: Path, copy: Path) -> None:
    """A second name for a file, if it exists."""
    if not os.path.lexists(file):
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink():
        os.symlink(os.path.realpath(file), copy)
        return
    try:
        os.link(file, copy)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(file, copy)


def _can_link(stage: Path) -> bool:
    try:
        os.symlink("new", stage / "link")
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    (stage / "link").unlink()
    return True


def _put_link(target: str, place: Path, stage: Path) -> None:
    os.symlink(target, stage / "link")
    os.replace(stage / "link", place)


def _reserve(folder: Path) -> tuple[int, Path]:
    """A new locked file: one that nobody holds is a leftover."""
    while True:
        path = folder / f"{PARTIAL}{secrets.token_hex(8)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if flock(fd) and os.fstat(fd).st_nlink:
            return fd, path
        os.close(fd)  # another writer has just swept it away


def _sweep(folder: Path) -> None:
    """Remove the files of killed writers."""
    with os.scandir(folder) as entries:
        found = [one for one in entries if one.name.startswith(PARTIAL)]
    for entry in found:
        if not entry.is_file(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):  # somebody else's
            fd = os.open(entry.path, os.O_RDWR)
            try:
                if flock(fd):
                    os.unlink(entry.path)
            finally:
                os.close(fd)


def _end_of_lines(stream: BinaryIO) -> int:
    """Where the last whole line of a file ends."""
    end = stream.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        stream.seek(start)
        place = stream.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


def sync(path: Path) -> None:
    """Flush a file, or the names of a folder, to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # cannot sync folders
            raise
    finally:
        os.close(fd)


def sync_new(path: Path) -> None:
    """The same for a new file and its name."""
    sync(path)
    sync(path.parent)
