"""Hugging Face configs of new small decoders, for any supported family."""

import dataclasses
from typing import Any

from helix_jax.models.families import FAMILIES
from helix_jax.transformers_names import transformers_names

DECODERS = tuple(sorted(name for name, family in FAMILIES.items() if family.causal))


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
      ValueError: the family is not a supported decoder, width is not an even multiple
        of num_heads, or the family fixes another feed-forward width.
    """
    CONFIG_MAPPING, CAUSAL_LM = transformers_names(
        "CONFIG_MAPPING", "MODEL_FOR_CAUSAL_LM_MAPPING"
    )

    if family not in DECODERS:
        raise ValueError(f"family must be one of {list(DECODERS)}, got {family!r}.")
    if width % num_heads or (width // num_heads) % 2:
        raise ValueError(
            f"width must be an even multiple of num_heads, got {width} and {num_heads}."
        )
    head_width = width // num_heads
    kinds = ["global"] if num_layers % 2 else ["global", "local"]
    sizes: dict[str, Any] = _names(vocab_size, "vocab_size")
    sizes |= _names(width, "hidden_size n_embd d_model word_embed_proj_dim")
    sizes |= _names(num_layers, "num_hidden_layers n_layer n_layers num_layers")
    sizes |= _names(num_heads, "num_attention_heads n_head n_heads num_heads")
    sizes |= _names(num_heads, "num_key_value_heads attention_heads")
    sizes |= _names(head_width, "head_dim query_pre_attn_scalar rotary_dim")
    sizes |= _names(ffn_width, "intermediate_size n_inner ffn_dim ffn_hidden_size")
    sizes |= _names(ffn_width, "moe_intermediate_size")
    sizes |= _names(context, "max_position_embeddings n_positions max_seq_len")
    sizes |= _names(context, "window_size")
    sizes |= {"attention_types": [[kinds, num_layers // len(kinds)]]}
    kind = CONFIG_MAPPING[family]
    known = {field.name for field in dataclasses.fields(kind)}
    config = kind(
        **{name: size for name, size in sizes.items() if name in known},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    config.architectures = [CAUSAL_LM[kind].__name__]
    fixed = FAMILIES[family].spec_from_hf(config.to_dict()).ffn_width
    if fixed != ffn_width:
        raise ValueError(
            f"ffn_width must be {fixed} for {family} models of width {width}, got "
            f"{ffn_width}."
        )
    return config


def _names(size: int, names: str) -> dict[str, int]:
    """One size under each of the names that families give it."""
    return dict.fromkeys(names.split(), size)
