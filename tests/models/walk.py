"""Mutations of a family's config, attribute by attribute, and what comes of each.

For each attribute that transformers' config class of a family has, several other values
are tried on a tiny random model, all of them with HELIX_WIDE=1. Where transformers
computes something with it, our last hidden state and logits are those of transformers,
or the config is refused.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from helix_jax.errors import CheckpointError
from helix_jax.models import apply_model, family_of
from helix_jax.models.config_file import read_config
from helix_jax.models.convert import to_params
from helix_jax.models.params import nest
from helix_jax.models.weights import StoredTensor

from ..conftest import WIDE
from .twins import auto_class, randomise

VOCABULARY = 23
TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 24,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "sliding_window": 3,
    "query_pre_attn_scalar": 6,
    "n_positions": 24,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 4,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
    "window_size": 3,
    "ffn_dim": 20,
    "ffn_hidden_size": 20,
    "rotary_dim": 2,
    "max_seq_len": 24,
    "attention_heads": 4,
    "original_max_position_embeddings": 24,
    "dim": 16,
    "hidden_dim": 20,
    "n_layers": 2,
    "n_heads": 4,
    "embedding_size": 12,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 20,
    "relative_attention_max_distance": 9,
    "local_attention": 4,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 8,
}
# Where the sizes above would leave a family nothing to vary.
OWN = {"stablelm": {"num_attention_heads": 2}}  # a quarter of each head is rotated
ACTIVATIONS = """
    relu silu swish gelu gelu_new gelu_fast gelu_pytorch_tanh gelu_python quick_gelu
    gelu_10 gelu_accurate tanh sigmoid mish linear leaky_relu relu2 relu6 laplace
