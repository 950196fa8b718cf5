"""Which engine computes a model's states: jax, if its family is native, or torch.

jax    families of `models/families`, in this library's own forward pass
torch  whatever transformers loads (`models/torch_engine`): other families, settings
       that a native family does not have, quantised weights, GGUF
auto   jax where it can, else torch, and says why
"""

import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from helix_jax.choices import ENGINES
from helix_jax.errors import CheckpointError, MeshError, UnsupportedError
from helix_jax.models.checkpoint import (
    Model,
    find_source,
    load_model,
    read_family_spec,
    read_spec,
)
from helix_jax.models.config_file import read_raw_config
from helix_jax.models.families import FAMILIES
from helix_jax.models.hub import model_name
from helix_jax.models.spec import ModelSpec
from helix_jax.models.torch_engine import (
    TorchModel,
    TorchSpec,
    load_torch_model,
    read_torch_spec,
)
from helix_jax.models.torch_engine.library import has_torch
from helix_jax.models.wrappers import WRAPPERS

LOG = logging.getLogger(__name__)


def load_model_by(
    engine: str,
    name_or_path: str,
    *,
    dtype: str = "float32",
    revision: str | None = None,
    mesh: str = "",
) -> Model | TorchModel:
    """Load a model for `extract`, by an engine.

    Args:
      engine: "auto", "jax" or "torch".
      name_or_path, dtype, revision, mesh: as for `load_model`.

    Raises:
      CheckpointError: as `load_model` and `load_torch_model`.
      MeshError: as `load_model`, or a mesh for torch.
    """
    chosen, reason = choose_engine(engine, name_or_path, revision=revision)
    name = model_name(name_or_path)
    if reason is not None:
        LOG.warning("%s: run by the torch engine, since %s", name, reason)
    if chosen == "torch" and mesh:
        raise MeshError(
            f"{name} is run by the torch engine, which puts it on one device; leave "
            f"the mesh {mesh!r} out."
        )
    load = load_torch_model if chosen == "torch" else partial(load_model, mesh=mesh)
    with _telling(reason):
        return load(name_or_path, dtype=dtype, revision=revision)


def read_spec_by(
    engine: str, name_or_path: str, *, revision: str | None = None
) -> ModelSpec | TorchSpec:
    """The spec of a model for an engine, read without its weights.

    Raises:
      CheckpointError: as `read_spec`, or torch is needed and not installed.
    """
    chosen, reason = choose_engine(engine, name_or_path, revision=revision)
    if chosen == "jax":
        return read_spec(name_or_path, revision=revision)
    with _telling(reason):
        return read_torch_spec(find_source(name_or_path, revision).base)


class Choice(NamedTuple):
    """An engine, and why "auto" chose it instead of jax.

    Attributes:
      engine: "jax" or "torch".
      reason: a sentence; None if jax runs the model, or an engine was requested.
    """

    engine: str
    reason: str | None


def choose_engine(
    engine: str, name_or_path: str, *, revision: str | None = None
) -> Choice:
    """The engine, or for "auto" the first that can run the model.

    Raises:
      CheckpointError: an unknown engine, or a model for torch, which is not installed.
    """
    if engine not in ENGINES:
        raise CheckpointError(f"engine must be one of {ENGINES}, got {engine!r}.")
    if engine != "auto":
        return Choice(engine, None)
    folder = find_source(name_or_path, revision).base
    reason = why_not_native(folder)
    if reason is None:
        return Choice("jax", None)
    if not has_torch():
        raise CheckpointError(
            f"{folder} is not run by the JAX engine, since {reason} The torch engine "
            "(--engine=torch), which is not installed, may run it: pip install "
            "'helix_jax[torch]'."
        )
    return Choice("torch", reason)


def why_not_native(folder: Path) -> str | None:
    """A sentence on why the JAX engine does not run a folder; None if it does.

    Also None if no engine runs it: damage is reported when the folder is loaded.
    """
    if not (folder / "config.json").is_file():
        return "its weights are GGUF." if any(folder.glob("*.gguf")) else None
    raw = read_raw_config(folder)
    if raw["model_type"] not in {*FAMILIES, *WRAPPERS}:
        return f"its model_type is {raw['model_type']!r}, which is not native."
    if raw.get("quantization_config"):
        return "its weights are quantised."
    try:
        read_family_spec(folder)
    except UnsupportedError as error:
        return f"{error}"
    except CheckpointError:
        return None
    return None


@contextlib.contextmanager
def _telling(reason: str | None) -> Iterator[None]:
    """Add to torch's refusals why jax does not run the model either."""
    try:
        yield
    except CheckpointError as error:
        if reason is None:
            raise
        raise CheckpointError(
            f"{error} The JAX engine does not run it either, since {reason}"
        ) from error
