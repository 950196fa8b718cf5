"""Bert (arXiv 1810.04805) and encoders of its layout: ernie, megatron."""

from collections.abc import Mapping, Sequence
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family, plain_parts
from helix_jax.models.rules import KEEP, SHARED_BIAS, Rule, dense, norm
from helix_jax.models.spec import ModelSpec

# How the pre-norm relatives of bert differ from it.
PRE_NORM: dict[str, Any] = {"block": "pre", "final_norm": True}


def bert_spec(config: ConfigReader, raw: Mapping[str, Any], **own: Any) -> ModelSpec:
    """The spec of an encoder whose config spells its sizes as bert's does.

    Args:
      config, raw: the config.
      **own: fields of the spec in which the family differs.
    """
    config.expect("position_embedding_type", "absolute")
    config.expect("is_causal", False)
    parts = plain_parts(config, raw)
    positions = config.take("max_position_embeddings")
    fields = parts | {
        "ffn_width": config.take("intermediate_size"),
        "max_tokens": positions - own.get("position_offset", 0),
        "causal": False,
        "norm_epsilon": config.take("layer_norm_eps"),
        "block": "post_residual",
        "num_positions": positions,
        "token_types": config.take("type_vocab_size", 0),
        "embed_norm": True,
        "qkv_bias": True,
        "out_bias": True,
        "ffn_bias": True,
        "final_norm": False,
        "head": "mlm" if parts["head"] == "mlm" else None,
        "tied": bool(config.take("tie_word_embeddings", True)),
        "head_bias": True,
    }
    spec = ModelSpec(**fields | own)
    config.finish()
    return spec


def bert_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a bert config."""
    config = ConfigReader(raw)
    config.expect("directionality", "bidi")
    return bert_spec(config, raw)


def ernie_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an ernie config; every text is given the first of its tasks."""
    config = ConfigReader(raw)
    tasks = config.take("task_type_vocab_size", 0)
    used = config.take("use_task_id", False)
    return bert_spec(config, raw, task_types=tasks if used else 0)


def megatron_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a megatron-bert config."""
    return bert_spec(ConfigReader(raw), raw, embed_norm=False, **PRE_NORM)


def bert_rules(base: str, norms: Sequence[Rule], head: Sequence[Rule]) -> tuple:
    """Rules of an encoder whose parts are named like bert's.

    Args:
      base: name of the base model in full checkpoints.
      norms: rules of the layers' norms, whose names differ by family.
      head: rules of the output head.
    """
    layer = f"{base}.encoder.layer.{{}}."
    table = f"{base}.embeddings."
    return (
        Rule(f"{table}word_embeddings.weight", ("embed",), KEEP),
        Rule(f"{table}position_embeddings.weight", ("positions",), KEEP),
        Rule(f"{table}token_type_embeddings.weight", ("token_types",), KEEP),
        Rule(f"{table}task_type_embeddings.weight", ("task_types",), KEEP),
        *norm(f"{table}LayerNorm", "embed_norm"),
        *dense(f"{layer}attention.self.query", "layers/q"),
        *dense(f"{layer}attention.self.key", "layers/k"),
        *dense(f"{layer}attention.self.value", "layers/v"),
        *dense(f"{layer}attention.output.dense", "layers/out"),
        *dense(f"{layer}intermediate.dense", "layers/up"),
        *dense(f"{layer}output.dense", "layers/down"),
        *norms,
        *head,
    )


def post_norms(base: str) -> list[Rule]:
    """Rules of the norms after each half of a layer."""
    layer = f"{base}.encoder.layer.{{}}."
    return [
        *norm(f"{layer}attention.output.LayerNorm", "layers/attention_norm"),
        *norm(f"{layer}output.LayerNorm", "layers/ffn_norm"),
    ]


def masked_head(
    transform: str, layer_norm: str, decoder: str, bias: str | None
) -> list[Rule]:
    """Rules of a masked head, by the names of its parts."""
    shared = [] if bias is None else [Rule(bias, (SHARED_BIAS,), KEEP)]
    return [
        *dense(transform, "head_transform"),
        *norm(layer_norm, "head_norm"),
        *dense(decoder, "head"),
        *shared,
    ]


_MEGATRON = "bert.encoder.layer.{}."
_HEAD = masked_head(
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    "cls.predictions.decoder",
    "cls.predictions.bias",
)
# Checkpoints converted from TensorFlow.
_RENAMED = (
    (r"LayerNorm\.gamma$", "LayerNorm.weight"),
    (r"LayerNorm\.beta$", "LayerNorm.bias"),
)


def unread(base: str) -> tuple[str, ...]:
    """Tensors that are not part of the hidden states: poolers and other heads."""
    return (
        rf"{base}\.pooler\..*",
        rf"{base}\.embeddings\.position_ids",
        r"cls\.seq_relationship\..*",
        *OTHER_HEADS,
    )


def _family(name: str, reader: Any, base: str, norms: list[Rule]) -> Family:
    return Family(
        name,
        reader,
        bert_rules(base, norms, _HEAD),
        prefix=f"{base}.",
        ignored=unread(base),
        renamed=_RENAMED,
        causal=False,
    )


BERT = _family("bert", bert_from_hf, "bert", post_norms("bert"))
ERNIE = _family("ernie", ernie_from_hf, "ernie", post_norms("ernie"))
MEGATRON = _family(
    "megatron-bert",
    megatron_from_hf,
    "bert",
    [
        *norm(f"{_MEGATRON}attention.ln", "layers/attention_norm"),
        *norm(f"{_MEGATRON}ln", "layers/ffn_norm"),
        *norm("bert.encoder.ln", "final_norm"),
    ],
)
