"""Named arrays in one file, safetensors or npz, which is replaced atomically."""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from helix_jax.atomic import replaced_file, write_file
from helix_jax.errors import HelixError, PathError
from helix_jax.paths import os_errors

# numpy's names -> those of the file format
_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def write_safetensors(
    path: str | os.PathLike,
    arrays: Mapping[str, Any],
    *,
    metadata: Mapping[str, str] | None = None,
    raises: type[HelixError] = PathError,
) -> None:
    """Write arrays as a safetensors file, replaced atomically.

    Args:
      path: the file.
      arrays: name -> array.
      metadata: strings for the header.
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; it cannot be written, and the old one is intact.
      TypeError: a dtype that the format lacks.
    """
    with replaced_file(path, raises=raises) as temporary:
        dump_safetensors(temporary, arrays, metadata=metadata)


def dump_safetensors(
    path: Path, arrays: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the bytes of `safetensors.numpy.save` without holding them all in memory.

    safetensors' own `save_file` makes files that other users cannot read, and its
    errors hide the operating system's message.

    Raises:
      OSError: it cannot be written.
      TypeError: a dtype that the format lacks.
    """
    parts = {name: np.asarray(value) for name, value in arrays.items()}
    for name, part in parts.items():
        if part.dtype.name not in _TYPES:
            raise TypeError(f"{name}: safetensors cannot hold dtype {part.dtype}.")
    # Wider types first, so that all are aligned.
    order = sorted(parts, key=lambda name: (-parts[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name in order:
        part = parts[name]
        header[name] = {
            "dtype": _TYPES[part.dtype.name],
            "shape": list(part.shape),
            "data_offsets": [start, start + part.nbytes],
        }
        start += part.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            part = np.ascontiguousarray(parts[name])
            swapped = part.astype(part.dtype.newbyteorder("<"), copy=False)
            stream.write(swapped.reshape(-1).view(np.uint8).data)


def read_safetensors(
    path: str | os.PathLike, *, remedy: str, raises: type[HelixError] = PathError
) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file.

    Args:
      path: the file.
      remedy: what to do if it is damaged, a sentence without its period.
      raises: class of the error.

    Raises:
      HelixError: of class `raises`; missing, unreadable or damaged.
    """
    with os_errors(path, "be read", raises):
        with open(path, "rb"):  # the library's own error hides the system's
            pass
        try:
            return load_file(path)
        except (SafetensorError, ValueError, KeyError) as error:
            raise raises(f"{path} is damaged ({error}); {remedy}.") from error


def map_safetensors(path: Path, name: str) -> np.ndarray:
    """One array of an intact safetensors file, read from disk as it is used.

    Args:
      path: the file.
      name: of the array.

    Returns:
      A read-only memory map.
    """
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(size))[name]
    kinds = {kind: dtype for dtype, kind in _TYPES.items()}
    dtype = np.dtype(kinds[entry["dtype"]])
    offset = 8 + size + entry["data_offsets"][0]
    return np.memmap(path, dtype, "r", offset, tuple(entry["shape"]))


def write_npz(
    path: str | os.PathLike,
    arrays: Mapping[str, Any],
    *,
    compressed: bool = True,
    raises: type[HelixError] = PathError,
) -> None:
    """Write arrays as an .npz file, replaced atomically; see `write_file`."""
    write_file(path, dump_npz(arrays, compressed=compressed), raises=raises)


def dump_npz(arrays: Mapping[str, Any], *, compressed: bool = True) -> bytes:
    """The bytes of an .npz file."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, **arrays)
    return buffer.getvalue()


def read_npz(
    path: str | os.PathLike,
    *,
    remedy: str,
    names: Sequence[str] | None = None,
    raises: type[HelixError] = PathError,
) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, or those named; errors as for `read_safetensors`."""
    with os_errors(path, "be read", raises), Path(path).open("rb") as stream:
        return load_npz(stream, path, remedy=remedy, names=names, raises=raises)


def load_npz(
    stream: BinaryIO,
    name: str | os.PathLike,
    *,
    remedy: str,
    names: Sequence[str] | None = None,
    raises: type[HelixError] = PathError,
) -> dict[str, np.ndarray]:
    """As `read_npz`, from an open file; messages call it by `name`."""
    try:
        found = np.load(stream, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            raise raises(f"{name} is not an .npz file of arrays; {remedy}.")
        chosen = found.files if names is None else names
        return {one: found[one] for one in chosen}
    except (
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        if isinstance(error, HelixError):
            raise
        raise raises(f"{name} is damaged ({error}); {remedy}.") from error
