"""Hugging Face checkpoints as pure functions over parameter pytrees."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.models.cache import KeyValueCache, empty_cache, rewind
    from helix_jax.models.checkpoint import Model, load_model, read_spec, save_model
    from helix_jax.models.families import FAMILIES, family_of
    from helix_jax.models.hub import model_folder, model_name
    from helix_jax.models.params import flatten, init_params, nest, parameter_shapes
    from helix_jax.models.spec import ModelSpec, RopeSpec
    from helix_jax.models.stack import LayersOutput, Stream, run_layers
    from helix_jax.models.tokenizer import check_vocabulary, load_tokenizer
    from helix_jax.models.transformer import (
        ModelOutput,
        apply_model,
        chosen_layers,
        resolve_layers,
    )
    from helix_jax.models.vocabulary import apply_head, embed, project_to_vocabulary

__all__ = [
    "FAMILIES",
    "KeyValueCache",
    "LayersOutput",
    "Model",
    "ModelOutput",
    "ModelSpec",
    "RopeSpec",
    "Stream",
    "apply_head",
    "apply_model",
    "check_vocabulary",
    "chosen_layers",
    "embed",
    "empty_cache",
    "family_of",
    "flatten",
    "init_params",
    "load_model",
    "load_tokenizer",
    "model_folder",
    "model_name",
    "nest",
    "parameter_shapes",
    "project_to_vocabulary",
    "read_spec",
    "resolve_layers",
    "rewind",
    "run_layers",
    "save_model",
]
lazy_names(__name__)
