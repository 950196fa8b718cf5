"""Random tiny models of the transformers library, to compare ours with.

Every parameter is random, norm scales and biases too, so that no unit scale or zero
bias hides a mistake.
"""

from typing import NamedTuple

import numpy as np
import torch
import transformers

from helix_jax.models import family_of

VOCABULARY = 61
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 4.0,
}


def longrope(original: int) -> dict:
    """LongRoPE parameters that switch to the long table after `original` tokens."""
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0, 1.1, 1.3, 1.5],
        "long_factor": [1.0, 2.0, 4.0, 8.0],
        "original_max_position_embeddings": original,
    }


# More tokens than experts times experts of a token; no two experts score alike.
EXPERTS = GROUPED | {"num_experts_per_tok": 2}
SMALL_EXPERTS = EXPERTS | {"num_experts": 5, "moe_intermediate_size": 24}
SLIDING_LAST = ["full_attention", "full_attention", "sliding_attention"]
GPT = {
    "vocab_size": VOCABULARY,
    "n_positions": 64,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
NEO = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "hidden_size": 32,
    "num_layers": 3,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1], [["local"], 1]],
    "window_size": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OPT = {key: value for key, value in SIZES.items() if key != "intermediate_size"}
OPT = OPT | {"ffn_dim": 48, "word_embed_proj_dim": 32}
FALCON = {key: value for key, value in SIZES.items() if key != "intermediate_size"}
FALCON = FALCON | {"ffn_hidden_size": 48}
XGLM = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "num_layers": 3,
    "attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
BLOOM = {
    "vocab_size": VOCABULARY,
    "hidden_size": 36,
    "n_layer": 3,
    "n_head": 6,  # no power of two
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MPT = {
    "vocab_size": VOCABULARY,
    "d_model": 36,
    "n_layers": 3,
    "n_heads": 6,
    "max_seq_len": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# The library keeps one table for both lengths of phi3; the rest of its config.
PHI3 = GROUPED | {"original_max_position_embeddings": 64}
GEMMA = GROUPED | {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 4}
# The next three have windows in some layers, with an angle of their own or without.
SOME_SLIDING = {
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "sliding_window": 4,
}
GROWING = YARN | {"original_max_position_embeddings": 4, "llama_4_scaling_beta": 0.3}
ALPHA = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 1.0, "alpha": 50.0}
SCALES = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.2,
    "logits_scaling": 2.5,
}

ROBERTA = SIZES | {"pad_token_id": 1, "type_vocab_size": 1}
T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 48,
    "num_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 9,
}

