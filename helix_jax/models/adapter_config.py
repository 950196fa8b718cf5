"""adapter_config.json: how an adapter of peft is merged, and into which modules."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import is_number
from helix_jax.textfile import read_json

CONFIG = "adapter_config.json"

# Fields of a LoRA config that affect merging, and those that do not.
_MERGE = frozenset(
    """
    peft_type base_model_name_or_path revision r lora_alpha use_rslora rank_pattern
    alpha_pattern target_modules exclude_modules layers_to_transform layers_pattern
    modules_to_save bias fan_in_fan_out init_lora_weights
    """.split()
)
_INERT = frozenset(
    """
    auto_mapping peft_version inference_mode task_type lora_dropout megatron_core
    runtime_config qalora_group_size
    """.split()
)
# Settings that hold regular expressions, or names that are used as such.
_PATTERNS = (
    "target_modules",
    "exclude_modules",
    "modules_to_save",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
)
# Initial values that leave the base unchanged; the others first subtract a part of it.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva")


def has_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of peft."""
    return (folder / CONFIG).is_file()


def read_settings(folder: Path) -> dict[str, Any]:
    """The adapter_config.json of a folder.

    Raises:
      CheckpointError: a kind of adapter, or a setting, that is not honoured.
    """
    file = folder / CONFIG
    config = read_json(file, raises=CheckpointError)
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise CheckpointError(
            f"{file}: peft_type is {kind!r}; only LORA can be merged. Adapters of "
            "other kinds change the model in other ways: merge it with "
            "merge_and_unload() of peft if peft can, and save the result."
        )
    unknown = {
        name: value
        for name, value in config.items()
        if name not in _MERGE | _INERT and value not in (None, False, {}, [])
    }
    if config.get("init_lora_weights") not in _PLAIN_STARTS:
        unknown["init_lora_weights"] = config["init_lora_weights"]
    if config.get("bias") not in (None, "none", "all", "lora_only"):
        unknown["bias"] = config["bias"]
    if type(config.get("r", 8)) is not int:
        unknown["r"] = config["r"]
    if not is_number(config.get("lora_alpha", 8)):
        unknown["lora_alpha"] = config["lora_alpha"]
    if config.get("use_rslora") not in (None, True, False):
        unknown["use_rslora"] = config["use_rslora"]
    for name in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(name) or {}
        if not isinstance(patterns, dict) or not all(
            is_number(value) for value in patterns.values()
        ):
            unknown[name] = config[name]
    for name in _PATTERNS:
        if not _are_patterns(config.get(name)):
            unknown[name] = config[name]
    if unknown:
        raise CheckpointError(
            f"{file}: {unknown} are not honoured, so the merged weights would be "
            "wrong; merge it with merge_and_unload() of peft and save the result."
        )
    return config


def _are_patterns(value: Any) -> bool:
    """Whether all strings in a setting are valid regular expressions."""
    try:
        for one in [value] if isinstance(value, str) else value or ():
            re.compile(one)
    except (re.error, TypeError):
        return False
    return True


def read_base(folder: Path) -> tuple[str, str | None]:
    """The name of the model that a folder's adapter was trained on, and its revision.

    Raises:
      CheckpointError: it names none, or its kind is refused.
    """
    config = read_settings(folder)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(
            f"{folder / CONFIG} names no base model; put its folder or hub id into "
            "base_model_name_or_path."
        )
    return name, config.get("revision") or None


def by_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """The value of the first pattern that a module's name ends with."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _listed(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, str | int) else (value or [])


def is_target(config: Mapping[str, Any], tensor: str) -> bool:
    """Whether an adapter's config names the module of a checkpoint tensor."""
    module, _, part = tensor.rpartition(".")

    def named(names: Any) -> bool:
        if isinstance(names, str):
            return re.fullmatch(names, module) is not None
        return any(module == one or module.endswith(f".{one}") for one in names or ())

    saved = _listed(config.get("modules_to_save"))
    if part != "weight" or named(config.get("exclude_modules")):
        return False
    if any(re.match(rf"(^|.*\.){one}($|\..*)", module) for one in saved):
        return False
    targets = config.get("target_modules")
    if targets == "all-linear" or not named(targets):
        return False
    layers = config.get("layers_to_transform")
    if isinstance(targets, str) or layers in (None, []):
        return True
    patterns = _listed(config.get("layers_pattern")) or [r"[^.]*"]
    found = (
        re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module) for pattern in patterns
    )
    number = next((int(match[1]) for match in found if match), None)
    return number in _listed(layers)
