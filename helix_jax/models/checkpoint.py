"""Hugging Face folders and hub ids -> models, and back."""

import copy
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.array_files import dump_safetensors
from helix_jax.atomic import replaced_files
from helix_jax.errors import CheckpointError
from helix_jax.models.adapter import WEIGHTS, merged_tensors, read_adapter
from helix_jax.models.adapter_config import has_adapter, read_base
from helix_jax.models.config import model_code
from helix_jax.models.config_file import read_config, read_raw_config
from helix_jax.models.convert import from_params, read_parts, without_absent_head
from helix_jax.models.dtypes import DTYPES, INT8, LOADED_DTYPES
from helix_jax.models.families import Family, family_of
from helix_jax.models.hub import (
    fetch_files,
    fetch_weights,
    model_folder,
    model_name,
    resolved_revision,
)
from helix_jax.models.mesh import mesh_for
from helix_jax.models.params import flatten, nest, parameter_shapes
from helix_jax.models.placing import cuts_of, place_parts, shared_digest
from helix_jax.models.quantised import parameter_bytes, quantise
from helix_jax.models.sharding import placements
from helix_jax.models.spec import ModelSpec
from helix_jax.models.weights import (
    digest,
    digest_of,
    has_weights,
    stored_tensors,
    weight_files,
)
from helix_jax.paths import local_path
from helix_jax.types import Array

LOG = logging.getLogger(__name__)


class Model(NamedTuple):
    """A loaded model.

    Attributes:
      spec: its architecture.
      params: its parameter pytree.
      fingerprint: JSON-able: model, revision (the commit of a hub id), dtype, weights,
        config, and adapter if there is one.
      folder: where its files are; for a separate adapter, the adapter's.
    """

    spec: ModelSpec
    params: dict
    fingerprint: dict[str, Any]
    folder: Path


@takes(name_or_path=kinds.PATH)
def load_model(
    name_or_path: str,
    *,
    dtype: str = "float32",
    revision: str | None = None,
    mesh: str = "",
) -> Model:
    """Load a Hugging Face folder or hub id.

    Args:
      name_or_path: a local folder, or an id such as "Qwen/Qwen2.5-0.5B"; either may
        hold a LoRA adapter, beside full weights or alone, which is merged.
      dtype: float32, bfloat16 or float16; the weights are cast to it. int8: kernels of
        the blocks are rounded to it (`models/quantised.py`), the rest is bfloat16.
      revision: branch, tag or commit of a hub id.
      mesh: the devices to split it over, such as "data:2,tensor:4" (`models/mesh.py`);
        "": the default device, or as few devices as can hold it.

    Returns:
      Model, with its parameters on these devices. A process reads only the parts for
      its own devices.

    Raises:
      CheckpointError: no such folder, missing or damaged shards, an architecture or a
        config attribute that is not supported, names or shapes that do not fit.
      MeshError: a mesh that does not fit the devices or the model.
    """
    if dtype not in LOADED_DTYPES:
        raise CheckpointError(
            f"dtype must be one of {list(LOADED_DTYPES)}, got {dtype!r}."
        )
    # The small files first: a refusal comes before any weights are fetched.
    source = find_source(name_or_path, revision)
    family, spec = read_family_spec(source.base)
    if code := model_code(read_raw_config(source.base)):
        LOG.warning(
            "%s: the code that its config.json names (%s) is not run; the model is "
            "computed as the %s of transformers.",
            model_name(name_or_path),
            ", ".join(map(str, code.values())),
            family.name,
        )
    kind = np.dtype(LOADED_DTYPES[dtype])
    needed = parameter_bytes(parameter_shapes(spec), dtype, kind.itemsize)
    devices = mesh_for(spec, mesh, parameter_bytes=needed)
    base = fetch_weights(source.base_name, source.base)
    files = weight_files(base)
    adapter = None
    if source.adapter is not None:
        adapter = read_adapter(fetch_files(name_or_path, source.adapter, WEIGHTS))
    names = [stored.name for stored in stored_tensors(files)]
    names += adapter.replaced if adapter else []
    spec = without_absent_head(spec, family, names)
    shapes, places = parameter_shapes(spec), placements(spec, devices)
    # If processes share a model, none reads all of it, so none can hash it alone.
    shared = devices is not None and devices.is_multi_process
    digests: list[bytes] = []
    tensors = stored_tensors(files, None if shared else digests)
    if adapter is not None:
        tensors = merged_tensors(tensors, adapter, family, spec)
    cuts = {path: cuts_of(shape, places[path]) for path, shape in shapes.items()}
    parts = read_parts(tensors, spec, family, cuts, dtype=kind, where=str(base))
    own = source.adapter or base
    record: dict[str, Any] = {
        "model": model_name(name_or_path),
        "revision": resolved_revision(own),
        "dtype": dtype,
        "weights": shared_digest(files) if shared else digest_of(digests),
        "config": digest([base / "config.json"]),
    }
    if adapter is not None:
        record["adapter"] = adapter.fingerprint
    # One by one: with an accelerator, host memory is freed as they go; a CPU uses these
    # arrays in place.
    params: dict[str, Array] = {}
    for path in list(parts):
        value = place_parts(parts.pop(path), shapes[path], places[path])
        params |= quantise({path: value}) if dtype == INT8 else {path: value}
    return Model(spec, nest(params), record, own)


