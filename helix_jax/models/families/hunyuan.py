"""Hunyuan dense (Tencent 2025): llama whose heads are normed after their rotation."""

from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import ROTARY_BUFFERS, Family, gated_parts
from helix_jax.models.families.layout import LAYER, PRE_NORMS, PROJECTIONS, gated_rules
from helix_jax.models.rules import norm
from helix_jax.models.spec import ModelSpec


def spec_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a hunyuan_v1_dense config."""
    config = ConfigReader(raw | {"rope_parameters": _rope(raw)})
    bias = config.take("attention_bias", False)
    spec = ModelSpec(
        **gated_parts(config, raw),
        qk_norm="head",
        qk_norm_last=True,
        qkv_bias=bias,
        out_bias=bias,
    )
    config.finish()
    return spec


def _rope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """rope_parameters, where a fixed alpha of type dynamic is in the base already.

    The base is theta alpha^(d / (d - 2)) then, and nothing else there is read.
    """
    given = dict(raw.get("rope_parameters") or {})
    alpha, width = given.get("alpha"), raw.get("head_dim")
    if given.get("rope_type") != "dynamic" or not alpha:
        return given
    numbers = (alpha, given.get("rope_theta"), width)
    if not all(type(number) in (int, float) for number in numbers) or not (
        alpha > 0 and width > 2
    ):
        raise CheckpointError(
            f"hunyuan_v1_dense: rope_parameters of type dynamic with alpha {alpha!r} "
            "need it positive, a number rope_theta and heads of more than two features "
            f"(head_dim); got {given} and head_dim {width!r}."
        )
    base = given["rope_theta"] * alpha ** (width / (width - 2))
    part = {"partial_rotary_factor": given.get("partial_rotary_factor")}
    return {"rope_type": "default", "rope_theta": base} | part


_NORMS = (
    *norm(f"{LAYER}self_attn.query_layernorm", "layers/q_norm"),
    *norm(f"{LAYER}self_attn.key_layernorm", "layers/k_norm"),
)
FAMILY = Family(
    "hunyuan_v1_dense",
    spec_from_hf,
    gated_rules(norms=PRE_NORMS, attention=(*PROJECTIONS, *_NORMS)),
    ignored=ROTARY_BUFFERS,
)
