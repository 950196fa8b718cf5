"""Which engine computes a model's states: jax, where its family is native, or torch.

jax    families of `models/families`, in this library's own forward pass
torch  whatever transformers loads (`models/torch_engine`): other families,
       quantised weights, GGUF
auto   jax where it can, else torch
"""

import logging
from pathlib import Path

from helix_jax.errors import CheckpointError
from helix_jax.models.checkpoint import Model, find_source, load_model, read_spec
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
from helix_jax.models.wrappers import WRAPPERS, text_type

LOG = logging.getLogger(__name__)
ENGINES = ("auto", "jax", "torch")


def load_model_by(
    engine: str,
    name_or_path: str,
    *,
    dtype: str = "float32",
    revision: str | None = None,
) -> Model | TorchModel:
    """Load a model for `extract`, by an engine.

    Args:
      engine: "auto", "jax" or "torch".
      name_or_path, dtype, revision: as for `load_model`.

    Raises:
      CheckpointError: as `load_model` and `load_torch_model`.
    """
    chosen = choose_engine(engine, name_or_path, revision=revision)
    load = load_torch_model if chosen == "torch" else load_model
    if engine == "auto":
        level = logging.WARNING if chosen == "torch" else logging.INFO
        LOG.log(level, "%s: run by the engine %s.", model_name(name_or_path), chosen)
    return load(name_or_path, dtype=dtype, revision=revision)


def read_spec_by(
    engine: str, name_or_path: str, *, revision: str | None = None
) -> ModelSpec | TorchSpec:
    """The sizes of a model as an engine has them, read without its weights.

    Raises:
      CheckpointError: as `read_spec`, or torch is needed and not installed.
    """
    if choose_engine(engine, name_or_path, revision=revision) == "jax":
        return read_spec(name_or_path, revision=revision)
    return read_torch_spec(find_source(name_or_path, revision).base)


def choose_engine(
    engine: str, name_or_path: str, *, revision: str | None = None
) -> str:
    """The engine, or for "auto" the one that can: "jax" or "torch".

    Raises:
      CheckpointError: another word, or a model that torch would run, which is not
        installed.
    """
    if engine not in ENGINES:
        raise CheckpointError(f"engine must be one of {ENGINES}, got {engine!r}.")
    if engine != "auto":
        return engine
    folder = find_source(name_or_path, revision).base
    reason = why_not_native(folder)
    if reason is None:
        return "jax"
    if not has_torch():
        raise CheckpointError(
            f"{folder}: {reason}, which the engine jax does not run; the engine torch, "
            "which is not installed, may: pip install 'helix_jax[torch]'."
        )
    return "torch"


def why_not_native(folder: Path) -> str | None:
    """What the engine jax does not run of a folder, in words; None where it does."""
    if not (folder / "config.json").is_file():
        return "its weights are GGUF" if any(folder.glob("*.gguf")) else None
    raw = read_raw_config(folder)
    if raw["model_type"] not in {*FAMILIES, *WRAPPERS}:
        return f"its model_type is {raw['model_type']!r}"
    if (kind := text_type(raw)) not in {*FAMILIES, None}:
        return f"its text part is {kind!r}"
    return "its weights are quantised" if raw.get("quantization_config") else None
