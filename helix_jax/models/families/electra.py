"""ELECTRA (arXiv 2003.10555): discriminators, generators and base models."""

from collections.abc import Mapping
from typing import Any

from helix_jax.models.config import ConfigReader
from helix_jax.models.families.bert import (
    bert_rules,
    bert_spec,
    masked_head,
    post_norms,
    unread,
)
from helix_jax.models.families.common import Family
from helix_jax.models.rules import dense
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of an electra config.

    Embeddings of another width are projected after their norm. A discriminator does not
    predict tokens, so only generators have a head.
    """
    config = ConfigReader(raw)
    config.take("summary_last_dropout", None)
    width = config.take("embedding_size")
    own: dict[str, Any] = {"head_activation": "gelu"}
    if width != raw.get("hidden_size"):
        own |= {"embed_width": width, "embed_projected": "sum"}
    if not any(n.endswith("ForMaskedLM") for n in raw.get("architectures") or ()):
        own["head"] = None
    return bert_spec(config, raw, **own)


RULES = bert_rules(
    "electra",
    post_norms("electra"),
    [
        *dense("electra.embeddings_project", "embed_in"),
        *masked_head(
            "generator_predictions.dense",
            "generator_predictions.LayerNorm",
            "generator_lm_head",
            None,
        ),
    ],
)
FAMILY = Family(
    "electra",
    spec_from_hf,
    RULES,
    prefix="electra.",
    ignored=(
        r"discriminator_predictions\..*",
        r"sequence_summary\..*",
        *unread("electra"),
    ),
    causal=False,
)
