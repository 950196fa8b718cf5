"""Read and apply map folders without JAX: only numpy and safetensors.

    found = read_map("runs/fit/map")            # or "hub:OWNER/NAME"
    y = found.map(x)                            # [N, dy] float32
    cosine, at_least = found.confidence("cosine", x, y, coverage=0.9)

The same numbers as `alignment.apply_map`, to rounding. docs/maps.md has the format, and
thirty lines that read it without this file.
"""

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from helix_jax import hub
from helix_jax.artefacts import ARRAYS, CONFIG, README, load_artefact
from helix_jax.errors import ArtefactError
from helix_jax.map_confidence import Confidence, confidence_of

PARTS = {  # kind of a map -> its arrays
    "affine_map": ("kernel", "bias"),
    "low_rank_map": ("left", "right", "bias"),
    "mlp_map": ("first", "inner", "second", "bias"),
    "residual_map": ("base", "delta"),
    "shift_map": ("shift",),
}
_CONFIDENCE = "confidence."


class NumpyMap(NamedTuple):
    """A map from dx to dy, see `alignment.maps` for the equations.

    Attributes:
      kind: one of PARTS.
      parts: name -> array, or map of a residual map.
    """

    kind: str
    parts: Mapping[str, Any]

    @property
    def widths(self) -> tuple[int, int]:
        """dx, dy."""
        if self.kind == "residual_map":
            return self.parts["base"].widths
        if self.kind == "shift_map":
            return self.parts["shift"].shape * 2
        first, last = {
            "affine_map": ("kernel", "kernel"),
            "low_rank_map": ("left", "right"),
            "mlp_map": ("first", "second"),
        }[self.kind]
        return self.parts[first].shape[0], self.parts[last].shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map source rows to target rows.

        Args:
          x: [..., dx] numbers.

        Returns:
          [..., dy] float64 if x is float64, else float32.

        Raises:
          ValueError: the last axis of x is not dx.
        """
        x, (dx, dy) = np.asarray(x), self.widths
        if x.shape[-1:] != (dx,):
            raise ValueError(
                f"this map takes rows of width {dx} (to {dy}), got shape "
                f"{list(x.shape)}; give rows of the source that it was fitted for."
            )
        return self._apply(x.astype(_float_of(x.dtype), copy=False))

    def cast(self, dtype: Any) -> "NumpyMap":
        """The same map with all its numbers in one dtype."""
        parts = {
            name: part.cast(dtype)
            if isinstance(part, NumpyMap)
            else np.ascontiguousarray(part, dtype)
            for name, part in self.parts.items()
        }
        return NumpyMap(self.kind, parts)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        if self.kind == "residual_map":
            return self.parts["base"]._apply(x) + self.parts["delta"]._apply(x)
        if self.kind == "shift_map":
            return x + np.asarray(self.parts["shift"], x.dtype)
        parts = [
            np.asarray(self.parts[name], x.dtype) for name in PARTS[self.kind][:-1]
        ]
        if self.kind == "affine_map":
            y = x @ parts[0]
        elif self.kind == "low_rank_map":
            y = (x @ parts[0]) @ parts[1]
        else:
            first, inner, second = parts
            y = _gelu(x @ first + inner) @ second
        y += np.asarray(self.parts["bias"], x.dtype)
        return y


class MapFolder(NamedTuple):
    """The contents of a map folder.

    Attributes:
      map: the map.
      config: from its config.json: dx, dy, fingerprints, the card's data.
      confidence: of its rows; None where none was calibrated.
    """

    map: NumpyMap
    config: Mapping[str, Any]
    confidence: Confidence | None


def read_map(folder: str | os.PathLike, *, revision: str | None = None) -> MapFolder:
    """Read a map.

    Args:
      folder: written by `alignment.save_map`, or "hub:OWNER/NAME" of one that was
        pushed ("hub:OWNER/NAME/FOLDER" where a repository holds several).
      revision: branch, tag or commit, of the hub.

    Returns:
      MapFolder.

    Raises:
      ArtefactError: missing, damaged, not a map, or not available from the hub.
    """
    place = place_of(folder, revision=revision)
    config, arrays = load_artefact(place, PARTS)
    own = {k: v for k, v in arrays.items() if not k.startswith(_CONFIDENCE)}
    rest = {
        name.removeprefix(_CONFIDENCE): value
        for name, value in arrays.items()
        if name.startswith(_CONFIDENCE)
    }
    try:
        found = _build(config.get("form", {"kind": config["kind"]}), own)
        widths = config["dx"], config["dy"]
        confidence = confidence_of(rest) if rest else None
        for side in ("source", "target"):
            config["fingerprints"][side].keys()
        built = found.widths
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ArtefactError(
            f"{folder} is damaged: its {CONFIG} and its arrays do not make a map "
            f"({type(error).__name__}: {error}); fit it again."
        ) from error
    if built != widths:
        raise ArtefactError(
            f"{folder} is damaged: its arrays map {built}, its {CONFIG} says "
            f"{widths}; fit it again."
        )
    return MapFolder(found, config, confidence)


def place_of(
    folder: str | os.PathLike, *, revision: str | None = None
) -> str | os.PathLike:
    """The local folder of a map, fetched if it is on the hub.

    Raises:
      ArtefactError: a revision of a local folder, or not available from the hub.
    """
    name = os.fspath(folder)
    if not name.startswith(hub.START):
        if revision is not None:
            raise ArtefactError(
                f"revision={revision!r} is for maps of the hub; {name} is a folder."
            )
        return folder
    repository, inside = hub.split_name(name, raises=ArtefactError, who="a map")
    files = [f"{inside}/{one}".lstrip("/") for one in (CONFIG, ARRAYS, README)]
    found = hub.fetch(
        repository,
        revision=revision,
        patterns=files,
        raises=ArtefactError,
        subfolders=bool(inside),
    )
    return found / inside


def _build(form: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> NumpyMap:
    kind = form["kind"]
    if kind != "residual_map":
        if set(arrays) != set(PARTS[kind]):
            raise KeyError(f"the arrays {sorted(arrays)}")
        return NumpyMap(kind, dict(arrays))
    parts = {}
    for part in PARTS[kind]:
        own = {
            name.removeprefix(f"{part}."): value
            for name, value in arrays.items()
            if name.startswith(f"{part}.")
        }
        parts[part] = _build(form[part], own)
    return NumpyMap(kind, parts)


def _float_of(dtype: np.dtype) -> type:
    return np.float64 if dtype == np.float64 else np.float32


def _gelu(z: np.ndarray) -> np.ndarray:
    """The tanh approximation, as jax.nn.gelu computes it by default."""
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
