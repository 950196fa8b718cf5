"""The frozen description of one transformer: every architectural switch, by name.

A `ModelSpec` is hashable, so it is a static argument of a jitted function. A family
(`models/families`) only fills it in from a Hugging Face config; the one forward pass
(`models/transformer.py`) reads it.
"""

import dataclasses
import math

# Initial values of xielu's parameters; alpha_p and alpha_n before their softplus.
XIELU = {
    "alpha_p": math.log(math.expm1(0.8)),
    "alpha_n": math.log(math.expm1(0.3)),
    "beta": 0.5,
    "eps": -1e-6,
}


@dataclasses.dataclass(frozen=True)
class RopeSpec:
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864).

    Attributes:
      frequencies: inverse frequencies in radians per token; their number is half the
        rotated part of the head.
      scale: factor on cos and sin (YaRN, LongRoPE).
      long_frequencies: LongRoPE's table for contexts longer than `long_after` tokens.
      long_after: tokens, or None.
      dynamic: (base, factor) of frequencies recomputed for contexts longer than
        `long_after` tokens (dynamic NTK), or None.
      interleaved: neighbouring features rotate together, (0, 1), (2, 3), .. (glm,
        gptj), instead of features i and i + R, R being half the rotated part.
      query_growth: (beta, period): queries are multiplied by 1 + beta log(1 +
        floor(position / period)) (llama 4, ministral3); None for never.
    """

    frequencies: tuple[float, ...]
    scale: float = 1.0
    long_frequencies: tuple[float, ...] | None = None
    long_after: int | None = None
    dynamic: tuple[float, float] | None = None
    interleaved: bool = False
    query_growth: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class RelativeBias:
    """Bias of scores by the distance between query and key (t5, arXiv 1910.10683).

    One table serves all layers. Half of its rows are for the query's own position and
    keys before it, half for keys after it. Half of each are for single distances, the
    other half for spans that grow with the distance.

    Attributes:
      buckets: rows of the table.
      max_distance: tokens; distances of this many or more share a row.
    """

    buckets: int
    max_distance: int


@dataclasses.dataclass(frozen=True)
class AlibiSpec:
    """A bias on the scores that falls with the distance of a key (arXiv 2108.12409).

    Attributes:
      slopes: what each head subtracts per token of distance.
      scale: factor on that (falcon scales it with the scores).
      coarse: slopes and key positions are multiplied in bfloat16, whatever dtype the
        model runs in (falcon).
    """

    slopes: tuple[float, ...]
    scale: float = 1.0
    coarse: bool = False


@dataclasses.dataclass(frozen=True)
class ExpertSpec:
    """A mixture of experts in place of each feed-forward layer (`models/experts.py`).

    Attributes:
      count: experts of a layer, E; each is as wide as `ModelSpec.ffn_width`.
      per_token: how many of them a token goes through, k.
      normalised: the weights of a token's experts sum to 1.
      router_bias: the router has a bias.
      shared_width: features of an expert that every token goes through; 0 for none.
      shared_gate: its output is weighted by a sigmoid of x (qwen2_moe).
    """

    count: int
    per_token: int
    normalised: bool = True
    router_bias: bool = False
    shared_width: int = 0
    shared_gate: bool = False


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One transformer, decoder or encoder. Widths are numbers of features.

    Attributes:
      family: Hugging Face `model_type`.
      vocab_size, width, num_layers, num_heads, num_kv_heads, head_width, ffn_width:
        the sizes V, D, L, H, K, D_head and F.
      max_tokens: context length in tokens.
      causal: decoder (True) or encoder.
      norm: "rms" or "layer"; `norm_epsilon`; `norm_bias`: whether norms have a bias;
        `norm_unit_offset`: the scale is 1 + weight (gemma); `norm_scale`: whether
        norms have a scale at all (olmo's have none).
      block: the place of the norms. "pre": h + f(norm(h)). "post": h + norm(f(h))
        (olmo2). "sandwich": h + norm(f(norm(h))) (gemma 2, 3). "post_residual":
        norm(h + f(h)) (bert, early opt).
      first_norm: whether the first block has a norm before its attention; False in
        modernbert, which normalises the embeddings instead.
      parallel: attention and feed-forward read the same h (gpt_neox); `shared_norm`:
        after one norm instead of separate ones (phi, cohere).
      residual_scale: factor on what each branch adds to the stream (granite).
      activation: "silu", "gelu" (exact), "gelu_tanh", "relu", "relu2" (its square) or
        "xielu" (apertus; each layer has learned parameters of it).
      gated: down(activation(gate(h)) * up(h)) instead of down(activation(up(h))).
      rope, local_rope: rotary embedding of full and of sliding-window layers. Models
        with neither have learned positions, sinusoids, `alibi` or `relative_bias`.
      alibi: a bias by distance instead (bloom, mpt, some falcons), or None.
      rope_layers: for each layer, whether it rotates at all (smollm3, cohere2); None
        when all do.
      num_positions, position_offset: rows of the learned table and the row of the
        first token.
      sinusoids: positions are given by sines and cosines instead (xglm).
      uncounted_token: an id that advances no position wherever it occurs (roberta's
        padding), and takes the row before the first token's; None for none.
      token_types: rows of the token type table (bert).
      task_types: rows of a task type table, whose first is used for every text (ernie).
      embed_width: width of the embedding if it differs from D.
      embed_projected: what is projected from it to D: "tokens" alone (small opt), or
        the "sum" with positions and types, after its norm and with a bias (electra).
      embed_norm: a norm after the embeddings (bert).
      embed_scale: factor on the embeddings (gemma).
      windows: for each layer, how many tokens back (itself included) it sees, and in an
        encoder as many forward, 0 for all; None when no layer has a window.
      relative_bias: added to the scores of every layer of an encoder, or None.
      attention_scale: factor on query-key products.
      attention_softcap, logit_softcap: c in c tanh(x / c); None for none.
      logit_scale: factor on the logits, before their soft cap (granite, cohere).
      qk_norm: None, "head" (each head), "heads" (each head with weights of its own and
        no bias: cohere) or "full" (all heads together).
      qk_norm_last: norms of heads come after their rotation (hunyuan).
      qkv_clip: queries, keys and values are clipped to plus or minus this value (olmo)
        before they are rotated; None for never.
      experts: a mixture of experts instead of one feed-forward layer, or None.
      clamped_gate: (limit, slope) of a gated layer whose activation is g sigmoid(slope
        g), times 1 + up, g and up clipped at the limit (gpt_oss); None for none.
      sinks: each head has an extra score that takes part in the softmax but has no
        value (gpt_oss).
      qkv_bias, out_bias, ffn_bias: which projections have a bias.
      final_norm: whether the residual stream ends in a norm.
      head: "linear", "mlm" (bert's transform, norm and bias) or None.
      tied: the head is the transposed embedding.
      head_bias: the head has a bias.
      head_activation: of the mlm head's transform, if it is not `activation`.
      head_transform_bias: whether the mlm head's transform has a bias.
    """

    family: str
    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    ffn_width: int
    max_tokens: int
    causal: bool = True
    norm: str = "rms"
    norm_epsilon: float = 1e-6
    norm_bias: bool = False
    norm_unit_offset: bool = False
    norm_scale: bool = True
    block: str = "pre"
    first_norm: bool = True
    parallel: bool = False
    shared_norm: bool = False
    residual_scale: float | None = None
    activation: str = "silu"
    gated: bool = True
    rope: RopeSpec | None = None
    local_rope: RopeSpec | None = None
    rope_layers: tuple[bool, ...] | None = None
    alibi: AlibiSpec | None = None
    num_positions: int = 0
    position_offset: int = 0
    sinusoids: bool = False
    uncounted_token: int | None = None
    token_types: int = 0
    task_types: int = 0
    embed_width: int | None = None
    embed_projected: str = "tokens"
    embed_norm: bool = False
    embed_scale: float | None = None
    windows: tuple[int, ...] | None = None
    relative_bias: RelativeBias | None = None
    attention_scale: float = 1.0
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    logit_scale: float | None = None
    qk_norm: str | None = None
    qk_norm_last: bool = False
    qkv_clip: float | None = None
    experts: ExpertSpec | None = None
    clamped_gate: tuple[float, float] | None = None
    sinks: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    ffn_bias: bool = False
    final_norm: bool = True
    head: str | None = "linear"
    tied: bool = False
    head_bias: bool = False
    head_activation: str | None = None
    head_transform_bias: bool = True
