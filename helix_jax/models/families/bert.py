"""Bert (arXiv 1810.04805), its sentence encoders, and roberta (arXiv 1907.11692)."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.rules import KEEP, Rule, dense, norm
from helix_jax.models.spec import ModelSpec


def _spec(raw: Mapping[str, Any], *, position_offset: int) -> ModelSpec:
    config = ConfigReader(raw)
    config.expect("position_embedding_type", "absolute")
    config.expect("directionality", "bidi")
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
        position_offset=position_offset,
        token_types=config.take("type_vocab_size"),
        embed_norm=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        final_norm=False,
        tied=bool(config.take("tie_word_embeddings", True)),
        head_bias=True,
    )
    config.finish()
    return spec


def bert_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a bert config."""
    return _spec(raw, position_offset=0)


def roberta_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a roberta config: positions start after the padding id."""
    return _spec(raw, position_offset=int(raw.get("pad_token_id") or 0) + 1)


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
            *dense(f"{_BERT_HEAD}decoder", "head")[:1],
            Rule(f"{_BERT_HEAD}bias", ("head/bias",), KEEP),
        ),
    ),
    prefix="bert.",
    # The pooler and the next-sentence classifier are no part of the hidden states;
    # decoder.bias repeats predictions.bias.
    ignored=(
        r"bert\.pooler\..*",
        r"bert\.embeddings\.position_ids",
        r"cls\.seq_relationship\..*",
        r"cls\.predictions\.decoder\.bias",
        *OTHER_HEADS,
    ),
    # Checkpoints converted from TensorFlow.
    renamed=((r"LayerNorm\.gamma$", "LayerNorm.weight"),
             (r"LayerNorm\.beta$", "LayerNorm.bias")),
)  # fmt: skip
ROBERTA = Family(
    "roberta",
    roberta_from_hf,
    _rules(
        "roberta",
        (
            *dense("lm_head.dense", "head_transform"),
            *norm("lm_head.layer_norm", "head_norm"),
            *dense("lm_head.decoder", "head")[:1],
            Rule("lm_head.bias", ("head/bias",), KEEP),
        ),
    ),
    prefix="roberta.",
    ignored=(
        r"roberta\.pooler\..*",
        r"roberta\.embeddings\.position_ids",
        r"lm_head\.decoder\.bias",
        *OTHER_HEADS,
    ),
)
