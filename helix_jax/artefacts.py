"""Artefact folders: config.json with fingerprints, arrays in safetensors.

A map or a probe is a folder of two files. It is written to a temporary folder beside
its final place and renamed, so that a killed process leaves the old one or the new
one, never half of either.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from helix_jax.errors import HelixError
from helix_jax.fingerprint import check_same

FORMAT = 1


class ArtefactError(HelixError, ValueError):
    """An artefact folder is missing, damaged, or of another kind."""


def save_artefact(
    folder: str | os.PathLike,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> Path:
    """Write an artefact folder atomically, replacing one of the same kind.

    Args:
      folder: where; parents are made.
      kind: what it is, such as "affine_map" or "probe".
      config: JSON-able settings; the key "fingerprints" holds what made it.
      arrays: name -> array.

    Returns:
      The folder.

    Raises:
      ArtefactError: the folder exists and is not an artefact of this kind.
    """
    folder = Path(folder)
    if folder.exists():
        _read_config(folder, kind)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file(
            {name: np.asarray(value, order="C") for name, value in arrays.items()},
            temporary / "arrays.safetensors",
        )
        record = {"kind": kind, "format": FORMAT, **config}
        text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
        (temporary / "config.json").write_text(text + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_artefact(
    folder: str | os.PathLike, kind: str, *, expect: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read an artefact folder.

    Args:
      folder: the artefact.
      kind: the kind that the caller wants.
      expect: fingerprints it must carry, compared key by key; None compares nothing.

    Returns:
      config (with "fingerprints"), arrays.

    Raises:
      ArtefactError: missing, damaged or of another kind.
      FingerprintError: made from other inputs than expected; names both.
    """
    folder = Path(folder)
    config = _read_config(folder, kind)
    if expect is not None:
        check_same(
            f"the {kind} in {folder}",
            config.get("fingerprints", {}),
            "what this run uses",
            expect,
            remedy=f"Fit a new {kind} for these inputs, or load the one made for them.",
        )
    try:
        arrays = load_file(folder / "arrays.safetensors")
    except (OSError, SafetensorError) as error:
        raise ArtefactError(
            f"{folder}/arrays.safetensors cannot be read ({error}). "
            "Delete the folder and fit it again."
        ) from error
    return config, arrays


def _read_config(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{folder} is not a {kind} folder: {path.name} cannot be read ({error}). "
            "Name a folder written by save_artefact, or one that does not exist yet."
        ) from error
    if config.get("kind") != kind:
        raise ArtefactError(
            f"{folder} holds a {config.get('kind')!r}, expected a {kind!r}."
        )
    return config