class Source(NamedTuple):
    """The folders of a model's parts; only small files have been fetched.

    Attributes:
      base: the folder with config.json and the weights.
      base_name: the name or path that `model_folder` was given for it.
      adapter: the folder with an adapter, or None.
    """

    base: Path
    base_name: str
    adapter: Path | None


def find_source(name_or_path: str, revision: str | None = None) -> Source:
    """The folders of a model: its own, and that of its base if it is an adapter.

    As in transformers, an adapter beside weights in a local folder applies to those
    weights; a separate one, or one on the hub, applies to the model that it names.

    Raises:
      CheckpointError: no such folder, or the base is not available.
    """
    folder = model_folder(name_or_path, revision=revision, weights=False)
    if not has_adapter(folder):
        return Source(folder, name_or_path, None)
    local = resolved_revision(folder) is None
    if local and (folder / "config.json").is_file() and has_weights(folder):
        return Source(folder, name_or_path, folder)
    name, revision = read_base(folder)
    try:
        base = model_folder(name, revision=revision, weights=False)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder} is an adapter of {name!r}, which is not available: {error} Put "
            "its folder's path into base_model_name_or_path of adapter_config.json."
        ) from error
    if has_adapter(base):
        raise CheckpointError(
            f"{folder} is an adapter of {name!r}, which is an adapter itself or holds "
            "one; merge that one with peft first."
        )
    return Source(base, name, folder)


def read_spec(name_or_path: str, *, revision: str | None = None) -> ModelSpec:
    """The architecture of a Hugging Face folder or hub id, read without its weights.

    Raises:
      CheckpointError: no such folder, or an architecture that is not supported.
    """
    return read_family_spec(find_source(name_or_path, revision).base)[1]


def read_family_spec(folder: Path) -> tuple[Family, ModelSpec]:
    """The family of a folder's config.json, and the spec that it builds.

    Raises:
      UnsupportedError: the family does not compute something; the message names it.
      CheckpointError: no config, or an impossible one.
    """
    config = read_config(folder)
    family = family_of(config["model_type"])
    return family, family.spec_from_hf(config)


def save_model(
    folder: str | os.PathLike, params: dict, spec: ModelSpec, config: Any, *, dtype: str
) -> Path:
    """Write a model as a Hugging Face folder; its files change atomically.

    Args:
      folder: to write; a model there is replaced, other files (tokenizer, card) stay.
      params: the parameter pytree.
      spec: its architecture.
      config: the transformers config object that gave the spec.
      dtype: float32, bfloat16 or float16, of the stored weights.

    Returns:
      The folder, with config.json and model.safetensors.

    Raises:
      CheckpointError: an unknown dtype, parameters that are not those of the spec, or
        a folder that holds an adapter or cannot be written.
      PathError: not a local path.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype must be one of {list(DTYPES)}, got {dtype!r}.")
    folder = local_path(folder, "the folder of a model")
    if has_adapter(folder):
        raise CheckpointError(
            f"save_model: {folder} holds an adapter, which would be merged into the "
            "new weights when they are loaded; save to another folder, or remove its "
            "adapter_config.json and adapter_model files."
        )
    flat = {path: np.asarray(value, DTYPES[dtype]) for path, value in flatten(params)}
    if {path: value.shape for path, value in flat.items()} != parameter_shapes(spec):
        raise CheckpointError("save_model: params are not the parameters of the spec.")
    tensors = from_params(flat, spec, family_of(spec.family))
    config = copy.deepcopy(config)
    config.dtype = dtype
    with replaced_files(folder, raises=CheckpointError) as new:
        config.save_pretrained(new)
        dump_safetensors(new / "model.safetensors", tensors, metadata={"format": "pt"})
    return folder
