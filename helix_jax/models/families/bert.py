"""Bert (arXiv 1810.04805), its sentence encoders, and roberta (arXiv 1907.11692)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.rules import KEEP, SHARED_BIAS, Rule, dense, norm
from helix_jax.models.spec import ModelSpec


def _spec(raw: Mapping[str, Any], **own: Any) -> ModelSpec:
    config = ConfigReader(raw)
    config.expect("position_embedding_type", "absolute")
    config.expect("directionality", "bidi")
    config.expect("is_causal", False)
    position_offset = own.get("position_offset", 0)
    positions = config.take("max_position_embeddings")
    parts = plain_parts(config, raw)
    if parts["head"] != "mlm":
        parts["head"] = None
    spec = ModelSpec(
        **parts,
        ffn_width=config.take("intermediate_size"),
        max_tokens=positions - position_offset,
        causal=False,
        norm_epsilon=config.take("layer_norm_eps"),
        block="post_residual",
        num_positions=positions,
        token_types=config.take("type_vocab_size"),
        embed_norm=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        final_norm=False,
        tied=bool(config.take("tie_word_embeddings", True)),
        head_bias=True,
        **own,
    )
    config.finish()
    return spec


def bert_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a bert config."""
    return _spec(raw)


def roberta_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a roberta config.

    Positions are counted from the padding id on, and by it: a padding token within the
    text takes none. The mlm head's activation is gelu, whatever the layers'.

    Raises:
      CheckpointError: also for a config without a padding id.
    """
    padding = raw.get("pad_token_id")
    positions = raw.get("max_position_embeddings") or 0
    if type(padding) is not int or not 0 <= padding < max(positions - 1, 1):
        raise CheckpointError(
            f"roberta: config attribute 'pad_token_id' is {padding!r}; expected the "
            "padding token's id (1 in roberta-base): positions are counted from it."
        )
    return _spec(
        raw,
        position_offset=padding + 1,
        uncounted_token=padding,
        head_activation="gelu",
    )


def _rules(base: str, head: tuple[Rule, ...]) -> tuple[Rule, ...]:
    layer = f"{base}.encoder.layer.{{}}."
    return (
        Rule(f"{base}.embeddings.word_embeddings.weight", ("embed",), KEEP),
        Rule(f"{base}.embeddings.position_embeddings.weight", ("positions",), KEEP),
        Rule(f"{base}.embeddings.token_type_embeddings.weight", ("token_types",), KEEP),
        *norm(f"{base}.embeddings.LayerNorm", "embed_norm"),
        *dense(f"{layer}attention.self.query", "layers/q"),
        *dense(f"{layer}attention.self.key", "layers/k"),
        *dense(f"{layer}attention.self.value", "layers/v"),
        *dense(f"{layer}attention.output.dense", "layers/out"),
        *norm(f"{layer}attention.output.LayerNorm", "layers/attention_norm"),
        *dense(f"{layer}intermediate.dense", "layers/up"),
        *dense(f"{layer}output.dense", "layers/down"),
        *norm(f"{layer}output.LayerNorm", "layers/ffn_norm"),
        *head,
    )


_BERT_HEAD = "cls.predictions."
BERT = Family(
    "bert",
    bert_from_hf,
    _rules(
        "bert",
        (
            *dense(f"{_BERT_HEAD}transform.dense", "head_transform"),
            *norm(f"{_BERT_HEAD}transform.LayerNorm", "head_norm"),
            *dense(f"{_BERT_HEAD}decoder", "head"),
            Rule(f"{_BERT_HEAD}bias", (SHARED_BIAS,), KEEP),
        ),
    ),
    prefix="bert.",
    # The pooler and the next-sentence classifier are no part of the hidden states.
    ignored=(
        r"bert\.pooler\..*",
        r"bert\.embeddings\.position_ids",
        r"cls\.seq_relationship\..*",
        *OTHER_HEADS,
    ),
    # Checkpoints converted from TensorFlow.
    renamed=(
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
    ),
    causal=False,
)
ROBERTA = Family(
    "roberta",
    roberta_from_hf,
    _rules(
        "roberta",
        (
            *dense("lm_head.dense", "head_transform"),
            *norm("lm_head.layer_norm", "head_norm"),
            *dense("lm_head.decoder", "head"),
            Rule("lm_head.bias", (SHARED_BIAS,), KEEP),
        ),
    ),
    prefix="roberta.",
    ignored=(
        r"roberta\.pooler\..*",
        r"roberta\.embeddings\.position_ids",
        *OTHER_HEADS,
    ),
    causal=False,
)
