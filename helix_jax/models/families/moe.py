"""What families with a mixture of experts share: readers and rules."""

from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import ConfigReader
from helix_jax.models.rules import GATE_UP_ROWS, TRANSPOSE, Rule, dense
from helix_jax.models.spec import ExpertSpec


def read_experts(config: ConfigReader, **switches: Any) -> ExpertSpec:
    """The numbers of experts in a layer and per token, from a config.

    Args:
      config: the config.
      **switches: further fields of `ExpertSpec`.
    """
    count = config.take("num_local_experts", None) or config.take("num_experts")
    per_token = config.take("num_experts_per_tok")
    if per_token > count:
        raise CheckpointError(
            f"{config.family}: num_experts_per_tok is {per_token}, but a layer has "
            f"{count} experts; download config.json from the model's page again."
        )
    return ExpertSpec(count, per_token, **switches)


def expert_rules(
    layer: str,
    *,
    gate: str = "experts.{}.gate_proj.weight",
    up: str = "experts.{}.up_proj.weight",
    down: str = "experts.{}.down_proj.weight",
    router: str = "gate",
) -> list[Rule]:
    """Rules of a layer's router and experts, stored one by one or all in one tensor.

    Args:
      layer: name of the layer's mixture, with its dot.
      gate, up, down, router: names in it, as the family spells them.
    """
    paths = [f"layers/experts/{name}/kernel" for name in ("gate", "up", "down")]
    return [
        *dense(f"{layer}{router}", "layers/router"),
        *(
            Rule(layer + name, (path,), TRANSPOSE)
            for name, path in zip((gate, up, down), paths)
        ),
        *(
            rule._replace(
                when=lambda spec: False
            )  # only read; experts are written one by one
            for rule in fused_expert_rules(
                f"{layer}experts.gate_up_proj", f"{layer}experts.down_proj"
            )
        ),
    ]


def fused_expert_rules(gate_up: str, down: str) -> list[Rule]:
    """Rules of all experts of a layer in two tensors, [E, 2F, D] and [E, D, F]."""
    gate_and_up = ("layers/experts/gate/kernel", "layers/experts/up/kernel")
    return [
        Rule(gate_up, gate_and_up, GATE_UP_ROWS),
        Rule(down, ("layers/experts/down/kernel",), TRANSPOSE),
    ]
