"""Early checks of what flags name: models, layers, embeddings, corpora."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from helix_jax.activations import load_embeddings
from helix_jax.activations.captured import check_captured, is_captured
from helix_jax.activations.embedding_files import READERS
from helix_jax.activations.extraction import Extraction
from helix_jax.activations.recipe import AUTO, Recipe, choose_recipe
from helix_jax.errors import (
    CheckpointError,
    CorpusError,
    MeshError,
    RunError,
    StoreError,
)
from helix_jax.models import ModelSpec, resolve_layers
from helix_jax.models.checkpoint import find_source
from helix_jax.models.dtypes import INT8
from helix_jax.models.engines import read_spec_by
from helix_jax.models.mesh import check_mesh, parse_mesh
from helix_jax.models.tokenizer_place import find_tokenizer
from helix_jax.models.torch_engine import TorchSpec
from helix_jax.runs.prepare import IMPORTED
from helix_jax.text.corpora import check_corpus

Spec = ModelSpec | TorchSpec
_COLUMNS = ("text_column", "pair_column", "label_column", "id_column")


def check_inputs(config: Any) -> dict[str, Spec | None]:
    """Check that what a config names exists; no weights and no texts are read.

    Args:
      config: a prepared config; its fields declare what they name, see `option`; the
        layers of a model flag NAME are in NAME_layer, NAME_layers or layers.

    Returns:
      Model as named -> its architecture, None for embeddings made elsewhere.

    Raises:
      RunError: names the flag, and says what is wrong with its value.
    """
    specs: dict[str, Spec | None] = {}
    for field in dataclasses.fields(config):
        value, names = getattr(config, field.name), field.metadata.get("names")
        if names == "corpora" and value:
            own = field.name == "data"
            columns = {name: getattr(config, name, "") for name in _COLUMNS if own}
            with naming(field.name):
                check_corpus(value, **{k: v for k, v in columns.items() if v})
        for one in value if isinstance(value, tuple) else (value,):
            if not one:
                continue
            if names == "tokenizer":
                with naming(field.name):
                    find_tokenizer(one)
            if names == "side":
                _require_prefix(field.name, one)
            if names == "side" and one.startswith(IMPORTED):
                specs[one] = None
                with naming(field.name):
                    _check_imported(config, field.name, one.removeprefix(IMPORTED))
            elif names in ("side", "model"):
                specs[one] = _check_model(config, field.name, one)
    return specs


def refuse_slow_dtype(config: Any) -> None:
    """Refuse bfloat16, and int8, which computes in bfloat16, where they are slower.

    Not part of `check_inputs`, since it asks JAX for its devices, which only one
    process can hold.

    Raises:
      RunError: the JAX engine would run a model in bfloat16 on a CPU.
    """
    dtype = getattr(config, "dtype", "")
    if dtype not in ("bfloat16", INT8) or jax.default_backend() != "cpu":
        return
    if any(isinstance(spec, ModelSpec) for spec in check_inputs(config).values()):
        raise RunError(
            f"--dtype={dtype}: a CPU computes in float32 and casts before and after "
            "each operation, which took 1.4 times as long as float32 itself "
            "(SmolLM2-135M, two cores); leave --dtype out, or run on a GPU or TPU."
        )


@contextlib.contextmanager
def naming(flag: str) -> Iterator[None]:
    """Put the name of a flag before errors about its value."""
    try:
        yield
    except (CheckpointError, CorpusError, MeshError, StoreError) as error:
        raise RunError(f"--{flag}: {error}") from error


def _check_model(config: Any, flag: str, name: str) -> Spec:
    """The architecture of a flag's model, which must have the flags' layers."""
    if name.startswith(IMPORTED):
        raise RunError(
            f"--{flag}={name}: this program runs the model itself, so embeddings made "
            "elsewhere cannot replace it; name a model."
        )
    revision = getattr(config, "revision", "") or None
    with naming(flag):
        spec = read_spec_by(getattr(config, "engine", "jax"), name, revision=revision)
        find_tokenizer(name, revision=revision)
        longest = getattr(config, "max_tokens", 0)
        if hasattr(config, "prompt_name"):
            longest = side_recipe(config, name, spec).max_tokens
    _require_budget(config, name, min(longest, spec.max_tokens))
    if getattr(config, "mesh", ""):
        if isinstance(spec, TorchSpec):
            raise RunError(
                f"--mesh={config.mesh}: {name} is run by the torch engine, which puts "
                "it on one device; leave --mesh out."
            )
        with naming("mesh"):
            check_mesh(spec, parse_mesh(config.mesh))  # not the number of devices
    for flag_of_layers in (f"{flag}_layer", f"{flag}_layers", "layers"):
        layers = getattr(config, flag_of_layers, ())
        layers = layers if isinstance(layers, Sequence) else (layers,)
        if layers:
            try:
                resolve_layers(spec, layers)
            except ValueError as error:
                raise RunError(f"--{flag_of_layers} of {name}: {error}") from error
    return spec


def side_recipe(config: Any, name: str, spec: Spec, layer: int = -1) -> Recipe:
    """How a model of the flags turns texts into vectors, without its weights."""
    place = find_source(name, getattr(config, "revision", "") or None)
    folder, wanted = place.adapter or place.base, extraction_of(config, (layer,))
    return choose_recipe(spec, folder, wanted, name=name)


def extraction_of(config: Any, layers: Sequence[int]) -> Extraction:
    """The extraction that the flags describe."""
    return Extraction(
        layers,
        config.final_norm,
        config.pooling,
        config.max_tokens or None,
        config.prompt_name,
        token_budget=config.token_budget or "auto",
        window=config.window or None,
    )


def captured_flags(config: Any, layer: int) -> dict[str, Any]:
    """The flags' options for states captured elsewhere, see `load_captured`."""
    pooling = "mean" if config.pooling == AUTO else config.pooling
    return {"layer": layer, "pooling": pooling, "final_norm": config.final_norm}


def _check_imported(config: Any, flag: str, file: str) -> None:
    """Raise if embeddings made elsewhere are not what the flags ask for."""
    if is_captured(file):
        layer = getattr(config, f"{flag}_layer", -1)
        check_captured(file, **captured_flags(config, layer))
    else:
        load_embeddings(file)


def _require_prefix(flag: str, name: str) -> None:
    """Raise if a file of embeddings is named like a model."""
    if not name.startswith(IMPORTED) and Path(name).suffix.lower() in READERS:
        raise RunError(
            f"--{flag}={name} is not a model; for a file of embeddings write "
            f"{IMPORTED}{name}."
        )


def _require_budget(config: Any, name: str, longest: int) -> None:
    """Raise if a batch of the flags has no room for the longest text."""
    budget = getattr(config, "token_budget", 0)
    if 0 < budget < longest:
        raise RunError(
            f"--token_budget={budget} has no room for a text of {longest} tokens, "
            f"which --max_tokens allows with {name}; raise one or lower the other."
        )