""".split()
LINEAR = {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 500.0,
    "beta_fast": 4.0,
    "original_max_position_embeddings": 6,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 500.0,
    "short_factor": [1.0, 1.3],
    "long_factor": [2.0, 5.0],
    "original_max_position_embeddings": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 12,
}
ROPES = [
    {"rope_type": "default", "rope_theta": 77.0},
    {"rope_theta": 77.0, "partial_rotary_factor": 0.5},
    LINEAR,
    LINEAR | {"partial_rotary_factor": 0.5},
    {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 500.0},
    LLAMA3,
    YARN,
    YARN | {"truncate": False},
    YARN | {"mscale": 0.7, "mscale_all_dim": 0.4},
    YARN | {"attention_factor": 1.7, "beta_slow": 2.0},
    YARN | {"llama_4_scaling_beta": 0.3, "max_position_embeddings": 99},
    {"rope_theta": 77.0, "llama_4_scaling_beta": 0.3},
    {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 500.0, "alpha": 9.0},
    LONG,
    LONG | {"attention_factor": 1.7},
    {"rope_type": "proportional", "rope_theta": 77.0, "partial_rotary_factor": 0.5},
]
# Values by attribute where those by type say little.
CHOICES: dict[str, list[Any]] = {
    "hidden_act": ACTIVATIONS,
    "activation_function": ACTIVATIONS,
    "hidden_activation": ACTIVATIONS,
    "activation": ACTIVATIONS,
    "afn": ACTIVATIONS,
    "rotary_dim": [4, 1, 3, 6],
    "num_kv_heads": [1, 2, 4],
    "attention_heads": [2, 8],
    "attn_config": [
        {name: value}
        for name, values in {
            "attn_type": ["multiquery_attention"],
            "attn_impl": ["triton"],
            "clip_qkv": [0.3, 0.0],
            "softmax_scale": [0.7],
            "prefix_lm": [True],
            "qk_ln": [True],
            "attn_uses_sequence_id": [True],
            "alibi": [False],
            "alibi_bias_max": [4, 8],
        }.items()
        for value in values
    ],
    "num_ln_in_parallel_attn": [1, 2, 3],
    "layer_types": [
        ["full_attention"] * 2,
        ["sliding_attention"] * 2,
        ["full_attention", "sliding_attention"],
        ["chunked_attention", "full_attention"],
    ],
    "attention_types": [[[["local"], 2]], [[["global"], 2]]],
    "attention_layers": [["local", "local"], ["global", "global"]],
    "rope_parameters": ROPES,
    "problem_type": ["regression"],
    "summary_type": ["mean"],
    "summary_activation": ["tanh"],
    "dtype": ["float32"],
    "id2label": [{"0": "a", "1": "b", "2": "c"}],
    "label2id": [{"a": 0, "b": 1}],
    "n_inner": [20],
    "num_key_value_heads": [1, 4],
    "num_attention_heads": [2, 8],
    "n_head": [2, 8],
    "num_heads": [2, 8],
    "head_dim": [6, 8],
    "hidden_size": [32],
    "dim": [32],
    "n_layers": [1],
    "n_heads": [2, 8],
    "embedding_size": [16, 20],
    "classifier_activation": ACTIVATIONS,
    "feed_forward_proj": [*ACTIVATIONS, "gated-gelu", "gated-relu", "gated-mish"],
    "is_gated_act": [True],
    "dense_act_fn": ["gelu"],
    "local_attention": [2, 3, 7, 50],
    "d_kv": [8],
    "relative_attention_num_buckets": [8, 16],
    "relative_attention_max_distance": [9, 20],
    "classifier_pooling": ["mean"],
    "n_embd": [32],
    "word_embed_proj_dim": [12, 16],
    "num_hidden_layers": [1],
    "n_layer": [1],
    "num_layers": [4],
    "max_window_layers": [0, 1, 2],
    "sliding_window": [1, 2, 50, 0],
    "window_size": [1, 2, 50],
    "pad_token_id": [0, 2, 5],
    "original_max_position_embeddings": [4, 12],
    "final_logit_softcapping": [0.5],
    "attn_logit_softcapping": [0.5],
    "architectures": [["LlamaBidirectionalModel"], []],
    "is_causal": [False, True],
    "use_sliding_window": [True],
    "no_rope_layers": [[0, 1], [1, 0], [0, 0], [1, 1, 1]],
    "no_rope_layer_interval": [1, 2],
}
# What all families share is walked whole for some of them, in part for the others.
WHOLE = ("llama", "gpt_neox", "gemma3_text", "bert", "t5")
SOME_ACTIVATIONS = "relu gelu gelu_new".split()
SOME_ROPES = [ROPES[1], YARN, LONG]
# A class, its model type, its bookkeeping, and what new models are filled with, on
# which the twin's random norms stand: no attributes to vary.
FIXED = {"model_type", "transformers_version", "_name_or_path", "initializer_factor"}
# What is written in files besides, and the pairs that act on each other.
BESIDE = {
    "is_causal": [False, True],
    "head_dim": [6, 8],
    "rope_theta": [77.0],
    "rope_scaling": [LINEAR, {"type": "linear", "factor": 3.0}],
    "partial_rotary_factor": [0.5],
    "layer_types": CHOICES["layer_types"],
    "sliding_window": [2],
    "made_up_switch": [True],
}
PAIRS = [
    {"use_sliding_window": True, "max_window_layers": 1},
    {"use_sliding_window": True, "sliding_window": None},
    {"use_sliding_window": True, "layer_types": ["sliding_attention"] * 2},
    {"use_sliding_window": False, "layer_types": ["sliding_attention"] * 2},
    {"tie_word_embeddings": False, "hidden_act": "relu"},
    {"tie_word_embeddings": True, "pad_token_id": 5},
    {"attention_bias": True, "mlp_bias": True},
    {"attention_bias": True, "tie_word_embeddings": True},
    {"do_layer_norm_before": False, "word_embed_proj_dim": 12},
    {"do_layer_norm_before": False, "_remove_final_layer_norm": True},
    {"do_layer_norm_before": True, "_remove_final_layer_norm": True},
    {"enable_bias": False, "layer_norm_elementwise_affine": False},
    {"use_parallel_residual": False, "attention_bias": False},
    {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
    {"head_dim": 8, "num_key_value_heads": 1},
    {"new_decoder_architecture": True, "num_kv_heads": 2},
    {"new_decoder_architecture": True, "num_ln_in_parallel_attn": 1},
    {"new_decoder_architecture": True, "parallel_attn": False},
    {"multi_query": False, "parallel_attn": False},
    {"multi_query": False, "num_kv_heads": 2},
    {"parallel_attn": False, "num_ln_in_parallel_attn": 2},
    {"alibi": True, "multi_query": False},
    {"pretraining_tp": 2, "slow_but_exact": True},
    {"hidden_size": 24, "num_attention_heads": 6},
    {"sliding_window": 2, "rope_parameters": LINEAR},
    {"sliding_window": None, "layer_types": ["full_attention"] * 2},
    {"use_sliding_window": True, "no_rope_layers": [0, 1]},
    {"rope_parameters": YARN, "head_dim": 8},
    {"rope_parameters": LONG, "max_position_embeddings": 40},
    {"rope_parameters": LONG, "original_max_position_embeddings": 12},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}, "rope_theta": 5.0},
    {"rope_scaling": {"type": "dynamic", "factor": 3.0}, "rope_theta": 50.0},
]


forward = jax.jit(apply_model, static_argnames=("spec", "logits"))


class Outcome(NamedTuple):
    """What came of one mutation.

    Attributes:
      mutation: attribute -> value.
      kind: "equal", "refused", "wrong", or "theirs" where transformers cannot.
      detail: the message or the errors.
    """

    mutation: dict[str, Any]
    kind: str
    detail: str


def tiny_config(family: str) -> dict[str, Any]:
    """config.json of the family's tiny model."""
    kind = transformers.CONFIG_MAPPING[family]
    names = {field.name for field in dataclasses.fields(kind)}
    config = {name: value for name, value in TINY.items() if name in names}
    config |= OWN.get(family, {})
    name = auto_class(family)._model_mapping[kind].__name__
    return config | {"model_type": family, "architectures": [name]}


