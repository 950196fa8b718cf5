"""Hugging Face folders and hub ids -> models, and back."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from helix_jax.errors import CheckpointError
from helix_jax.models.convert import from_params, to_params
from helix_jax.models.families import Family, family_of
from helix_jax.models.params import flatten, nest
from helix_jax.models.spec import ModelSpec

DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
HUB_FILES = ["*.json", "tokenizer*", "*.model", "*.txt", "*.jinja"]


class Model(NamedTuple):
    """A loaded model.

    Attributes:
      spec: its architecture.
      params: its parameter pytree.
      fingerprint: JSON-able: model, revision, dtype, weights.
      folder: where its files are.
    """

    spec: ModelSpec
    params: dict
    fingerprint: dict[str, Any]
    folder: Path


def load_model(
    name_or_path: str, *, dtype: str = "float32", revision: str | None = None
) -> Model:
    """Load a Hugging Face folder or hub id.

    Args:
      name_or_path: a local folder, or an id such as "Qwen/Qwen2.5-0.5B".
      dtype: float32, bfloat16 or float16; the weights are cast to it.
      revision: branch, tag or commit of a hub id.

    Returns:
      Model, its parameters on the default device.

    Raises:
      CheckpointError: no such folder, missing or damaged shards, an architecture or a
        config attribute that is not supported, names or shapes that do not fit.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype must be one of {list(DTYPES)}, got {dtype!r}.")
    folder = model_folder(name_or_path, revision=revision)
    config = read_config(folder)
    family = family_of(config["model_type"])
    spec = family.spec_from_hf(config)
    files = weight_files(folder)
    tensors = _named(_read_tensors(files), family, spec, folder)
    flat = to_params(
        tensors, spec, family.rules, dtype=DTYPES[dtype],
        ignored=family.ignored, where=str(folder),
    )  # fmt: skip
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    record = {
        "model": model_name(name_or_path),
        "revision": revision,
        "dtype": dtype,
        "weights": digest.hexdigest()[:16],
    }
    params = nest({path: jnp.asarray(value) for path, value in flat.items()})
    return Model(spec, params, record, folder)


def model_name(name_or_path: str) -> str:
    """A hub id as it is, a folder by its last part: not where it lies, what it is."""
    path = Path(name_or_path)
    return path.resolve().name if path.is_dir() else name_or_path


