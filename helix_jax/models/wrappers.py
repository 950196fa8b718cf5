"""Multimodal models that hold a text model: their types, tensor names and other parts.

Only the text model is loaded; on text alone the wrapper computes the same.
"""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader

WRAPPERS = frozenset(
    """
    aya_vision gemma3 idefics3 internvl llava llava_next llava_onevision mistral3
    qwen2_5_vl qwen2_vl qwen3_vl smolvlm
    """.split()
)
# Text models that differ from a family only in rotary angles along three axes (time,
# height, width); a token of text has the same position on all three.
THREE_AXES = {
    "qwen2_5_vl_text": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
}
# Wrappers take logits straight from the head, whatever the text model would do to them.
PLAIN_LOGITS = {
    "final_logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
}
# Names of the text model and its head in checkpoints of all ages -> their own names.
RENAMED = (
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^(model\.)?(language_model|text_model)\.(model\.)?", "model."),
)
# Other tensors of wrappers, which are never read.
OTHER_PARTS = (
    r"(model\.)?(vision_tower|vision_model|visual|multi_modal_projector|connector)\..*",
    r"(model\.)?image_newline",
)


def take_text(outer: ConfigReader, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The text config of a wrapper, as its family reads it.

    Args:
      outer: the full config of the wrapper; what is used here counts as read.
      raw: the config as in the file; old files have text attributes at the top level.
    """
    text = dict(outer.take("text_config"))
    text["tie_word_embeddings"] = outer.take("tie_word_embeddings", True)
    text["architectures"] = raw.get("architectures")
    text |= {name: value for name, value in PLAIN_LOGITS.items() if name in text}
    if text["model_type"] == "qwen3_vl_text":
        # Its classes have no windows, whatever a file says of them.
        text["layer_types"] = ["full_attention"] * text["num_hidden_layers"]
        text |= {"use_sliding_window": False, "sliding_window": None}
    if text["model_type"] in THREE_AXES:
        text["model_type"] = THREE_AXES[text["model_type"]]
        rope = text["rope_parameters"]
        axes = ("mrope_section", "mrope_interleaved")
        text["rope_parameters"] = {k: v for k, v in rope.items() if k not in axes}
    for name in text if "text_config" not in raw else ():
        outer.take(name, None)
    return text
