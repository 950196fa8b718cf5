"""Reads a Hugging Face config without ignoring any setting that has an effect.

transformers' config class for a model type defines some of the attributes in a
config.json. A defined attribute changes nothing (INERT), is honoured, or is refused
unless it has its default value. An undefined one has no effect and is skipped, except
those that transformers reads from any config (READ_ANYWAY).
"""

import functools
import logging
import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from helix_jax.errors import CheckpointError, UnsupportedError
from helix_jax.transformers_names import transformers_names

LOG = logging.getLogger(__name__)
_REQUIRED = object()

# Defined, and without effect on a forward pass: training, generation, bookkeeping,
# classifiers.
INERT = frozenset(
    """
    activation_dropout architectures attention_dropout attention_probs_dropout_prob
    attn_pdrop eod_token_id
    base_model_ep_plan base_model_fsdp_plan base_model_pp_plan base_model_tp_plan
    bos_token_id chunk_size_feed_forward classifier_dropout dropout dtype embd_pdrop
    embed_dropout embedding_dropout eos_token_id hidden_dropout hidden_dropout_prob
    id2label init_std initializer_range keys_to_ignore_at_inference label2id layerdrop
    model_type name_or_path num_labels output_attentions output_hidden_states
    output_router_logits pad_token_id pretraining_tp problem_type resid_dropout
    resid_pdrop residual_dropout return_dict router_aux_loss_coef summary_activation
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
    torch_dtype transformers_version use_cache use_return_dict _attn_implementation
    _auto_class _experts_implementation
    """.split()
)
# Read by transformers even if the config class does not define them; with the values
# that have no effect. None is always one of them.
READ_ANYWAY: dict[str, tuple[Any, ...]] = {
    "attention_chunk_size": (),
    "auto_map": (),
    "decoder": (),
    "distributed_config": (),
    "fusion_config": ({},),
    "generator": (),
    "is_causal": (True,),
    "kv_sharing_modes": (),
    "layer_types": (),
    "number_of_conv_states": (),
    "per_layer_config": ({},),
    "quantization_config": ({},),
    "sliding_window": (),
    "text_config": (),
    "text_encoder": (),
    "tie_last_hidden_states": (True,),
    "transformers_weights": ("model.safetensors", "pytorch_model.bin"),
    "use_bidirectional_attention": (False,),
}
# Counts and their smallest meaningful value; a window of 0 means none.
LEAST = dict.fromkeys(
    """
    vocab_size hidden_size n_embd num_hidden_layers n_layer num_layers n_head num_heads
    num_attention_heads num_key_value_heads head_dim intermediate_size n_inner ffn_dim
    max_position_embeddings n_positions original_max_position_embeddings
    query_pre_attn_scalar type_vocab_size word_embed_proj_dim d_model n_heads n_layers
    max_seq_len rotary_dim num_kv_heads ffn_hidden_size attention_heads
    num_local_experts num_experts num_experts_per_tok moe_intermediate_size
    shared_expert_intermediate_size
    """.split(),
    1,
) | {"sliding_window": 0, "window_size": 0}
MOST = 2**31 - 1
# Custom code for these is not part of the model.
OTHER_CODE = frozenset({"AutoTokenizer", "AutoProcessor", "AutoImageProcessor"})
# Settings that no other engine supports either.
NO_ENGINE = frozenset({"auto_map", "transformers_weights"})
ADVICE = {
    "auto_map": (
        "the model needs its authors' code, which is never run here, and "
        "transformers' own {family} may compute something else; use a model without "
        "such code"
    ),
    "is_causal": (
        "its attention has another direction than {family}'s, which is not "
        "supported; its states would be wrong"
    ),
    "quantization_config": (
        "the weights are quantised, which the JAX engine does not read; use "
        "--engine=torch, or load the model that they were made from"
    ),
    "transformers_weights": (
        "the weights are in a file with another name; rename it to model.safetensors"
    ),
}


@functools.cache
def _config_class(family: str) -> Any:
    (CONFIG_MAPPING,) = transformers_names("CONFIG_MAPPING")

    return CONFIG_MAPPING[family]


def is_defined(family: str, name: str) -> bool:
    """Whether transformers' config class of a model type has an attribute."""
    kind = _config_class(family)
    return hasattr(kind, name) or name in kind.attribute_map


