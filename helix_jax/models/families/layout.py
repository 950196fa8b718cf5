"""Names of tensors in llama's checkpoints and in those with the same layout."""

from collections.abc import Mapping, Sequence

from helix_jax.models.rules import GATE_UP_ROWS, KEEP, Rule, dense, norm

LAYER = "model.layers.{}."
PROJECTIONS = (
    *dense(f"{LAYER}self_attn.q_proj", "layers/q"),
    *dense(f"{LAYER}self_attn.k_proj", "layers/k"),
    *dense(f"{LAYER}self_attn.v_proj", "layers/v"),
    *dense(f"{LAYER}self_attn.o_proj", "layers/out"),
)
ATTENTION = (
    *PROJECTIONS,
    *norm(f"{LAYER}self_attn.q_norm", "layers/q_norm"),
    *norm(f"{LAYER}self_attn.k_norm", "layers/k_norm"),
)
GATED_FFN = (
    *dense(f"{LAYER}mlp.gate_proj", "layers/gate"),
    *dense(f"{LAYER}mlp.up_proj", "layers/up"),
    *dense(f"{LAYER}mlp.down_proj", "layers/down"),
)
FUSED_FFN = (
    Rule(
        f"{LAYER}mlp.gate_up_proj.weight",
        ("layers/gate/kernel", "layers/up/kernel"),
        GATE_UP_ROWS,
    ),
    *dense(f"{LAYER}mlp.down_proj", "layers/down"),
)
PRE_NORMS = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
POST_NORMS = {
    "post_attention_layernorm": "attention_post_norm",
    "post_feedforward_layernorm": "ffn_post_norm",
}
SANDWICH_NORMS = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "attention_post_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "ffn_post_norm",
}


def gated_rules(
    *,
    norms: Mapping[str, str],
    attention: Sequence[Rule] = ATTENTION,
    ffn: Sequence[Rule] = GATED_FFN,
) -> tuple[Rule, ...]:
    """Rules of llama and its relatives; rules for absent tensors do no harm.

    Args:
      norms: name within a layer -> parameter.
      attention, ffn: rules of the two branches, if they differ from llama's.
    """
    return (
        Rule("model.embed_tokens.weight", ("embed",), KEEP),
        *attention,
        *ffn,
        *(
            rule
            for theirs, ours in norms.items()
            for rule in norm(f"{LAYER}{theirs}", f"layers/{ours}")
        ),
        *norm("model.norm", "final_norm"),
        *dense("lm_head", "head"),
    )
