"""Reads config.json of a model folder without losing any setting."""

import copy
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError, UnsupportedError
from helix_jax.models.config import READ_ANYWAY, ConfigReader, is_defined
from helix_jax.models.families import FAMILIES, family_of
from helix_jax.models.folders import explain_folder
from helix_jax.models.wrappers import WRAPPERS, take_text
from helix_jax.textfile import read_json
from helix_jax.transformers_names import transformers_names

# Older spellings that transformers turns into `rope_parameters`.
ROPE_SPELLINGS = frozenset(
    """
    rope_theta rope_scaling rope_local_base_freq rotary_emb_base rotary_pct
    partial_rotary_factor
    """.split()
)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, with transformers' defaults and newer spellings filled in.

    Attributes that transformers drops are kept, so that `ConfigReader` sees them. For a
    multimodal model the text part is returned.

    Raises:
      CheckpointError: missing, unreadable, not supported, not valid for its model_type,
        or with an architecture that does not belong to it.
    """
    from huggingface_hub.errors import StrictDataclassError

    CONFIG_MAPPING, GenerationConfig = transformers_names(
        "CONFIG_MAPPING", "GenerationConfig"
    )

    file = folder / "config.json"
    raw = read_raw_config(folder)
    kind = raw["model_type"]
    if kind not in WRAPPERS:
        family_of(kind)
    check_architectures(raw, file)
    try:
        config = CONFIG_MAPPING[kind].from_dict(copy.deepcopy(raw))
        full = config.to_dict()
    except (
        StrictDataclassError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise CheckpointError(
            f"{file} is not a valid {kind} config: {' '.join(str(error).split())}"
        ) from error
    # Generation settings move to a separate file, aliases to one name.
    moved = set(GenerationConfig().to_dict()) | set(config.attribute_map)
    full = _with_dropped(raw, full, moved, file)
    if kind not in WRAPPERS:
        return full
    outer = ConfigReader(full)
    text = take_text(outer, raw)
    if text["model_type"] not in FAMILIES:
        raise UnsupportedError(
            f"{file}: the text part of this {kind} model is {text['model_type']!r}, "
            f"which is not supported; supported are {', '.join(sorted(FAMILIES))}."
        )
    for name in set(full) - READ_ANYWAY.keys():  # of the parts that are not loaded
        if is_defined(kind, name):
            outer.take(name, None)
    outer.finish()
    # Without a text_config transformers uses all its own defaults.
    return _with_dropped(raw.get("text_config") or {}, text, moved, file)


def read_raw_config(folder: Path) -> dict[str, Any]:
    """config.json as written.

    Raises:
      CheckpointError: missing, unreadable, or without a model_type.
    """
    file = folder / "config.json"
    if not file.exists():
        raise CheckpointError(explain_folder(folder))
    raw = read_json(file, raises=CheckpointError)
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise CheckpointError(f"{file} names no model_type; is it a model's config?")
    return raw


def check_architectures(raw: Mapping[str, Any], file: Path) -> None:
    """Refuse classes that transformers does not have for a config's model type.

    A custom class computes whatever its code says, even with the weights of a known
    model: bidirectional attention, another head, more layers.

    Raises:
      CheckpointError: there are such classes; the message names them.
    """
    from transformers.models.auto.configuration_auto import (
        CONFIG_MAPPING_NAMES,
        model_type_to_module_name,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_MAPPING_NAMES,
    )

    kind, names = raw["model_type"], raw.get("architectures")
    module = importlib.import_module(
        f"transformers.models.{model_type_to_module_name(kind)}"
    )
    known = set(dir(module))
    borrowed = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if borrowed is not None and borrowed not in known:
        # transformers runs it with another model's classes instead of its authors'.
        own = CONFIG_MAPPING_NAMES[kind].removesuffix("Config")
        known |= {borrowed, MODEL_MAPPING_NAMES.get(kind, borrowed)}
        known |= {f"{own}ForCausalLM", f"{own}Model"}
    known = {name.lower() for name in known}  # some configs say LLaMAForCausalLM
    names = [] if names is None else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{file}: 'architectures' must be a list of names, got {names!r}."
        )
    foreign = [name for name in names if name.lower() not in known]
    if foreign:
        raise CheckpointError(
            f"{file} names the architecture {', '.join(foreign)}, which is no class of "
            f"transformers for model_type {kind!r}: it computes something other than "
            f"{kind} does, in code that is not run here. Use a model whose "
            "architectures are transformers' own."
        )


def _with_dropped(
    raw: Mapping[str, Any], full: Mapping[str, Any], moved: set[str], file: Path
) -> dict[str, Any]:
    """The full config and the file's extra settings, except old rope spellings."""
    rope = full.get("rope_parameters")
    spellings = ROPE_SPELLINGS if "rope_parameters" in full else frozenset()
    for name in ("rope_theta", "rotary_emb_base"):
        theta = raw.get(name)
        if rope and theta and rope.get("rope_theta", theta) != theta:
            raise CheckpointError(
                f"{file} gives {name} as {theta} and as {rope['rope_theta']} in "
                "rope_parameters; remove the wrong one."
            )
    part = raw.get("partial_rotary_factor")
    if rope and part not in (None, 1) and "partial_rotary_factor" not in str(rope):
        raise CheckpointError(
            f"{file}: partial_rotary_factor {part} is given outside rope_parameters, "
            "which do not contain it; move it there, or remove it if the whole of each "
            "head is rotated."
        )
    kept = {name: value for name, value in full.items() if name not in spellings}
    gone = moved | spellings | set(full)
    return kept | {name: value for name, value in raw.items() if name not in gone}
