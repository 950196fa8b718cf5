"""Hugging Face configs of new small decoders, for any supported family."""

from typing import Any

from helix_jax.models.families import FAMILIES
from helix_jax.transformers_names import transformers_names

DECODERS = tuple(sorted(set(FAMILIES) - {"bert", "roberta"}))


def hf_config(
    family: str,
    *,
    vocab_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    ffn_width: int,
    context: int,
) -> Any:
    """A transformers config with tied embeddings and the family's own defaults.

    Args:
      family: a decoder's `model_type`.
      vocab_size, width, num_layers, num_heads, ffn_width: V, D, L, H and F.
      context: tokens the model can see.

    Returns:
      transformers.PretrainedConfig.

    Raises:
      ValueError: no supported decoder, or a width that its heads do not divide.
    """
    (CONFIG_MAPPING,) = transformers_names("CONFIG_MAPPING")

    if family not in DECODERS:
        raise ValueError(f"family must be one of {list(DECODERS)}, got {family!r}.")
    if width % num_heads or (width // num_heads) % 2:
        raise ValueError(
            f"width must be an even multiple of num_heads, got {width} and {num_heads}."
        )
    names = dict(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=ffn_width,
        max_position_embeddings=context,
    )
    if family == "gpt2":
        names = dict(
            vocab_size=vocab_size,
            n_embd=width,
            n_layer=num_layers,
            n_head=num_heads,
            n_inner=ffn_width,
            n_positions=context,
        )
    elif family == "gpt_neo":
        kinds = ["global"] if num_layers % 2 else ["global", "local"]
        del names["num_hidden_layers"], names["num_attention_heads"]
        names |= dict(
            num_layers=num_layers,
            num_heads=num_heads,
            window_size=context,
            attention_types=[[kinds, num_layers // len(kinds)]],
        )
    elif family == "opt":
        del names["intermediate_size"]
        names |= dict(ffn_dim=ffn_width, word_embed_proj_dim=width)
    elif family != "gpt_neox":
        names |= dict(num_key_value_heads=num_heads)
        if family not in ("phi3", "qwen2", "olmo2"):
            names |= dict(head_dim=width // num_heads)
        if family.startswith("gemma"):
            names |= dict(query_pre_attn_scalar=width // num_heads)
    config = CONFIG_MAPPING[family](
        **names,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    config.architectures = [_CAUSAL[family]]
    return config


_CAUSAL = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neo": "GPTNeoForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "opt": "OPTForCausalLM",
}
