"""What a family is, and the parts that several families share."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from helix_jax.errors import CheckpointError, UnsupportedError
from helix_jax.models.config import ConfigReader
from helix_jax.models.rope_config import rope_from_hf
from helix_jax.models.rules import Rule
from helix_jax.models.spec import ModelSpec, RopeSpec

# Hugging Face names of activations -> ours.
ACTIVATION_NAMES = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


class Family(NamedTuple):
    """One architecture of the Hugging Face zoo.

    Attributes:
      name: its `model_type`.
      spec_from_hf: config dict -> ModelSpec.
      rules: checkpoint names <-> parameters.
      prefix: what full checkpoints put before the base model's names; checkpoints of
        the base model alone lack it.
      ignored: regular expressions of tensors without parameters (buffers, poolers).
      renamed: (regular expression, replacement) applied to checkpoint names first.
      causal: decoder (True) or encoder.
    """

    name: str
    spec_from_hf: Callable[[Mapping[str, Any]], ModelSpec]
    rules: tuple[Rule, ...]
    prefix: str = "model."
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    causal: bool = True


def read_activation(config: ConfigReader, name: str) -> str:
    """The activation under a config attribute, in our spelling."""
    value = config.take(name)
    if value not in ACTIVATION_NAMES:
        raise UnsupportedError(
            f"{config.family}: config attribute {name!r} is {value!r}; supported are "
            f"{', '.join(ACTIVATION_NAMES)}."
        )
    return ACTIVATION_NAMES[value]


def read_head(config: Mapping[str, Any]) -> str | None:
    """The kind of output head that the config's architecture has."""
    names = config.get("architectures") or ["ForCausalLM"]
    linear = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
    if any(name.endswith(linear) for name in names):
        return "linear"
    if any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        return "mlm"
    return None


def read_rope(
    config: ConfigReader,
    head_width: int,
    *,
    partial: bool = False,
    interleaved: bool = False,
) -> RopeSpec:
    """The rotary embedding of a config with one set of `rope_parameters`.

    Args:
      config: the config.
      head_width: features of one head.
      partial: whether the family can rotate only a part of each head.
      interleaved: whether neighbouring features rotate together.
    """
    parameters = config.take("rope_parameters")
    if not partial:
        check_whole_heads(config.family, parameters)
    rope = rope_from_hf(
        parameters,
        head_width=head_width,
        max_tokens=config.take("max_position_embeddings"),
    )
    return dataclasses.replace(rope, interleaved=interleaved)


def read_even_rope(config: ConfigReader, head_width: int) -> RopeSpec:
    """The rotary embedding of a family that may rotate an even part of each head.

    Raises:
      CheckpointError: as `read_rope`, or a part with an odd number of features.
    """
    rope = read_rope(config, head_width, partial=True)
    factor = config.take("rope_parameters").get("partial_rotary_factor") or 1.0
    if int(head_width * factor) % 2:
        raise CheckpointError(
            f"{config.family}: hidden_size over num_attention_heads gives heads of "
            f"{head_width} features, of which partial_rotary_factor {factor} rotates "
            f"{int(head_width * factor)}; expected an even number."
        )
    return rope


def check_whole_heads(family: str, parameters: Mapping[str, Any]) -> None:
    """Refuse rope_parameters that rotate only a part of each head.

    Raises:
      CheckpointError: partial_rotary_factor is not 1.
    """
    factor = parameters.get("partial_rotary_factor")
    if factor not in (None, 1.0):
        raise UnsupportedError(
            f"{family} rotates whole heads, but its config has partial_rotary_factor "
            f"{factor} in rope_parameters."
        )


def read_groups(config: ConfigReader, heads: int) -> int:
    """The number of key-value heads, which the query heads share evenly."""
    groups = config.take("num_key_value_heads", heads)
    if heads % groups:
        raise CheckpointError(
            f"{config.family}: {heads} num_attention_heads cannot share {groups} "
            "num_key_value_heads evenly; download config.json from the model's page "
            "again."
        )
    return groups


def gated_sizes(
    config: ConfigReader,
    raw: Mapping[str, Any],
    *,
    epsilon: str | float = "rms_norm_eps",
) -> dict[str, Any]:
    """Sizes that llama and its relatives give under the same names.

    Args:
      config, raw: the config.
      epsilon: the name of the attribute with the norms' epsilon, or its value.
    """
    width, heads = config.take("hidden_size"), config.take("num_attention_heads")
    return {
        "family": config.family,
        "vocab_size": config.take("vocab_size"),
        "width": width,
        "num_layers": config.take("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": read_groups(config, heads),
        "head_width": config.take("head_dim", None)
        or _head_width(config, width, heads),
        "ffn_width": config.take("intermediate_size"),
        "max_tokens": config.take("max_position_embeddings"),
        "norm_epsilon": config.take(epsilon) if isinstance(epsilon, str) else epsilon,
        "head": read_head(raw),
        "tied": bool(config.take("tie_word_embeddings", False)),
    }


def gated_parts(
    config: ConfigReader,
    raw: Mapping[str, Any],
    *,
    epsilon: str | float = "rms_norm_eps",
    **rotary: bool,
) -> dict[str, Any]:
    """Sizes, activation, rotary embedding and scale of llama and its close relatives.

    Args:
      config, raw: the config.
      epsilon: the name of the attribute with the norms' epsilon, or its value.
      **rotary: of `read_rope`.
    """
    sizes = gated_sizes(config, raw, epsilon=epsilon)
    return sizes | {
        "activation": read_activation(config, "hidden_act"),
        "rope": read_rope(config, sizes["head_width"], **rotary),
        "attention_scale": sizes["head_width"] ** -0.5,
    }


def _head_width(config: ConfigReader, width: int, heads: int) -> int:
    if width < heads:
        raise CheckpointError(
            f"{config.family}: {heads} attention heads cannot share a hidden size of "
            f"{width}; download config.json from the model's page again."
        )
    return width // heads


def plain_parts(
    config: ConfigReader,
    raw: Mapping[str, Any],
    *,
    width: str = "hidden_size",
    layers: str = "num_hidden_layers",
    heads: str = "num_attention_heads",
    activation: str | None = "hidden_act",
) -> dict[str, Any]:
    """What the older families share: layer norms with biases, no gate, full heads.

    Args:
      config, raw: the config.
      width, layers, heads, activation: what the family calls these attributes; None for
        an activation that its config cannot choose.
    """
    chosen = {} if activation is None else {"activation": activation}
    size, count = config.take(width), config.take(heads)
    return {
        "family": config.family,
        "vocab_size": config.take("vocab_size"),
        "width": size,
        "num_layers": config.take(layers),
        "num_heads": count,
        "num_kv_heads": count,
        "head_width": _head_width(config, size, count),
        "norm": "layer",
        "norm_bias": True,
        "gated": False,
        "attention_scale": _head_width(config, size, count) ** -0.5,
        "head": read_head(raw),
    } | {ours: read_activation(config, theirs) for ours, theirs in chosen.items()}


# Heads of classifiers trained on top of a model: no part of its hidden states.
OTHER_HEADS = (r"(score|classifier|qa_outputs)\..*",)
ROTARY_BUFFERS = (r".*rotary_emb\.inv_freq", *OTHER_HEADS)
