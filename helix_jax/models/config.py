"""Reading a Hugging Face config so that nothing in it is silently ignored."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError

_REQUIRED = object()

# Attributes that change nothing in a forward pass: training, generation, bookkeeping,
# poolers and classifiers, switches of old versions of transformers.
INERT = frozenset(
    """
    activation_dropout architectures attention_dropout attention_probs_dropout_prob
    attn_implementation attn_pdrop begin_suppress_tokens bos_token_id
    cache_implementation chunk_size_feed_forward classifier_dropout custom_pipelines
    decoder_start_token_id dropout dtype embd_pdrop embed_dropout eos_token_id
    finetuning_task forced_bos_token_id forced_eos_token_id gradient_checkpointing
    hidden_dropout hidden_dropout_prob id2label init_std initializer_range
    is_llama_config keys_to_ignore_at_inference label2id layerdrop max_sequence_length
    model_type n_special num_labels output_attentions output_hidden_states output_past
    pad_token_id pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
    pooler_size_per_head pooler_type predict_special_tokens prefix pretraining_tp
    problem_type resid_dropout resid_pdrop return_dict sentence_transformers
    sep_token_id summary_activation summary_first_dropout summary_proj_to_labels
    summary_type summary_use_proj task_specific_params tf_legacy_loss tokenizer_class
    torch_dtype torchscript transformers.js_config transformers_version unsloth_fixed
    unsloth_version use_bfloat16 use_cache _attn_implementation
    _attn_implementation_autoset _commit_hash _name_or_path _num_labels
    """.split()
)


class ConfigReader:
    """Hands out config attributes one by one and knows which were never asked for."""

    def __init__(self, config: Mapping[str, Any]):
        self._config = dict(config)
        self._unread = set(config) - INERT
        self.family = str(config.get("model_type"))

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value of an attribute that the family honours.

        Raises:
          CheckpointError: it is absent and has no default.
        """
        self._unread.discard(name)
        value = self._config.get(name)
        if value is None and default is _REQUIRED:
            raise CheckpointError(
                f"the {self.family} config lacks {name!r}; is this its config.json?"
            )
        return default if value is None else value

    def expect(self, name: str, *accepted: Any) -> None:
        """An attribute that the family honours for these values only; None passes.

        Raises:
          CheckpointError: another value.
        """
        self._unread.discard(name)
        value = self._config.get(name)
        if value is not None and value not in accepted:
            raise CheckpointError(
                f"{self.family}: config attribute {name!r} is {value!r}; only "
                f"{', '.join(repr(one) for one in accepted)} is supported."
            )

    def finish(self) -> None:
        """Refuse whatever is left.

        Raises:
          CheckpointError: names every attribute that this family does not honour.
        """
        neutral = ("is_encoder_decoder", "is_decoder", "add_cross_attention")
        left = {
            name: self._config[name]
            for name in sorted(self._unread)
            if self._config[name] not in (None, [], {})
            and not (name in neutral and self._config[name] is False)
        }
        if left:
            raise CheckpointError(
                f"{self.family}: config attributes {left} are not honoured by "
                "helix_jax, so its hidden states would be wrong. Remove them from "
                "config.json if they have no effect on the forward pass."
            )
