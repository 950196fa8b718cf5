"""Gemma 2 (arXiv 2408.00118) and the text part of Gemma 3 (arXiv 2503.19786)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import (
    ROTARY_BUFFERS,
    SANDWICH_NORMS,
    Family,
    check_whole_heads,
    gated_rules,
    gated_sizes,
    read_activation,
    read_rope,
    read_windows,
)
from helix_jax.models.rope import rope_from_hf
from helix_jax.models.spec import ModelSpec, RopeSpec


def _shared(config: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    sizes = gated_sizes(config, raw)
    bias = config.take("attention_bias", False)
    window = config.take("sliding_window", None)
    both_ways = config.take("use_bidirectional_attention", False)
    if both_ways and window is not None:
        window = window // 2 + 1  # the whole reach, that we count on one side
    return sizes | {
        "block": "sandwich",
        "norm_unit_offset": True,
        "activation": read_activation(config, "hidden_activation"),
        "embed_scale": sizes["width"] ** 0.5,
        "causal": not both_ways,
        "windows": read_windows(config, sizes["num_layers"], window),
        "attention_scale": config.take("query_pre_attn_scalar") ** -0.5,
        "logit_softcap": config.take("final_logit_softcapping", None),
        "qkv_bias": bias,
        "out_bias": bias,
    }


def gemma2_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gemma2 config."""
    config = ConfigReader(raw)
    config.expect("hidden_act", raw.get("hidden_activation"))
    config.expect("use_bidirectional_attention", False)
    shared = _shared(config, raw)
    spec = ModelSpec(
        **shared,
        rope=read_rope(config, shared["head_width"]),
        attention_softcap=config.take("attn_logit_softcapping", None),
    )
    config.finish()
    return spec


def gemma3_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gemma3_text config: two rotary bases and normed heads."""
    config = ConfigReader(raw)
    shared = _shared(config, raw)
    # Inherited from gemma2 and without effect: gemma3's attention never applies it.
    config.take("attn_logit_softcapping", None)
    # Older files give a pattern; transformers turns it into layer_types.
    config.take("sliding_window_pattern", None)
    config.take("_sliding_window_pattern", None)
    width, most = shared["head_width"], shared["max_tokens"]
    spec = ModelSpec(
        **shared,
        qk_norm="head",
        rope=rope_of_kind(config, "full_attention", width, most),
        local_rope=rope_of_kind(config, "sliding_attention", width, most),
    )
    config.finish()
    return spec


def rope_of_kind(
    config: ConfigReader, kind: str, head_width: int, max_tokens: int
) -> RopeSpec:
    """The rotary embedding of one kind of layers, where each kind has its own.

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
        # transformers looks for it one level higher, where none of them is.
        raise CheckpointError(
            f"{config.family}: rope_parameters have truncate False, which is honoured "
            "for one kind of layers only where there are no others."
        )
    return rope_from_hf(ropes[kind], head_width=head_width, max_tokens=max_tokens)


RULES = gated_rules(norms=SANDWICH_NORMS)
GEMMA2 = Family("gemma2", gemma2_from_hf, RULES, ignored=ROTARY_BUFFERS)
GEMMA3 = Family(
    "gemma3_text",
    gemma3_from_hf,
    RULES,
    # The vision half of multimodal checkpoints, whose text states it does not touch.
    ignored=(*ROTARY_BUFFERS, r"(model\.)?(vision_tower|multi_modal_projector)\..*"),
    renamed=(
        (r"^(model\.language_model|language_model\.model)\.", "model."),
        (r"^language_model\.lm_head\.", "lm_head."),
    ),
)
