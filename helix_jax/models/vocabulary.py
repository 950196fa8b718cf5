"""From tokens into the residual stream, and from it to logits."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.models.layers import activate, dense, normalise, precision_of, softcap
from helix_jax.models.sharding import active_mesh, constrain
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

FEW_ROWS = 32  # the most that `_dot_table` turns round; chosen by measurement


def embed(
    params: Mapping,
    spec: ModelSpec,
    tokens: Array,
    positions: Array,
    token_types: Array | None = None,
) -> Array:
    """h_0: [B, T, D] from tokens and positions, both [B, T] int.

    A token, position or token type that its table does not have gives NaN: within a
    jitted function nothing can be raised, and another row would be silently wrong.
    """
    h = rows(params["embed"], tokens)
    if spec.embed_scale is not None:
        h = h * jnp.asarray(spec.embed_scale, h.dtype)
    if spec.embed_width is not None and spec.embed_projected == "tokens":
        h = dense(params["embed_in"], h)
    if spec.num_positions:
        h = h + rows(params["positions"], positions + spec.position_offset)
    if spec.sinusoids:
        places = sinusoids(positions + spec.position_offset, h.shape[-1])
        h = h + places.astype(h.dtype)
    if spec.token_types:
        kinds = jnp.zeros_like(tokens) if token_types is None else token_types
        h = h + rows(params["token_types"], kinds)
    if spec.task_types:
        h = h + params["task_types"][0]
    if spec.embed_norm:
        h = normalise(params.get("embed_norm", {}), h, spec)
    if spec.embed_projected == "sum":
        h = dense(params["embed_in"], h)
    return h


def sinusoids(positions: Array, width: int) -> Array:
    """Sines of the positions at falling frequencies, then their cosines.

    Args:
      positions: [...] int.
      width: D, even and above 2.

    Returns:
      [..., D] float32; frequencies fall from 1 to 1 / 10,000.

    Reference: Vaswani et al. 2017, arXiv 1706.03762, section 3.5; in the order of
      tensor2tensor.
    """
    half = width // 2
    step = np.float32(np.log(10000.0) / (half - 1))
    frequencies = np.exp(np.arange(half, dtype=np.float32) * -step)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def rows(table: Array, numbers: Array) -> Array:
    """Rows of a table, [N, D] and [B, T] int -> [B, T, D]; NaN where it has none."""
    # A negative number would count from the end.
    numbers = jnp.where(numbers < 0, table.shape[0], numbers)
    # On a mesh, cut as the table is; one exchange then gives the stream's own cut.
    numbers = constrain(numbers, "looked_up", None)
    found = jnp.asarray(table).at[numbers].get(mode="fill", fill_value=jnp.nan)
    return constrain(found, "looked_up", None, "embed")


def apply_head(params: Mapping, spec: ModelSpec, h: Array) -> Array:
    """Logits of the raw last residual stream: final norm, then output head.

    Args:
      params, spec: the model.
      h: [..., D], before the final norm.

    Returns:
      [..., V] float32.
    """
    if spec.final_norm:
        h = normalise(params.get("final_norm", {}), h, spec)
    return project_to_vocabulary(params, spec, h)


def project_to_vocabulary(params: Mapping, spec: ModelSpec, h: Array) -> Array:
    """The output head alone, [..., D] -> [..., V] float32, on normed states."""
    if spec.head == "mlm":
        name = spec.head_activation or spec.activation
        h = activate(dense(params["head_transform"], h), name)
        h = normalise(params.get("head_norm", {}), h, spec)
    if "embed_out" in params:
        h = dense(params["embed_out"], h)
    if spec.tied:
        scores = _dot_table(h, params["embed"])
    else:
        scores = _dot(h, params["head"]["kernel"])
    if spec.head_bias:
        scores = scores + params["head"]["bias"].astype(jnp.float32)
    if spec.logit_scale is not None:
        scores = scores * spec.logit_scale
    return softcap(scores, spec.logit_softcap)


def _dot_table(h: Array, table: Array) -> Array:
    """h @ table.T in float32, for h: [..., D] and table: [V, D].

    A CPU multiplies two to FEW_ROWS rows up to 1.7 times as fast from the right, as
    (table @ h.T).T: its matrix product then copies less of the table into its own
    order. The barrier keeps XLA from turning it back.
    """
    count = math.prod(h.shape[:-1])
    few = 2 <= count <= FEW_ROWS and h.dtype == table.dtype == jnp.float32
    if not few or active_mesh() is not None:
        return _dot(h, table.T)

    def turned(h: Array, table: Array) -> Array:
        scores = _dot(table, h.reshape(count, -1).T)
        return jax.lax.optimization_barrier(scores).T.reshape(*h.shape[:-1], -1)

    def plain(h: Array, table: Array) -> Array:
        return _dot(h, table.T)

    return jax.lax.platform_dependent(h, table, cpu=turned, default=plain)


def _dot(x: Array, y: Array) -> Array:
    return jnp.dot(x, y, precision=precision_of(x), preferred_element_type=jnp.float32)
