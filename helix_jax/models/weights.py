"""The weight files of a folder, read tensor by tensor without running anything."""

import hashlib
import json
import mmap
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from helix_jax.errors import CheckpointError
from helix_jax.models.fill import PAGES
from helix_jax.models.folders import explain_weights

# safetensors' names of the floating-point types that weights may have.
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
LAYOUTS = (("model", ".safetensors"), ("pytorch_model", ".bin"))


class StoredTensor(NamedTuple):
    """One tensor of a checkpoint file, not yet read.

    Attributes:
      name: as in the file.
      kind: its dtype; "float32", "bfloat16", or the file's own name for others.
      shape: its shape.
      read: () -> the array, read-only; the bytes of kinds that are not in FLOATS.
      release: gives back the pages of the file that have been read, which count as
        memory of the process. They can be read again.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    release: Callable[[], object] = lambda: None


def index_shards(index: Path) -> list[str]:
    """The file names that an index.json lists.

    Raises:
      CheckpointError: it is damaged, or names files outside its folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        plain = [Path(name).name for name in names]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{index} is damaged ({type(error).__name__}). Fetch it again."
        ) from error
    if names != plain or not names:
        raise CheckpointError(f"{index} must name files beside it, got {names}.")
    return names


def has_weights(folder: Path) -> bool:
    """Whether a folder has a weight file, or an index of shards, of a known layout."""
    return any(
        (folder / f"{stem}{suffix}{index}").is_file()
        for stem, suffix in LAYOUTS
        for index in ("", ".index.json")
    )


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder: safetensors before .bin, one file before shards.

    Raises:
      CheckpointError: none, or a shard that the index names is missing.
    """
    for stem, suffix in LAYOUTS:
        if (folder / f"{stem}{suffix}").is_file():
            return [folder / f"{stem}{suffix}"]
        index = folder / f"{stem}{suffix}.index.json"
        if index.is_file():
            names = index_shards(index)
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise CheckpointError(
                    f"{folder}: {index.name} names shards that are missing: {missing}. "
                    "Fetch them again."
                )
            return [folder / name for name in names]
    raise CheckpointError(explain_weights(folder))


def stored_tensors(
    files: Sequence[Path], digests: list[bytes] | None = None
) -> Iterator[StoredTensor]:
    """Every tensor of the files; what is read is a view of the mapped file.

    Read each tensor before asking for the next, which releases it.

    Args:
      files: as from `weight_files`.
      digests: receives the SHA-256 of each file, for `digest_of`; a safetensors file
        is hashed tensor by tensor while its bytes are at hand.

    Raises:
      CheckpointError: a file is damaged, or holds more than weights.
    """
    for file in files:
        if file.suffix == ".safetensors":
            yield from _stored_safetensors(file, digests)
        else:
            yield from _stored_torch(file)
            if digests is not None:
                digests.append(sha256(file))


def digest(files: Sequence[Path]) -> str:
    """First 16 hex digits of the SHA-256 of the files' SHA-256."""
    return digest_of(map(sha256, files))


def digest_of(digests: Iterable[bytes]) -> str:
    """`digest`, given the SHA-256 of each file."""
    return hashlib.sha256(b"".join(map(bytes, digests))).hexdigest()[:16]


def sha256(file: Path) -> bytes:
    """The SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _stored_safetensors(
    file: Path, digests: list[bytes] | None
) -> Iterator[StoredTensor]:
    try:
        with safe_open(file, framework="numpy"):  # checks the header, sizes and bounds
            pass
        with file.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_damaged(file, error)) from error
    raw = np.frombuffer(mapped, np.uint8)
    begin = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:begin].tobytes())
    header.pop("__metadata__", None)
    whole = hashlib.sha256(raw[:begin])
    for name, about in sorted(header.items(), key=lambda one: one[1]["data_offsets"]):
        start, stop = (begin + offset for offset in about["data_offsets"])
        kind, shape = about["dtype"], tuple(about["shape"])
        kind = FLOATS.get(kind, kind)
        own = raw[start:stop]
        if kind in FLOATS.values():
            own = own.view(np.dtype(kind)).reshape(shape)
        release = partial(_release, mapped, start, stop)
        yield StoredTensor(name, kind, shape, partial(_same, own), release)
        for at in range(start, stop, PAGES) if digests is not None else ():
            whole.update(raw[at : min(at + PAGES, stop)])
            release()
        release()
    if digests is not None:
        digests.append(whole.digest())


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _release(mapped: mmap.mmap, start: int, stop: int) -> None:
    if hasattr(mapped, "madvise") and stop > start:
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, page, stop - page)


def _stored_torch(file: Path) -> Iterator[StoredTensor]:
    """Tensors of a pytorch_model.bin; no pickled code is executed."""
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            f"{file} needs torch to be read; install torch, or convert the weights to "
            "safetensors."
        ) from error
    try:
        # Files from before torch 1.6 are not zip archives and cannot be mapped.
        state = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is damaged, or holds more than weights, which is never run: "
            f"{str(error).splitlines()[0]}"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(_damaged(file, error)) from error
    tensors = isinstance(state, dict) and all(
        isinstance(value, torch.Tensor) for value in state.values()
    )
    if not tensors:
        raise CheckpointError(
            f"{file} must hold a flat dict of tensors; save model.state_dict() alone."
        )

    def read(tensor: Any) -> np.ndarray:
        if tensor.dtype == torch.bfloat16:
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    for name, tensor in state.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.is_quantized:
            kind = f"{kind}, sparse or quantised"
        yield StoredTensor(
            name, kind, tuple(tensor.shape), partial(read, tensor.detach())
        )


def _damaged(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        if stream.read(24).startswith(b"version https://git-lfs"):
            return f"{file} is a Git LFS pointer, not the weights; run git lfs pull."
    return f"{file} is damaged or incomplete: {error}. Fetch it again."