# name -> (model_type, config attributes)
TWINS = {
    "llama": ("llama", GROUPED | {"head_dim": 12}),
    "llama_biased": (
        "llama",
        GROUPED
        | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "llama3": ("llama", GROUPED | {"rope_parameters": LLAMA3}),
    "llama_linear": (
        "llama",
        GROUPED
        | {
            "rope_parameters": {
                "rope_type": "linear",
                "rope_theta": 500.0,
                "factor": 4.0,
            }
        },
    ),
    "llama_yarn": ("llama", GROUPED | {"rope_parameters": YARN}),
    "internlm3": ("internlm3", GROUPED | {"head_dim": 8}),
    "iquestcoder": ("iquestcoder", GROUPED | {"head_dim": 8}),
    "mistral": ("mistral", GROUPED | {"sliding_window": 4}),
    "ministral": ("ministral", GROUPED | SOME_SLIDING | {"head_dim": 8}),
    "ministral3": ("ministral3", GROUPED | {"rope_parameters": GROWING, "head_dim": 8}),
    "qwen2": ("qwen2", GROUPED),
    "qwen2_sliding": (
        "qwen2",
        GROUPED
        | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    ),
    "qwen3": ("qwen3", GROUPED | {"head_dim": 12, "attention_bias": True}),
    "gemma": ("gemma", GROUPED | {"head_dim": 16}),
    "vaultgemma": ("vaultgemma", GEMMA),
    "hunyuan": (
        "hunyuan_v1_dense",
        GROUPED | {"head_dim": 12, "rope_parameters": ALPHA},
    ),
    "gemma2": (
        "gemma2",
        GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
    ),
    "gemma3": (
        "gemma3_text",
        GEMMA
        | {
            "layer_types": ["sliding_attention", "full_attention"] * 1
            + ["sliding_attention"]
        },
    ),
    "phi": ("phi", GROUPED),
    "phi_normed": ("phi", GROUPED | {"qk_layernorm": True}),
    "phi3": ("phi3", PHI3 | {"sliding_window": 5}),
    "phi3_partial": ("phi3", PHI3 | {"partial_rotary_factor": 0.5}),
    "phi3_short": (
        "phi3",
        PHI3
        | {"rope_parameters": longrope(32), "original_max_position_embeddings": 32},
    ),
    "phi3_long": (
        "phi3",
        PHI3 | {"rope_parameters": longrope(2), "original_max_position_embeddings": 2},
    ),
    "gpt2": ("gpt2", GPT),
    "gpt_neo": ("gpt_neo", NEO),
    "gpt_neox": ("gpt_neox", SIZES),
    "gpt_neox_serial": (
        "gpt_neox",
        SIZES | {"use_parallel_residual": False, "attention_bias": False},
    ),
    "gptj": ("gptj", GPT | {"rotary_dim": 4}),
    "codegen": ("codegen", GPT | {"rotary_dim": 4}),
    "gpt_bigcode": ("gpt_bigcode", GPT),
    "gpt_bigcode_heads": ("gpt_bigcode", GPT | {"multi_query": False}),
    "openai_gpt": ("openai-gpt", GPT),
    "falcon": ("falcon", FALCON),
    "falcon_new": (
        "falcon",
        FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
    ),
    "falcon_serial": (
        "falcon",
        FALCON | {"multi_query": False, "parallel_attn": False},
    ),
    "falcon_alibi": (
        "falcon",
        FALCON | {"alibi": True, "num_attention_heads": 6, "hidden_size": 36},
    ),
    "bloom": ("bloom", BLOOM),
    "mpt": ("mpt", MPT),
    "persimmon": ("persimmon", SIZES),
    "biogpt": ("biogpt", SIZES),
    "xglm": ("xglm", XGLM),
    "olmo": ("olmo", GROUPED | {"clip_qkv": 0.8}),
    "olmo2": ("olmo2", GROUPED),
    "stablelm": ("stablelm", GROUPED | {"use_qkv_bias": True}),
    "stablelm_parallel": (
        "stablelm",
        GROUPED | {"use_parallel_residual": True, "qk_layernorm": True},
    ),
    "nemotron": ("nemotron", GROUPED | {"head_dim": 12}),
    "cohere": ("cohere", GROUPED | {"use_qk_norm": True, "attention_bias": True}),
    "cohere2": (
        "cohere2",
        GROUPED | {"sliding_window": 4, "layer_types": SLIDING_LAST},
    ),
    "apertus": ("apertus", GROUPED),
    "olmo3": (
        "olmo3",
        GROUPED
        | SOME_SLIDING
        | {
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
            }
        },
    ),
    "granite": ("granite", GROUPED | SCALES),
    "hyperclovax": ("hyperclovax", GROUPED | SCALES),
    "glm": ("glm", GROUPED | {"head_dim": 8}),
    "glm4": ("glm4", GROUPED | {"head_dim": 8}),
    "ernie4_5": ("ernie4_5", GROUPED | {"head_dim": 12, "use_bias": True}),
    "helium": ("helium", GROUPED | {"head_dim": 8}),
    "seed_oss": ("seed_oss", GROUPED | {"head_dim": 12, "mlp_bias": True}),
    "arcee": ("arcee", GROUPED),
    "jais2": ("jais2", GROUPED),
    "smollm3": (
        "smollm3",
        GROUPED
        | SOME_SLIDING
        | {"no_rope_layers": [1, 0, 0], "use_sliding_window": True},
    ),
    "cwm": ("cwm", GROUPED | SOME_SLIDING | {"head_dim": 12}),
    "exaone4": ("exaone4", GROUPED | SOME_SLIDING),
    "starcoder2": ("starcoder2", GROUPED | {"sliding_window": 4}),
    "mixtral": ("mixtral", EXPERTS | {"num_local_experts": 4, "sliding_window": 4}),
    "qwen2_moe": ("qwen2_moe", SMALL_EXPERTS | {"shared_expert_intermediate_size": 20}),
    "qwen3_moe": ("qwen3_moe", SMALL_EXPERTS | {"head_dim": 12}),
    "hunyuan_moe": (
        "hunyuan_v1_moe",
        GROUPED | {"head_dim": 12, "num_experts": 5, "moe_topk": 2},
    ),
    "granitemoe": ("granitemoe", EXPERTS | SCALES | {"num_local_experts": 5}),
    "olmoe": (
        "olmoe",
        EXPERTS | {"num_experts": 5, "norm_topk_prob": True, "clip_qkv": 0.9},
    ),
    "gpt_oss": (
        "gpt_oss",
        EXPERTS
        | {
            "num_local_experts": 4,
            "head_dim": 12,
            "sliding_window": 4,
            "swiglu_limit": 0.6,
            "rope_parameters": YARN | {"truncate": False},
        },
    ),
    "opt": ("opt", OPT),
    "opt_350m": (
        "opt",
        OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 20},
    ),
    "bert": ("bert", SIZES),
    "roberta": ("roberta", ROBERTA),
    "ernie": ("ernie", SIZES | {"use_task_id": True}),
    "megatron": ("megatron-bert", SIZES),
    "xlm_roberta": ("xlm-roberta", ROBERTA),
    "camembert": ("camembert", ROBERTA),
    "data2vec": ("data2vec-text", ROBERTA),
    "xlm_roberta_xl": ("xlm-roberta-xl", ROBERTA),
    "roberta_prelayernorm": ("roberta-prelayernorm", ROBERTA),
    "distilbert": (
        "distilbert",
        {"dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4}
        | {name: SIZES[name] for name in ("vocab_size", "max_position_embeddings")},
    ),
    "electra": ("electra", SIZES | {"embedding_size": 32}),
    "electra_small": ("electra", SIZES | {"embedding_size": 20}),
    "eurobert": ("eurobert", GROUPED | {"mlp_bias": True}),
    "modernbert": (
        "modernbert",
        SIZES
        | {"local_attention": 6, "norm_bias": True, "cls_token_id": 1}
        | {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    ),
    "mpnet": ("mpnet", SIZES | {"pad_token_id": 1}),
    "nomic_bert": ("nomic_bert", SIZES),
    "t5": ("t5", T5),
    "mt5": ("mt5", T5 | {"feed_forward_proj": "gated-gelu"}),
    "gemma3_both_ways": (
        "gemma3_text",
        GEMMA
        | {"layer_types": SLIDING_LAST, "sliding_window": 6}
        | {"use_bidirectional_attention": True},
    ),
}
DECODERS = [
    name
    for name, (family, attributes) in TWINS.items()
    if family_of(family).causal and "use_bidirectional_attention" not in attributes
]
# One of each kind, for the suite without its slow tests.
QUICK = """
    llama3 mistral qwen3 gemma3 phi3_long gpt2 falcon_alibi cohere2 gpt_oss mixtral
    bert roberta modernbert mpnet t5
""".split()
# Families whose positions are counted from behind the padding id.
FROM_PADDING = {TWINS[name][0] for name in TWINS if TWINS[name][1] is ROBERTA}
FROM_PADDING |= {"mpnet"}


class Twin(NamedTuple):
    """A transformers model and the folder that it was saved in."""

    name: str
    model: torch.nn.Module
    folder: str


def twin_config(name: str, **changes):
    """The transformers config of a twin."""
    model_type, attributes = TWINS[name]
    config_class = transformers.CONFIG_MAPPING[model_type]
    return config_class(**(attributes | changes))


def plain_attention(config) -> str:
    """The plainest attention that transformers gets right for a model.

    Eager falcons add their biases by distance twice.
    """
    return "sdpa" if getattr(config, "alibi", False) else "eager"


def build_twin(name: str, seed: int = 0, **changes) -> torch.nn.Module:
    """A random model, evaluated with plain (eager) attention in float32."""
    config = twin_config(name, **changes)
    config._attn_implementation = plain_attention(config)
    model = auto_class(TWINS[name][0]).from_config(config)
    return randomise(model, seed).float().eval()


def auto_class(family: str) -> type:
    """The class of transformers that makes a family's models, with their heads."""
    if family in ("t5", "mt5"):
        return transformers.AutoModelForTextEncoding
    if family_of(family).causal:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForMaskedLM


def randomise(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random values for every parameter, at scales that keep states of order one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, std):
        return std * torch.randn(shape, generator=generator)

    norms = {
        id(parameter)
        for module in model.modules()
        if "Norm" in type(module).__name__
        for parameter in module.parameters(recurse=False)
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                value = normal(parameter.shape, 0.3)
            elif id(parameter) in norms:
                value = parameter + normal(parameter.shape, 0.3)
            elif parameter.ndim > 1 and "embed" not in name:
                value = normal(parameter.shape, max(parameter.shape[-2:]) ** -0.5)
            else:
                value = normal(parameter.shape, 0.5)
            parameter.copy_(value)
        for name, buffer in model.named_buffers():
            if name.endswith("act_fn.beta"):  # apertus keeps its constants
                buffer.copy_(buffer + normal(buffer.shape, 0.1))
    return model


def twin_states(
    model: torch.nn.Module, tokens: np.ndarray, mask: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Hidden states of every layer (the last after the final norm), logits or None.

    Positions count tokens, not padding; where the library counts otherwise by itself
    it is told to.
    """
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    if model.config.model_type in FROM_PADDING:
        positions = positions + model.config.pad_token_id + 1
    placed = {"position_ids": torch.tensor(positions)}
    if model.config.model_type in ("t5", "mt5"):
        placed = {}  # only distances count
    # The 350M opt model projects its last state before it returns it.
    decoder = getattr(model.base_model, "decoder", None)
    raw_last = []
    if getattr(decoder, "project_out", None) is not None:
        hook = decoder.project_out.register_forward_pre_hook(
            lambda module, inputs: raw_last.append(inputs[0])
        )
    with torch.no_grad():
        out = model(
            torch.tensor(tokens),
            attention_mask=torch.tensor(mask.astype(np.int64)),
            **placed,
            output_hidden_states=True,
        )
    states = [state.numpy() for state in out.hidden_states]
    if raw_last:
        hook.remove()
        states[-1] = raw_last[0].numpy()
    return states, out.logits.numpy() if "logits" in out else None
