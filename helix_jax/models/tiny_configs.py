"""Configs of any model type of transformers that make a model small enough to test."""

from collections.abc import Mapping
from typing import Any

from helix_jax.transformers_names import transformers_names

SIZES = {
    32: "hidden_size d_model n_embd dim embedding_size embed_dim emb_dim width",
    48: """intermediate_size encoder_ffn_dim decoder_ffn_dim ffn_dim d_ff n_inner
        hidden_dim d_inner""",
    2: """num_hidden_layers n_layer num_layers n_layers encoder_layers decoder_layers
        num_encoder_layers num_decoder_layers num_experts_per_tok top_k
        num_hidden_groups""",
    4: """num_attention_heads n_head n_heads num_heads encoder_attention_heads
        decoder_attention_heads num_key_value_heads num_kv_heads rotary_dim num_experts
        num_local_experts n_routed_experts""",
    8: """head_dim d_kv qk_rope_head_dim qk_nope_head_dim v_head_dim
        hidden_size_per_layer_input state_size""",
    16: "q_lora_rank kv_lora_rank moe_intermediate_size patch_size",
    64: "max_position_embeddings n_positions image_size sliding_window",
    128: "vocab_size vocab_size_per_layer_input text_vocab_size",
    0: "pad_token_id first_k_dense_replace",
    1: "bos_token_id n_group topk_group sep_token_id cls_token_id",
    3: "eos_token_id decoder_start_token_id",
}
TINY = {name: size for size, names in SIZES.items() for name in names.split()}
SECTIONS = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
# Further settings that the tiny sizes need, by type.
MORE: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 4},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.0, 0.0],
        "laurel_rank": 4,
    },
    "glm4v_text": {"rope_parameters": SECTIONS},
    "glm4v_moe_text": {"rope_parameters": SECTIONS},
    "luke": {"entity_vocab_size": 8},
    "mamba2": {"head_dim": 16, "n_groups": 1},
    "mluke": {"entity_vocab_size": 8},
    "qwen2_vl_text": {"rope_parameters": SECTIONS},
    "qwen2_5_vl_text": {"rope_parameters": SECTIONS},
    "xmod": {"default_language": "en_XX"},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
}
# For types whose sizes depend on each other in special ways.
SHALLOW = {
    name: size
    for name, size in TINY.items()
    if "layer" in name or "vocab" in name or "token" in name
}


def tiny_config(kind: str, sizes: Mapping[str, int]) -> Any:
    """A config of a model type, and of its parts, with small sizes."""
    (CONFIG_MAPPING,) = transformers_names("CONFIG_MAPPING")
    return _sized(CONFIG_MAPPING[kind], sizes)


def _sized(config_class: Any, sizes: Mapping[str, int]) -> Any:
    default = config_class()
    parts = {
        name: _sized(type(part), sizes)
        for name in config_class.sub_configs
        if (part := getattr(default, name, None)) is not None
    }
    names = {
        name: size
        for name, size in sizes.items()
        if hasattr(default, name)
        and not isinstance(getattr(config_class, name, None), property)
    }
    more = MORE.get(config_class.model_type, {}) if sizes is TINY else {}
    return config_class(**{**names, **more, **parts})
