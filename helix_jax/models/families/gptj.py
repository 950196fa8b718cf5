"""GPT-J (Wang and Komatsuzaki 2021) and CodeGen (arXiv 2203.13474)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.families.common import OTHER_HEADS, Family
from helix_jax.models.families.gpt_layout import gpt_parts
from helix_jax.models.rope_config import rope_from_hf
from helix_jax.models.rules import KEEP, Rule, dense, grouped, norm
from helix_jax.models.spec import ModelSpec

CODEGEN_BLOCKS = 4  # of heads, in which its fused projection is stored


def _spec(config: ConfigReader, raw: Mapping[str, Any]) -> ModelSpec:
    """Parallel branches after one norm; a part of each head is rotated by pairs."""
    parts = gpt_parts(config, raw)
    rotated = config.take("rotary_dim")
    if rotated % 2 or rotated > parts["head_width"]:
        raise CheckpointError(
            f"{config.family}: config attribute 'rotary_dim' is {rotated}; expected an "
            f"even number up to the {parts['head_width']} features of a head."
        )
    rope = rope_from_hf({}, head_width=rotated, max_tokens=parts["max_tokens"])
    spec = ModelSpec(
        **parts,
        parallel=True,
        shared_norm=True,
        rope=dataclasses.replace(rope, interleaved=True),
        ffn_bias=True,
        head_bias=True,
    )
    config.finish()
    return spec


def gptj_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a gptj config."""
    return _spec(ConfigReader(raw), raw)


def codegen_from_hf(raw: Mapping[str, Any]) -> ModelSpec:
    """The spec of a codegen config.

    Raises:
      CheckpointError: also for heads that its blocks cannot share evenly.
    """
    config = ConfigReader(raw)
    config.take("n_ctx", None)  # read by transformers, but not used
    heads = config.take("n_head")
    if heads % CODEGEN_BLOCKS:
        raise CheckpointError(
            f"codegen: config attribute 'n_head' is {heads}; expected a multiple of "
            f"{CODEGEN_BLOCKS}."
        )
    return _spec(config, raw)


def _block_sizes(spec: ModelSpec) -> tuple[int, list[int]]:
    return CODEGEN_BLOCKS, [spec.width // CODEGEN_BLOCKS] * 3


_LAYER = "transformer.h.{}."
_SHARED = (
    Rule("transformer.wte.weight", ("embed",), KEEP),
    *dense(f"{_LAYER}attn.out_proj", "layers/out"),
    *dense(f"{_LAYER}mlp.fc_in", "layers/up"),
    *dense(f"{_LAYER}mlp.fc_out", "layers/down"),
    *norm(f"{_LAYER}ln_1", "layers/attention_norm"),
    *norm("transformer.ln_f", "final_norm"),
    *dense("lm_head", "head"),
)
_IGNORED = (r".*\.attn\.(bias|masked_bias|causal_mask)", *OTHER_HEADS)
GPTJ = Family(
    "gptj",
    gptj_from_hf,
    (
        *_SHARED,
        *dense(f"{_LAYER}attn.q_proj", "layers/q"),
        *dense(f"{_LAYER}attn.k_proj", "layers/k"),
        *dense(f"{_LAYER}attn.v_proj", "layers/v"),
    ),
    prefix="transformer.",
    ignored=_IGNORED,
)
CODEGEN = Family(
    "codegen",
    codegen_from_hf,
    (
        *_SHARED,
        Rule(
            f"{_LAYER}attn.qkv_proj.weight",
            ("layers/q/kernel", "layers/v/kernel", "layers/k/kernel"),
            grouped(_block_sizes),
        ),
    ),
    prefix="transformer.",
    ignored=_IGNORED,
)
