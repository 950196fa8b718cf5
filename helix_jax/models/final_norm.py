"""A model's final norm alone, for states that were captured before it elsewhere."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from helix_jax.errors import CheckpointError
from helix_jax.models.checkpoint import find_source
from helix_jax.models.config_file import read_config
from helix_jax.models.convert import match_name
from helix_jax.models.families import family_of
from helix_jax.models.hub import fetch_weights
from helix_jax.models.layers import normalise
from helix_jax.models.spec import ModelSpec
from helix_jax.models.weights import stored_tensors, weight_files
from helix_jax.types import Array


def read_final_norm(
    name_or_path: str, *, revision: str | None = None
) -> tuple[ModelSpec, Callable[[Array], Array]]:
    """The final norm of a native model; none of its other weights are read.

    Args:
      name_or_path: as for `load_model`.
      revision: branch, tag or commit of a hub id.

    Returns:
      The architecture, and the norm as a function h [..., D] -> [..., D] float32; the
      identity if the model has no final norm.

    Raises:
      CheckpointError: as `load_model`, or an adapter, which may hold another norm.
    """
    source = find_source(name_or_path, revision)
    if source.adapter is not None:
        raise CheckpointError(
            f"{source.adapter} holds an adapter, which may change the final norm; "
            "merge it with peft first."
        )
    config = read_config(source.base)
    family = family_of(config["model_type"])
    spec = family.spec_from_hf(config)
    if not spec.final_norm:
        return spec, lambda h: jnp.asarray(h, jnp.float32)
    params: dict[str, Array] = {}
    folder = fetch_weights(source.base_name, source.base)
    for stored in stored_tensors(weight_files(folder)):
        match = match_name(stored.name, family)
        rule = match and match.rule
        if rule and rule.paths[0].startswith("final_norm/"):
            (value,) = rule.codec.split(stored.read(), spec)
            path = rule.paths[0].removeprefix("final_norm/")
            params[path] = jnp.asarray(value, jnp.float32)
    wrong = [path for path, value in params.items() if value.shape != (spec.width,)]
    if wrong or ("scale" not in params and getattr(spec, "norm_scale", True)):
        raise CheckpointError(
            f"{source.base} has no final norm of width {spec.width} among its weights; "
            "is it the model's own folder?"
        )
    return spec, jax.jit(lambda h: normalise(params, h.astype(jnp.float32), spec))