def model_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """The model classes that are code in its folder, as named in auto_map."""
    code = config.get("auto_map") or {}
    code = code if isinstance(code, Mapping) else {"auto_map": code}
    return {key: name for key, name in code.items() if key not in OTHER_CODE}


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a setting is a number; true and false are not."""
    return type(value) in (int, float)


class ConfigReader:
    """Reads config attributes one by one and records which were never read."""

    def __init__(self, config: Mapping[str, Any]):
        self._config = dict(config)
        self._unread = set(config) - INERT
        self.family = str(config.get("model_type"))

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value of an attribute that the family honours.

        Raises:
          CheckpointError: it is absent and has no default, or is an impossible number.
        """
        self._unread.discard(name)
        value = self._config.get(name)
        least = LEAST.get(name)
        counts = type(value) is int and least is not None and least <= value <= MOST
        if least is not None and value is not None and not counts:
            raise CheckpointError(
                f"{self.family}: config attribute {name!r} is {value!r}; expected an "
                f"integer from {least} to {MOST}."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise CheckpointError(
                f"{self.family}: config attribute {name!r} is {value!r}; expected a "
                "finite number."
            )
        if value is None and default is _REQUIRED:
            raise CheckpointError(
                f"the {self.family} config lacks {name!r}; is this its config.json?"
            )
        return default if value is None else value

    def expect(self, name: str, *accepted: Any) -> None:
        """Check an attribute that the family supports only with these values or None.

        Raises:
          CheckpointError: another value.
        """
        self._unread.discard(name)
        value = self._config.get(name)
        if value is not None and value not in accepted:
            supported = ", ".join(repr(one) for one in (*accepted, None))
            raise UnsupportedError(
                f"{self.family}: config attribute {name!r} is {value!r}; only "
                f"{supported} is supported{self._advice(name)}."
            )

    def expect_code(self, stem: str) -> bool:
        """Accept code beside the weights only if transformers has adopted it.

        A class name does not say what its code does: gte-Qwen2's Qwen2Model attends in
        both directions, and no attribute of its config says so. A family whose model
        type originated in transformers therefore accepts no code.

        Args:
          stem: the beginning of its class names.

        Returns:
          Whether there is any such code.

        Raises:
          CheckpointError: auto_map names other classes.
        """
        self.take("auto_map", None)
        code = model_code(self._config)
        own = re.compile(rf"(.*\.)?{stem}(Config|Model|PreTrainedModel|For\w+)")
        foreign = {
            key: name for key, name in code.items() if not own.fullmatch(str(name))
        }
        if foreign:
            raise CheckpointError(
                f"{self.family}: config attribute 'auto_map' is {foreign}"
                f"{self._advice('auto_map')}."
            )
        return bool(code)

    def finish(self) -> None:
        """Refuse remaining attributes that have an effect; skip the others.

        Raises:
          CheckpointError: lists every attribute that this family does not support.
        """
        left = {
            name: self._config[name]
            for name in sorted(self._unread)
            if self._config[name] is not None
        }
        foreign = [
            name
            for name in left
            if name not in READ_ANYWAY and not is_defined(self.family, name)
        ]
        if foreign:
            LOG.debug(
                "%s: ignored config attributes that have no effect, since "
                "transformers' %s does not define them: %s",
                self.family,
                _config_class(self.family).__name__,
                ", ".join(foreign),
            )
        wrong = {
            name: value
            for name, value in left.items()
            if name not in foreign and not self._has_no_effect(name, value)
        }
        if wrong:
            kind = CheckpointError if wrong.keys() & NO_ENGINE else UnsupportedError
            raise kind(
                f"{self.family}: config attributes {wrong} change the hidden states "
                "and are not honoured by the JAX engine"
                f"{''.join(self._advice(name) for name in wrong)}. Without them in "
                "config.json the model would load, and its states would be wrong."
            )

    def _has_no_effect(self, name: str, value: Any) -> bool:
        kind = _config_class(self.family)
        if name == "auto_map":
            return not model_code(self._config)
        return value in READ_ANYWAY.get(name, ()) or value == getattr(kind, name, None)

    def _advice(self, name: str) -> str:
        advice = ADVICE.get(name)
        return f": {advice.format(family=self.family)}" if advice else ""
