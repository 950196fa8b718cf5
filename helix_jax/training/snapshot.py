"""A pytree of arrays in one safetensors file, replaced atomically."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from helix_jax.array_files import read_safetensors, write_safetensors
from helix_jax.errors import RunError


def save_snapshot(path: Path, tree: Any) -> None:
    """Write the leaves of a pytree under their paths.

    Raises:
      RunError: it cannot be written; an older snapshot is still intact.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {
        jax.tree_util.keystr(place): np.asarray(leaf, order="C")
        for place, leaf in leaves
    }
    write_safetensors(path, arrays, raises=RunError)


def load_snapshot(path: Path, like: Any) -> Any:
    """Read a pytree of the structure and shapes of `like`.

    Raises:
      RunError: the file is damaged, or its structure or shapes differ.
    """
    arrays = read_safetensors(
        path, remedy="delete it to start from the beginning", raises=RunError
    )
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(place) for place, _ in leaves]
    fits = set(names) == set(arrays) and all(
        arrays[name].shape == np.shape(leaf) for name, (_, leaf) in zip(names, leaves)
    )
    if not fits:
        raise RunError(f"{path} belongs to a model of another shape.")
    return jax.tree.unflatten(structure, [jax.numpy.asarray(arrays[n]) for n in names])
