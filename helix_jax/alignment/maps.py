"""Affine maps from source to target states: apply, compose, save, load.

y_hat = x kernel + bias
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax import checks
from helix_jax.artefacts import load_artefact, save_artefact
from helix_jax.fingerprint import check_same
from helix_jax.linalg import product, wide
from helix_jax.types import Array

KIND = "affine_map"


@struct.dataclass
class AffineMap:
    """An affine map, y_hat = x @ kernel + bias.

    Attributes:
      kernel: [dx, dy].
      bias: [dy].
    """

    kernel: Array
    bias: Array


@wide
def apply_map(affine: AffineMap, x: Array) -> Array:
    """Map source states to target states.

    Args:
      affine: AffineMap from dx to dy.
      x: [..., dx] float, source states.

    Returns:
      [..., dy] in the dtype of x, or float32 where that is narrower.

    Raises:
      ValueError: the last axis of x is not dx.
    """
    checks.require_width("apply_map", "x", x.shape[-1], affine.kernel.shape[0])
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    kernel, bias = (jnp.asarray(part).astype(dtype) for part in _parts(affine))
    return product(jnp.asarray(x).astype(dtype), kernel) + bias


@wide
def compose_map(first: AffineMap, second: AffineMap) -> AffineMap:
    """The map that applies `first` and then `second`.

    Raises:
      ValueError: the target width of `first` is not the source width of `second`.
    """
    checks.require_width(
        "compose_map", "second", second.kernel.shape[0], first.kernel.shape[1]
    )
    return AffineMap(
        kernel=product(first.kernel, second.kernel),
        bias=product(first.bias, second.kernel) + second.bias,
    )


def save_map(
    folder: str | os.PathLike,
    affine: AffineMap,
    *,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    penalty: float | None,
    split: str,
) -> Path:
    """Write a map as an artefact folder.

    Args:
      folder: where.
      affine: the map.
      source: fingerprint record of the source store.
      target: fingerprint record of the target store.
      penalty: the one it was fitted with; None where the method has none.
      split: the rows it was fitted on, such as "fit".

    Returns:
      The folder.

    Raises:
      ValueError: the map holds NaN or infinity.
    """
    for name, part in zip(("kernel", "bias"), _parts(affine)):
        checks.require_finite("save_map", name, part)
    fingerprints = {
        "source": dict(source),
        "target": dict(target),
        "penalty": None if penalty is None else float(penalty),
        "split": split,
    }
    dx, dy = affine.kernel.shape
    return save_artefact(
        folder,
        KIND,
        {"dx": dx, "dy": dy, "fingerprints": fingerprints},
        {"kernel": np.asarray(affine.kernel), "bias": np.asarray(affine.bias)},
    )


@wide
def load_map(
    folder: str | os.PathLike,
    *,
    source: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
) -> tuple[AffineMap, dict[str, Any]]:
    """Read a map, refusing one that was fitted for other models.

    Args:
      folder: written by `save_map`.
      source: fingerprint record that the source must have; None accepts any.
      target: fingerprint record that the target must have; None accepts any.

    Returns:
      AffineMap, and its fingerprints {source, target, penalty, split}.

    Raises:
      ArtefactError: missing, damaged, or not a map.
      FingerprintError: fitted from another source or target; names both.
    """
    config, arrays = load_artefact(folder, KIND)
    fingerprints = config["fingerprints"]
    for side, expected in (("source", source), ("target", target)):
        if expected is not None:
            check_same(
                f"the {side} of the map in {folder}",
                fingerprints[side],
                f"the {side} here",
                expected,
                remedy="Fit a new map for these states, or load the one made for them.",
            )
    affine = AffineMap(jnp.asarray(arrays["kernel"]), jnp.asarray(arrays["bias"]))
    return affine, fingerprints


def _parts(affine: AffineMap) -> tuple[Array, Array]:
    return affine.kernel, affine.bias
