"""Reads settings of single layers: windows, and rotary bases by kind of layer."""

from collections.abc import Mapping

from helix_jax.errors import CheckpointError, UnsupportedError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import check_whole_heads
from helix_jax.models.rope_config import rope_from_hf
from helix_jax.models.spec import RopeSpec


def read_windows(
    config: ConfigReader, num_layers: int, window: int | None
) -> tuple[int, ...] | None:
    """Each layer's window from `layer_types`; None when no layer has one."""
    kinds = config.take("layer_types")
    unknown = sorted(set(kinds) - {"sliding_attention", "full_attention"})
    if unknown or len(kinds) != num_layers:
        raise UnsupportedError(
            f"{config.family}: layer_types must name full_attention or "
            f"sliding_attention for each of {num_layers} layers, got {kinds}."
        )
    sliding = [kind == "sliding_attention" for kind in kinds]
    if not any(sliding):
        return None
    if not window:
        raise CheckpointError(
            f"{config.family}: layer_types has sliding_attention, but sliding_window "
            f"is {window}."
        )
    return tuple(int(window) if one else 0 for one in sliding)


def switched_windows(config: ConfigReader) -> tuple[int, ...] | None:
    """Each layer's window in qwen, whose configs can give one without using it."""
    window = config.take("sliding_window", None)
    if not config.take("use_sliding_window", False):
        window = None
    config.take("max_window_layers", None)  # layer_types says the same, layer by layer
    return read_windows(config, config.take("num_hidden_layers"), window)


def equal_windows(config: ConfigReader) -> tuple[int, ...] | None:
    """The same window for each layer, for configs without `layer_types`."""
    window = config.take("sliding_window", None)
    return (window,) * config.take("num_hidden_layers") if window else None


def rope_of_kind(
    config: ConfigReader, kind: str, head_width: int, max_tokens: int
) -> RopeSpec:
    """The rotary embedding of one kind of layer, if each kind has its own.

    Args:
      config: the config.
      kind: as in `layer_types`.
      head_width, max_tokens: as for `rope_from_hf`.
    """
    ropes = config.take("rope_parameters")
    if not isinstance(ropes.get(kind), Mapping):
        raise CheckpointError(
            f"{config.family}: rope_parameters must have {kind!r}, got {sorted(ropes)}."
        )
    check_whole_heads(config.family, ropes[kind])
    if not ropes[kind].get("truncate", True):
        # transformers looks for it one level higher, where it never is.
        raise UnsupportedError(
            f"{config.family}: rope_parameters have truncate False, which is honoured "
            "only if all layers share one rotary embedding."
        )
    return rope_from_hf(ropes[kind], head_width=head_width, max_tokens=max_tokens)
