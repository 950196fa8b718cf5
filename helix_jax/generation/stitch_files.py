"""A token map on disk with the models and the cuts that it was fitted for.

save_token_map, load_stitch      a map alone
save_measured_map                FOLDER/map, FOLDER/controls/NAME, FOLDER/scores.json
load_controls, load_scores       what is stored with the map
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from helix_jax.alignment import StateMap, load_map, save_map
from helix_jax.artefacts import holds_artefact
from helix_jax.atomic import write_file
from helix_jax.errors import RunError
from helix_jax.fingerprint import check_same
from helix_jax.generation.stitch import Stitch, stitch
from helix_jax.map_confidence import Confidence
from helix_jax.models import Model, resolve_layers
from helix_jax.textfile import read_json


def save_token_map(
    folder: Path,
    map: StateMap,
    source: Model,
    target: Model,
    *,
    source_layer: int = -1,
    target_layer: int = -1,
    source_norm: bool = True,
    target_norm: bool = True,
    penalty: float,
    max_tokens: int,
    text: dict[str, Any],
    confidence: Confidence | str = "",
) -> Path:
    """Write a map with its provenance, for `load_stitch`.

    Args:
      folder: to write; replaced as a whole.
      map: from the source's cut to the target's.
      source, target: the models.
      source_layer, target_layer, source_norm, target_norm: cuts, as for `stitch`.
      penalty: of the ridge map that it is, or was trained from.
      max_tokens: longer texts are truncated.
      text: fingerprint of the corpus and split that it was fitted on.
      confidence: of its rows, or why there is none.
    """

    def record(model: Model, layer: int, normed: bool) -> dict[str, Any]:
        return {
            **model.fingerprint,
            "layers": list(resolve_layers(model.spec, (layer,))),
            "final_norm": normed,
            "pooling": "token",
            "max_tokens": max_tokens,
            "text": text,
        }

    return save_map(
        folder,
        map,
        source=record(source, source_layer, source_norm),
        target=record(target, target_layer, target_norm),
        penalty=penalty,
        split=text["split"],
        confidence=confidence,
    )


def load_stitch(folder: Path, source: Model, target: Model) -> Stitch:
    """Two models joined by a map of `save_token_map`, at its cuts.

    Raises:
      ArtefactError: the map does not exist or is damaged.
      FingerprintError: it was fitted for another model; names both.
    """
    map, made_of = load_map(folder)
    cuts: dict[str, Any] = {}
    for side, model in (("source", source), ("target", target)):
        check_same(
            f"the {side} of the map in {folder}",
            {name: made_of[side].get(name) for name in model.fingerprint},
            f"the {side} here",
            model.fingerprint,
            remedy="Fit a map for these models with experiments.fit_tokens.",
        )
        (layer,) = made_of[side]["layers"]
        cuts |= {f"{side}_layer": layer, f"{side}_norm": made_of[side]["final_norm"]}
    return stitch(source, target, map, **cuts)


def save_measured_map(
    folder: Path,
    save: Callable[..., Path],
    map: StateMap,
    controls: Mapping[str, StateMap],
    scores: Mapping[str, float],
) -> None:
    """Write a map, its controls and scores; the map, written last, marks completion.

    Args:
      folder: to write to.
      save: `save_token_map` with all arguments but folder, map and confidence.
      map: the fitted one.
      controls: name -> map.
      scores: name -> number.

    Raises:
      RunError: a file cannot be written.
    """
    plain = {
        name: value if isinstance(value, int) else float(value)
        for name, value in scores.items()
    }
    text = json.dumps(plain, indent=1) + "\n"
    write_file(folder / "scores.json", text, raises=RunError)
    for name, control in controls.items():
        place = folder / "controls" / name
        save(place, map=control, confidence="it is a control")
    save(folder / "map", map=map)


def load_controls(folder: Path, names: Iterable[str]) -> dict[str, StateMap]:
    """The controls stored with a map."""
    places = {name: folder / "controls" / name for name in names}
    return {
        name: load_map(place)[0]
        for name, place in places.items()
        if holds_artefact(place)
    }


def load_scores(folder: Path) -> dict[str, float]:
    """The scores stored with a map; empty for a map that was saved alone."""
    path = folder / "scores.json"
    return read_json(path, raises=RunError) if path.is_file() else {}