def mutations(family: str) -> list[dict[str, Any]]:
    """Every attribute of the family's class with several values, then pairs."""
    kind = transformers.CONFIG_MAPPING[family]
    full = kind(**tiny_config(family)).to_dict()
    made = []
    whole = WIDE or family in WHOLE
    for name in sorted(set(full) - FIXED):
        values = CHOICES.get(name) or _by_type(full[name])
        if not whole and values in (ACTIVATIONS, ROPES):
            values = SOME_ACTIVATIONS if values is ACTIVATIONS else SOME_ROPES
        made += [{name: value} for value in [*values, None]]
    beside = {name: BESIDE[name] for name in BESIDE if name not in full}
    made += [{name: value} for name in beside for value in beside[name]]
    if family in ("gemma3_text", "modernbert", "olmo3"):
        made += [
            {"rope_parameters": {"full_attention": one, "sliding_attention": other}}
            for one, other in zip(ROPES, [*ROPES[1:], LINEAR])
        ]
    return made + [pair for pair in PAIRS if set(pair) & set(full) == set(pair)]


def _by_type(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value + 0.25, 1]
    return [True, False, 3, 0.5]


def _names(mutation) -> set[str]:
    """Names of a mutation, those within it too."""
    inner = [value for value in mutation.values() if isinstance(value, dict)]
    return set(mutation).union(*map(_names, inner))


class Walk:
    """Runs mutations of one family; keeps our results by spec."""

    def __init__(self, family: str, folder: Path):
        self.family, self.folder, self._known = family, folder, {}
        self.config = tiny_config(family)
        lengths = np.array([9, 4])
        self.mask = np.arange(9)[None, :] < lengths[:, None]
        tokens = np.random.default_rng(4).integers(6, VOCABULARY, self.mask.shape)
        self.tokens = np.where(self.mask, tokens, 1)

    def run(self, mutation: dict[str, Any]) -> Outcome:
        config = self.config | mutation
        try:
            spec = self._spec(config)
        except CheckpointError as error:
            if any(name in str(error) for name in _names(mutation)):
                return Outcome(mutation, "refused", str(error))
            spec, refusal = None, str(error)
        try:
            theirs, states = self._theirs(config)
        except Exception as error:  # whatever transformers says to such a config
            return Outcome(mutation, "theirs", f"{type(error).__name__}: {error}")
        if spec is None:
            return Outcome(mutation, "unnamed", refusal)
        errors = [
            float(np.abs(a - b)[self.mask].max() / np.abs(b[self.mask]).max())
            for a, b in zip(self._ours(spec, theirs), states)
            if a.shape == b.shape  # the small opt returns its last state projected
        ]
        kind = "equal" if max(errors) < 1e-4 else "wrong"
        return Outcome(mutation, kind, str(errors))

    def _spec(self, config):
        (self.folder / "config.json").write_text(json.dumps(config))
        return family_of(self.family).spec_from_hf(read_config(self.folder))

    def _ours(self, spec, theirs):
        """[last hidden state, logits] with the weights of a model."""
        state = theirs.state_dict()
        key = spec, tuple((name, value.shape) for name, value in state.items())
        if key not in self._known:
            tied = getattr(theirs, "all_tied_weights_keys", {})
            stored = [
                StoredTensor(
                    name,
                    "float32",
                    tuple(value.shape),
                    lambda value=value: value.numpy(),
                )
                for name, value in state.items()
                if name not in tied
            ]
            flat = to_params(stored, spec, family_of(self.family), dtype=np.float32)
            # Operation by operation, but for experts, which are a loop: compiling each
            # of these once takes longer.
            with jax.disable_jit(spec.experts is None):
                out = forward(
                    nest(flat),
                    spec,
                    jnp.asarray(self.tokens),
                    jnp.asarray(self.mask),
                    logits=spec.head is not None,
                )
            found = [out.hidden[0], *([] if out.logits is None else [out.logits])]
            self._known[key] = [np.asarray(one) for one in found]
        return self._known[key]

    def _theirs(self, config):
        kind = transformers.CONFIG_MAPPING[self.family]
        made = kind.from_dict(json.loads(json.dumps(config)))
        made.dtype = made._attn_implementation = None
        made.return_dict, made.output_attentions = True, False
        model_class = getattr(transformers, self.config["architectures"][0])
        model = randomise(model_class(made), seed=0).float().eval()
        with torch.no_grad():
            out = model(
                torch.tensor(self.tokens),
                attention_mask=torch.tensor(self.mask.astype(np.int64)),
                output_hidden_states=True,
            )
        last = out.hidden_states[-1].numpy()
        if not np.isfinite(last[self.mask]).all():
            raise FloatingPointError("transformers gives NaN")
        return model, [last, *([out.logits.numpy()] if "logits" in out else [])]
