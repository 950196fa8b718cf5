"""Artefact folders: config.json with fingerprints, arrays in safetensors.

A map or a probe is a folder of two files, and perhaps a README.md, that change
atomically: a killed process leaves the old artefact or the new one. Without symbolic
links the change is not atomic: a process killed between the files leaves a folder that
is refused as damaged, since config.json names the SHA-256 of the arrays that it was
saved with.
"""

import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.array_files import dump_safetensors, read_safetensors
from helix_jax.atomic import is_passing, replaced_files
from helix_jax.errors import ArtefactError
from helix_jax.fingerprint import check_same
from helix_jax.paths import local_path, os_errors
from helix_jax.textfile import read_json

FORMAT = 1
CONFIG, ARRAYS, DIGEST = "config.json", "arrays.safetensors", "arrays_sha256"
README = "README.md"
_REREADS = 10


def save_artefact(
    folder: str | os.PathLike,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, Any],
    *,
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Write an artefact folder atomically, replacing one of the same kind.

    Args:
      folder: where; parents are made. Other files in it stay.
      kind: what it is, such as "affine_map" or "probe".
      config: JSON-able settings; the key "fingerprints" holds what made it.
      arrays: name -> array.
      texts: name -> content of files for people, such as README.md.

    Returns:
      The folder.

    Raises:
      ArtefactError: the folder holds something else, or cannot be written; settings
        that JSON cannot hold.
      PathError: not a local path.
    """
    folder = local_path(folder, f"the folder of a {kind}")
    with os_errors(folder, "be written", ArtefactError):
        _require_replaceable(folder, kind)
    parts = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    _as_json(kind, config)  # before anything changes
    with replaced_files(folder, raises=ArtefactError) as new:
        dump_safetensors(new / ARRAYS, parts)
        record = {"kind": kind, "format": FORMAT, **config, DIGEST: _digest(new)}
        (new / CONFIG).write_text(_as_json(kind, record), encoding="utf-8")
        for name, text in (texts or {}).items():
            (new / name).write_text(text, encoding="utf-8")
    return folder


def load_artefact(
    folder: str | os.PathLike,
    kind: str | Collection[str],
    *,
    expect: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read an artefact folder.

    Args:
      folder: the artefact.
      kind: the expected kind, or several.
      expect: fingerprints it must carry, compared key by key; None compares nothing.

    Returns:
      config (with "kind" and "fingerprints"), arrays.

    Raises:
      ArtefactError: missing, damaged or of another kind.
      FingerprintError: made from other inputs than expected; names both.
      PathError: not a local path.
    """
    folder = local_path(folder, "the folder of an artefact")
    config, arrays = _read_version(folder, [kind] if isinstance(kind, str) else kind)
    if expect is not None:
        own = config["kind"]
        check_same(
            f"the {own} in {folder}",
            config.get("fingerprints", {}),
            "what this run uses",
            expect,
            remedy=f"Fit a new {own} for these inputs, or load the one made for them.",
        )
    return config, arrays


def holds_artefact(folder: str | os.PathLike) -> bool:
    """Whether an artefact was saved there; an interrupted first save leaves none."""
    return (Path(folder) / CONFIG).is_file()


def _read_version(
    folder: Path, kinds: Collection[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """config.json and the arrays that it was saved with.

    Another process may save a new version between the two reads, or while the system
    follows a link: a failed read is repeated, and the artefact counts as damaged if the
    read keeps failing with the same config.json.
    """
    before, failures = None, 0
    while True:
        config = None
        try:
            config = _read_config(folder, kinds)
            return config, _read_arrays(folder, config)
        except ArtefactError:
            failures = failures + 1 if config == before else 0
            if failures == _REREADS or not folder.is_dir():
                raise
        before = config
        time.sleep(0.01)


def _read_arrays(folder: Path, config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    remedy = "delete the folder and fit it again"
    path = folder / ARRAYS
    arrays = read_safetensors(path, remedy=remedy, raises=ArtefactError)
    if config.get(DIGEST) not in (None, _digest(folder)):
        raise ArtefactError(
            f"{path} is damaged: {CONFIG} was saved with another file; {remedy}."
        )
    return arrays


def _read_config(folder: Path, kinds: Collection[str]) -> dict[str, Any]:
    wanted = ", ".join(repr(kind) for kind in kinds)
    try:
        config = read_json(folder / CONFIG, raises=ArtefactError)
    except ArtefactError as error:
        raise ArtefactError(
            f"{folder} is not a folder of a {wanted}: {error} Name a folder that holds "
            "one."
        ) from error
    found = config.get("kind") if isinstance(config, dict) else None
    if found not in kinds:
        raise ArtefactError(f"{folder} holds a {found!r}, expected a {wanted}.")
    return config


def _require_replaceable(folder: Path, kind: str) -> None:
    """Refuse a folder with other content; a damaged artefact is no obstacle."""
    if not (folder / CONFIG).exists():  # new, or left over from a removal
        return
    try:
        _read_config(folder, [kind])
    except ArtefactError:
        names = {path.name for path in folder.iterdir() if not is_passing(path.name)}
        if not names <= {CONFIG, ARRAYS, README} or _is_json(folder / CONFIG):
            raise


def _as_json(kind: str, record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ArtefactError(
            f"the settings of this {kind} cannot be written as JSON: {error}; give "
            "strings, finite numbers, lists and dictionaries."
        ) from error


def _is_json(path: Path) -> bool:
    try:
        read_json(path, raises=ArtefactError)
    except ArtefactError:
        return False
    return True


def _digest(folder: Path) -> str:
    path = folder / ARRAYS
    with os_errors(path, "be read", ArtefactError), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
