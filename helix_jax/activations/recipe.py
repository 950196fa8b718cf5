"""How a text becomes one vector: as a sentence encoder's folder says, or by flags.

    vector = normalise?(f(W pool(states of prompt + text) + b)), any number of modules

Reference: Reimers and Gurevych 2019, arXiv 1908.10084; the modules are those of
  sentence-transformers, whose `encode` this equals.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax.activations.extraction import Extraction
from helix_jax.activations.pooling import check_pooling
from helix_jax.choices import AUTO
from helix_jax.errors import CheckpointError
from helix_jax.models import Model, ModelSpec, resolve_layers
from helix_jax.models.layers import activate, dense
from helix_jax.models.module_list import module_kinds, modules_root
from helix_jax.models.sentence import DenseModule, SentenceModules, read_modules
from helix_jax.models.torch_engine import TorchModel, TorchSpec
from helix_jax.types import Array

MAX_TOKENS = 512


class Step(NamedTuple):
    """The static part of a module after the pooling.

    Attributes:
      kind: "dense" or "normalize".
      activation: of a dense module.
      width: features after a dense module.
    """

    kind: str
    activation: str = ""
    width: int = 0


class Recipe(NamedTuple):
    """How states become the vectors of a store.

    Attributes:
      pooling: as for `pool`.
      max_tokens: longer texts are truncated.
      prompt: put before every text.
      steps: what follows the pooling.
      weights: parameters of each step, {} for none.
      record: JSON-able, of prompt and steps; {} for none.
      notes: sentences about parts of the folder that are left out.
    """

    pooling: str
    max_tokens: int
    prompt: str
    steps: tuple[Step, ...]
    weights: tuple[dict[str, np.ndarray], ...]
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def choose_recipe(
    spec: ModelSpec | TorchSpec, folder: Path, wanted: Extraction, *, name: str
) -> Recipe:
    """The embeddings that a model's folder describes, unless others are requested.

    Args:
      spec: of the model.
      folder: where its files are.
      wanted: pooling: a method of `pool`, without further steps, or "auto"; layers and
        final_norm: the steps after the pooling were trained on the last layer after its
        norm and are left out for others; max_tokens and prompt_name.
      name: its hub id, or another name.

    Raises:
      CheckpointError: a module, setting or prompt is unknown.
      ValueError: the pooling is unknown.
    """
    own, pooling = wanted.pooling != AUTO, wanted.pooling
    length = wanted.max_tokens or MAX_TOKENS
    notes: tuple[str, ...] = ()
    if own:
        check_pooling(pooling)
        notes = _left_out(folder)
        if not wanted.prompt_name:
            return Recipe(pooling, length, "", (), (), {}, notes)
    modules = read_modules(folder, name=name)
    prompt = _prompt(modules, wanted.prompt_name, name)
    if own or modules is None:
        pooling = pooling if own else "mean"
        said = {"prompt": prompt} if prompt else {}
        return Recipe(pooling, length, prompt, (), (), said, notes)
    if prompt and not modules.include_prompt:
        raise CheckpointError(
            f"{name} leaves the tokens of its prompt {prompt!r} out of the pooling, "
            "which is not supported; give --pooling for the states without it."
        )
    length = wanted.max_tokens or modules.max_tokens or spec.max_tokens
    last = resolve_layers(spec, wanted.layers) == (spec.num_layers,)
    after = modules.after if last and wanted.final_norm else ()
    if len(after) < len(modules.after):
        notes = (
            "the modules after its pooling need the last layer after the final norm, "
            "and are left out for others.",
        )
    steps = tuple(_step(module) for module in after)
    record: dict[str, Any] = {}
    if steps:
        record["modules"] = [" ".join(map(str, filter(None, step))) for step in steps]
    if any(step.kind == "dense" for step in steps):
        record["modules_weights"] = modules.weights
    if prompt:
        record["prompt"] = prompt
    weights = tuple(_weights(module) for module in after)
    return Recipe(modules.pooling, length, prompt, steps, weights, record, notes)


def recipe_of(model: Model | TorchModel, wanted: Extraction) -> Recipe:
    """`choose_recipe` for a model that is loaded."""
    name = model.fingerprint["model"]
    return choose_recipe(model.spec, model.folder, wanted, name=name)


def finish(
    pooled: Array, steps: Sequence[Step], weights: Sequence[Mapping[str, Array]]
) -> Array:
    """Apply what follows the pooling, [..., D] float32 -> [..., D'] float32.

    Args:
      pooled: from `pool`.
      steps: static.
      weights: {"kernel": [D_in, D_out], "bias": [D_out]} of each dense step.
    """
    for step, own in zip(steps, weights, strict=True):
        if step.kind == "normalize":
            length = jnp.sqrt(jnp.sum(pooled * pooled, axis=-1, keepdims=True))
            pooled = pooled / jnp.maximum(length, 1e-12)
            continue
        pooled = dense(own, pooled)
        if step.activation == "tanh":
            pooled = jnp.tanh(pooled)
        elif step.activation != "identity":
            pooled = activate(pooled, step.activation)
    return pooled


def width_after(width: int, steps: Sequence[Step]) -> int:
    """Features of a vector that had `width` after the pooling."""
    return next((step.width for step in reversed(steps) if step.width), width)


def _prompt(modules: SentenceModules | None, name: str, model: str) -> str:
    prompts = {} if modules is None else modules.prompts
    if not name:
        default = None if modules is None else modules.default_prompt
        return prompts[default] if default is not None else ""
    if name not in prompts:
        raise CheckpointError(
            f"{model} has no prompt {name!r}; it has "
            f"{', '.join(sorted(prompts)) or 'none'}."
        )
    return prompts[name]


def _step(module: Any) -> Step:
    if isinstance(module, DenseModule):
        return Step("dense", module.activation, module.kernel.shape[1])
    return Step("normalize")


def _weights(module: Any) -> dict[str, np.ndarray]:
    if not isinstance(module, DenseModule):
        return {}
    bias = {} if module.bias is None else {"bias": module.bias}
    return {"kernel": module.kernel} | bias


def _left_out(folder: Path) -> tuple[str, ...]:
    """A sentence on the modules that a requested pooling leaves out."""
    root = modules_root(folder)
    left = [kind for kind, _ in module_kinds(root)] if root is not None else []
    plain = ("Transformer", "Pooling", "Normalize", "Dropout")
    left = [kind for kind in left if kind not in plain]
    if not left:
        return ()
    return (
        f"its sentence embeddings pass through {', '.join(left)} after pooling, which "
        "are not applied with an explicit pooling.",
    )