def model_folder(name_or_path: str, *, revision: str | None = None) -> Path:
    """The local folder of a model, fetched from the hub where it is not a folder.

    Raises:
      CheckpointError: neither a folder with config.json nor a hub id that can be had.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(f"{path} has no config.json; is it a model folder?")
        return path
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name_or_path) or path.suffix in (
        ".safetensors", ".bin",
    ):  # fmt: skip
        raise CheckpointError(
            f"{name_or_path!r} is neither a folder here nor a hub id; name a folder "
            "with config.json and *.safetensors."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def fetch(weights: str) -> Path:
        patterns = [*HUB_FILES, weights]
        return Path(
            snapshot_download(name_or_path, revision=revision, allow_patterns=patterns)
        )

    try:
        folder = fetch("*.safetensors")
        return folder if any(folder.glob("*.safetensors")) else fetch("*.bin")
    except (
        HfHubHTTPError, HFValidationError, LocalEntryNotFoundError,
        RepositoryNotFoundError, RevisionNotFoundError, OSError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{name_or_path!r} is no folder here and the hub did not give it "
            f"(revision {revision or 'main'}): {type(error).__name__}. Check the name, "
            "the network, and access rights (HF_TOKEN)."
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.json through transformers, which fills in defaults and older spellings.

    Raises:
      CheckpointError: unreadable, without model_type, or for code outside transformers.
    """
    from transformers import AutoConfig

    try:
        raw = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder}/config.json cannot be read: {error}"
        ) from error
    if "model_type" not in raw:
        raise CheckpointError(f"{folder}/config.json names no model_type.")
    family_of(raw["model_type"])
    config = AutoConfig.from_pretrained(folder).to_dict()
    # Attributes that transformers moved to a newer spelling while reading.
    return {k: v for k, v in config.items() if k not in ("rope_theta", "rope_scaling")}


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder, safetensors before pytorch_model.bin.

    Raises:
      CheckpointError: none, or a shard that the index names is missing.
    """
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        index = folder / f"{stem}{suffix}.index.json"
        if index.is_file():
            try:
                names = sorted(
                    set(json.loads(index.read_text())["weight_map"].values())
                )
            except (ValueError, KeyError, AttributeError) as error:
                raise CheckpointError(f"{index} is damaged: {error!r}") from error
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise CheckpointError(
                    f"{folder}: {index.name} names shards that are missing: {missing}. "
                    "Fetch them again."
                )
            return [folder / name for name in names]
        if (folder / f"{stem}{suffix}").is_file():
            return [folder / f"{stem}{suffix}"]
    raise CheckpointError(
        f"{folder} has no weights: expected model.safetensors, pytorch_model.bin, or "
        "an index.json with shards."
    )


def save_model(
    folder: str | os.PathLike, params: dict, spec: ModelSpec, config: Any, *, dtype: str
) -> Path:
    """Write a model as a Hugging Face folder, atomically.

    Args:
      folder: where; must not exist, or be a model folder to be replaced.
      params: the parameter pytree.
      spec: its architecture.
      config: the transformers config object that gave the spec.
      dtype: float32, bfloat16 or float16, of the stored weights.

    Returns:
      The folder, with config.json and model.safetensors.
    """
    folder = Path(folder)
    flat = {path: np.asarray(value, DTYPES[dtype]) for path, value in flatten(params)}
    tensors = from_params(flat, spec, family_of(spec.family).rules)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        config.dtype = dtype
        config.save_pretrained(temporary)
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        folder.mkdir(exist_ok=True)
        for file in temporary.iterdir():
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _read_tensors(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) of every tensor, one at a time."""
    for file in files:
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="numpy") as handle:
                    for name in handle.keys():  # noqa: SIM118 - not a mapping
                        yield name, handle.get_tensor(name)
            else:
                yield from _read_torch(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is damaged or incomplete: {error}. Fetch it again."
            ) from error


def _read_torch(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors of a pytorch_model.bin, read without executing what it pickles."""
    import pickle

    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            f"{file} needs torch to be read; install torch, or convert the weights to "
            "safetensors."
        ) from error
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{file} is damaged, or holds more than weights: {error}"
        ) from error
    for name, tensor in state.items():
        if tensor.dtype == torch.bfloat16:
            yield name, tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        else:
            yield name, tensor.numpy()


def _named(
    tensors: Iterator[tuple[str, np.ndarray]],
    family: Family,
    spec: ModelSpec,
    folder: Path,
) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors under the names of the family's rules, tied copies checked and dropped."""
    known = [rule.name.split("{}")[0] for rule in family.rules]
    bare = {
        name.removeprefix(family.prefix).split(".")[0]
        for name in known
        if name.startswith(family.prefix)
    }
    heads = {r.name for r in family.rules if r.paths == ("head/kernel",)}
    embeds = {r.name for r in family.rules if r.paths == ("embed",)}
    copies: dict[str, str] = {}
    for name, tensor in tensors:
        for pattern, replacement in family.renamed:
            name = re.sub(pattern, replacement, name)
        if not name.startswith(family.prefix) and name.split(".")[0] in bare:
            name = family.prefix + name
        if spec.head is None and name in heads:
            continue
        if spec.tied and spec.head is not None and name in heads | embeds:
            copies[name] = hashlib.sha256(np.ascontiguousarray(tensor).data).hexdigest()
            if name in heads:
                continue
        yield name, tensor
    if len(set(copies.values())) > 1:
        raise CheckpointError(
            f"{folder}: the config ties the output head to the embedding, but the "
            f"checkpoint holds different tensors for {sorted(copies)}."
        )
