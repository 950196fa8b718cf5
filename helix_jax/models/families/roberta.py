"""Roberta (arXiv 1907.11692) and its relatives; some have norms before their branches.

xlm-roberta (arXiv 1911.02116), camembert (1911.03894), data2vec-text (2202.03555),
xlm-roberta-xl (2105.00572), roberta-prelayernorm (1904.01038).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.bert import (
    PRE_NORM,
    bert_rules,
    bert_spec,
    masked_head,
    post_norms,
    unread,
)
from helix_jax.models.families.common import Family
from helix_jax.models.rules import Rule, norm
from helix_jax.models.spec import ModelSpec


def roberta_from_hf(raw: Mapping[str, Any], **own: Any) -> ModelSpec:
    """The spec of a config of roberta or one of its relatives.

    The first token's row in the position table is the padding id + 1, and a padding
    token within the text takes no position. The mlm head's activation is always gelu.

    Args:
      raw: the config.
      **own: fields of the spec in which the family differs.

    Raises:
      CheckpointError: also for a config without a padding id.
    """
    config = ConfigReader(raw)
    padding = raw.get("pad_token_id")
    positions = raw.get("max_position_embeddings") or 0
    if type(padding) is not int or not 0 <= padding < max(positions - 1, 1):
        raise CheckpointError(
            f"{config.family}: config attribute 'pad_token_id' is {padding!r}; "
            "expected the padding token's id (1 in roberta-base): positions are "
            "counted from it."
        )
    return bert_spec(
        config,
        raw,
        position_offset=padding + 1,
        uncounted_token=padding,
        head_activation="gelu",
        **own,
    )


ROBERTA_HEAD = masked_head(
    "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"
)


def _family(
    name: str,
    base: str = "roberta",
    norms: list[Rule] | None = None,
    reader: Callable[[Mapping[str, Any]], ModelSpec] = roberta_from_hf,
) -> Family:
    return Family(
        name,
        reader,
        bert_rules(base, post_norms(base) if norms is None else norms, ROBERTA_HEAD),
        prefix=f"{base}.",
        ignored=unread(base),
        causal=False,
    )


_XL = "roberta.encoder.layer.{}."
_PRE = "roberta_prelayernorm.encoder.layer.{}."
FAMILIES = (
    _family("roberta"),
    _family("xlm-roberta"),
    _family("camembert"),
    _family("data2vec-text", "data2vec_text"),
    _family(
        "xlm-roberta-xl",
        norms=[
            *norm(f"{_XL}attention.self_attn_layer_norm", "layers/attention_norm"),
            *norm(f"{_XL}LayerNorm", "layers/ffn_norm"),
            *norm("roberta.encoder.LayerNorm", "final_norm"),
        ],
        reader=partial(roberta_from_hf, embed_norm=False, **PRE_NORM),
    ),
    _family(
        "roberta-prelayernorm",
        "roberta_prelayernorm",
        norms=[
            *norm(f"{_PRE}attention.LayerNorm", "layers/attention_norm"),
            *norm(f"{_PRE}intermediate.LayerNorm", "layers/ffn_norm"),
            *norm("roberta_prelayernorm.LayerNorm", "final_norm"),
        ],
        reader=partial(roberta_from_hf, **PRE_NORM),
    ),
)
