"""Encoders of T5 (arXiv 1910.10683) and mT5 (arXiv 2010.11934)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ACTIVATION_NAMES, OTHER_HEADS, Family
from helix_jax.models.rules import KEEP, TRANSPOSE, Rule, dense, norm
from helix_jax.models.spec import ModelSpec, RelativeBias

# Of the decoder, of classifiers, and of training; no part of the encoder's states.
_UNREAD = """
    num_decoder_layers decoder_start_token_id scale_decoder_outputs initializer_factor
    dropout_rate classifier_dropout is_encoder_decoder tie_word_embeddings
    output_past
""".split()


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of the encoder of a t5 config.

    From a folder with both halves only the encoder is read: its states are those of the
    text; the decoder needs a second text. Positions are relative and unlimited;
    `max_tokens` is the length used in training, 512 if the config does not say.
    """
    config = ConfigReader(raw)
    config.expect("is_decoder", False)
    config.expect("is_causal", False)
    for name in _UNREAD:
        config.take(name, None)
    gated, activation = _feed_forward(config)
    heads, head_width = config.take("num_heads"), config.take("d_kv")
    spec = ModelSpec(
        family=config.family,
        vocab_size=config.take("vocab_size"),
        width=config.take("d_model"),
        num_layers=config.take("num_layers"),
        num_heads=heads,
        num_kv_heads=heads,
        head_width=head_width,
        ffn_width=config.take("d_ff"),
        max_tokens=config.take("n_positions", 512),
        causal=False,
        norm_epsilon=config.take("layer_norm_epsilon"),
        activation=activation,
        gated=gated,
        relative_bias=RelativeBias(
            config.take("relative_attention_num_buckets"),
            config.take("relative_attention_max_distance"),
        ),
        head=None,
        tied=True,
    )
    config.finish()
    return spec


def _feed_forward(config: ConfigReader) -> tuple[bool, str]:
    """Whether it is gated, and its activation, from `feed_forward_proj`."""
    named = config.take("feed_forward_proj")
    derived = config.take("is_gated_act"), config.take("dense_act_fn")
    gated, name = named.startswith("gated-"), named.removeprefix("gated-")
    name = "gelu_new" if named == "gated-gelu" else name
    if derived != (gated, name) or name not in ACTIVATION_NAMES:
        raise CheckpointError(
            f"{config.family}: config attribute 'feed_forward_proj' is {named!r}, with "
            f"is_gated_act {derived[0]} and dense_act_fn {derived[1]!r}; expected them "
            f"to agree, on one of {', '.join(ACTIVATION_NAMES)}."
        )
    return gated, ACTIVATION_NAMES[name]


_LAYER = "encoder.block.{}.layer."
_FFN, _UP = f"{_LAYER}1.DenseReluDense.", ("layers/up/kernel",)
RULES = (
    Rule("shared.weight", ("embed",), KEEP),
    Rule(
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        ("relative_bias",),
        KEEP,
    ),
    *dense(f"{_LAYER}0.SelfAttention.q", "layers/q"),
    *dense(f"{_LAYER}0.SelfAttention.k", "layers/k"),
    *dense(f"{_LAYER}0.SelfAttention.v", "layers/v"),
    *dense(f"{_LAYER}0.SelfAttention.o", "layers/out"),
    *norm(f"{_LAYER}0.layer_norm", "layers/attention_norm"),
    *dense(f"{_FFN}wi_0", "layers/gate"),
    Rule(f"{_FFN}wi_1.weight", _UP, TRANSPOSE, when=lambda spec: spec.gated),
    Rule(f"{_FFN}wi.weight", _UP, TRANSPOSE, when=lambda spec: not spec.gated),
    *dense(f"{_FFN}wo", "layers/down"),
    *norm(f"{_LAYER}1.layer_norm", "layers/ffn_norm"),
    *norm("encoder.final_layer_norm", "final_norm"),
)


def _family(name: str) -> Family:
    return Family(
        name,
        spec_from_hf,
        RULES,
        prefix="",
        ignored=(r"(decoder|lm_head|classification_head)\..*", *OTHER_HEADS),
        renamed=(
            (r"^transformer\.", ""),
            (r"^(encoder|decoder)\.embed_tokens\.", "shared."),
        ),
        causal=False,
    )


T5, MT5 = _family("t5"), _family("mt5")
