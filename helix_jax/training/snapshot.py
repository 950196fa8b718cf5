"""A pytree of arrays in one safetensors file, replaced atomically."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from helix_jax.errors import RunError


def save_snapshot(path: Path, tree: Any) -> None:
    """Write the leaves of a pytree under their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {
        jax.tree_util.keystr(place): np.asarray(leaf, order="C")
        for place, leaf in leaves
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(arrays, temporary)
    os.replace(temporary, path)


def load_snapshot(path: Path, like: Any) -> Any:
    """Read a pytree of the structure and shapes of `like`.

    Raises:
      RunError: the file is damaged or of another structure.
    """
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path} cannot be read ({error}); delete it to start."
        ) from error
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(place) for place, _ in leaves]
    fits = set(names) == set(arrays) and all(
        arrays[name].shape == np.shape(leaf) for name, (_, leaf) in zip(names, leaves)
    )
    if not fits:
        raise RunError(f"{path} belongs to a model of another shape.")
    return jax.tree.unflatten(structure, [jax.numpy.asarray(arrays[n]) for n in names])
