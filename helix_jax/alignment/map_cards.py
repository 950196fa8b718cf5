"""The card of a map: what it maps, what it was fitted on, how good it is, how to load.

README.md of its folder, with the front matter that the hub reads, made from the
folder's config.json alone.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from helix_jax.map_confidence import Confidence
from helix_jax.stats import Interval

UNKNOWN = "unknown"
PLACE = "OWNER/NAME"  # of a map that has not been pushed
_EQUATIONS = {
    "affine_map": "y = x kernel + bias",
    "low_rank_map": "y = x left right + bias",
    "mlp_map": "y = gelu(x first + inner) second + bias",
    "residual_map": "y = base(x) + delta(x)",
    "shift_map": "y = x + shift",
}
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_SIDES = ("source", "target")
_MOST_COLUMNS = 6
_INTERVALS = "Intervals are 95% bootstraps over documents, where there are any."


class MapCard(NamedTuple):
    """What is known about a map besides its fingerprints.

    Attributes:
      data: the corpus of its rows, by name.
      rows: split -> number of rows.
      numbers: name -> number, or Interval: R2, a task's accuracy, their controls.
      licences: "source", "target", "data" -> licence, where it is known.
    """

    data: str = UNKNOWN
    rows: Mapping[str, int] = {}
    numbers: Mapping[str, float | Interval] = {}
    licences: Mapping[str, str] = {}

    def record(self) -> dict[str, Any]:
        """The form stored in config.json."""
        numbers = {
            name: [float(one) for one in value]
            if isinstance(value, Interval)
            else float(value)
            for name, value in self.numbers.items()
        }
        return {
            "data": self.data,
            "rows": {name: int(count) for name, count in self.rows.items()},
            "numbers": numbers,
            "licences": dict(self.licences),
        }


def map_card(
    config: Mapping[str, Any],
    *,
    confidence: Confidence | None = None,
    place: str = PLACE,
) -> str:
    """The card of a map's folder, in Markdown.

    Args:
      config: its config.json, with or without "card".
      confidence: of its rows, where there is one.
      place: where it is on the hub.
    """
    sides = {side: config["fingerprints"][side] for side in _SIDES}
    known = MapCard().record() | config.get("card", {})
    names = " to ".join(_name(sides[side]) for side in _SIDES)
    width = f"{config['dx']} to {config['dy']}"
    equation = _EQUATIONS[config.get("form", config)["kind"]]
    return "\n".join(
        [
            *_front_matter(sides.values(), known),
            f"# {names}, width {width}",
            "",
            f"A map `{equation}` of source rows x to target rows y, fitted with "
            "helix_jax.",
            "",
            "## How to load it",
            "",
            *_loading(place),
            "",
            "## What it maps",
            "",
            *_sides_table(sides, known["licences"]),
            "",
            "## What it was fitted on",
            "",
            *_rows(config["fingerprints"], known),
            "",
            "## What it is worth",
            "",
            *_numbers(known["numbers"]),
            "",
            "## The confidence of a row",
            "",
            *_confidence(confidence, config.get("uncalibrated", "")),
            "",
        ]
    )


def atlas_card(configs: Mapping[str, Mapping[str, Any]], *, place: str = PLACE) -> str:
    """The card of a folder of maps, in Markdown.

    Args:
      configs: name of the folder of each map -> its config.json.
      place: where they lie on the hub.
    """
    sides = [
        config["fingerprints"][side] for config in configs.values() for side in _SIDES
    ]
    first = next(iter(configs))
    shown = list(dict.fromkeys(name for one in configs.values() for name in _told(one)))
    shown = shown[:_MOST_COLUMNS]
    lines = [f"| folder | {' | '.join(shown)} |", f"|---{'|---' * len(shown)}|"]
    for name, config in configs.items():
        cells = (_interval(_told(config).get(one)) for one in shown)
        lines.append(f"| [{name}]({name}/README.md) | {' | '.join(cells)} |")
    return "\n".join(
        [
            *_front_matter(sides, MapCard().record()),
            f"# {len(configs)} maps between models",
            "",
            "Each folder holds one, with a card of its own:",
            "",
            *_loading(f"{place}/{first}"),
            "",
            *lines,
            "",
            _INTERVALS,
            "",
        ]
    )


def _told(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The numbers of a card that come from the test split."""
    numbers = config.get("card", {}).get("numbers", {})
    return {k: v for k, v in numbers.items() if k.startswith("test/")}


def _interval(value: Any) -> str:
    if not isinstance(value, list):
        return "" if value is None else f"{value:.3f}"
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def _front_matter(
    sides: Iterable[Mapping[str, Any]], known: Mapping[str, Any]
) -> list[str]:
    """YAML; strings are written as JSON, which is also YAML."""
    models = [str(record.get("model", "")) for record in sides]
    record: dict[str, Any] = {
        "library_name": "helix_jax",
        "license": UNKNOWN,  # of the map itself; those of its parts are in a table
        "tags": ["linear-map", "representation-alignment", "embeddings"],
    }
    if on_hub := [name for name in models if _HUB_ID.fullmatch(name)]:
        record["base_model"] = sorted(set(on_hub))
    if _HUB_ID.fullmatch(known["data"]):
        record["datasets"] = [known["data"]]
    return [
        "---",
        *(f"{name}: {json.dumps(value)}" for name, value in record.items()),
        "---",
        "",
    ]


def _loading(place: str) -> list[str]:
    return [
        "```python",
        "from helix_jax.alignment import apply_map, load_map",
        f'found, made_of = load_map("hub:{place}")',
        "y = apply_map(found, x)",
        "```",
        "",
        "or without JAX:",
        "",
        "```python",
        "from helix_jax.maps_numpy import read_map",
        f'found = read_map("hub:{place}")',
        "y = found.map(x)",
        "```",
    ]


def _sides_table(
    sides: Mapping[str, Mapping[str, Any]], licences: Mapping[str, str]
) -> list[str]:
    shown = {
        "model": "model",
        "embeddings": "file of embeddings",
        "revision": "revision",
        "weights": "fingerprint of the weights",
        "layers": "layer",
        "final_norm": "after the final norm",
        "pooling": "pooling",
        "modules": "modules after the pooling",
        "prompt": "before every text",
        "max_tokens": "most tokens per text",
        "dtype": "computed in",
    }
    lines = ["| | source | target |", "|---|---|---|"]
    for key, title in shown.items():
        if any(key in record for record in sides.values()):
            cells = " | ".join(_cell(sides[side].get(key)) for side in _SIDES)
            lines.append(f"| {title} | {cells} |")
    cells = " | ".join(_cell(licences.get(side, UNKNOWN)) for side in _SIDES)
    return [*lines, f"| licence | {cells} |"]


def _rows(made_of: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    penalty = made_of.get("penalty")
    facts = [
        f"Data: {known['data']}; its licence: {known['licences'].get('data', UNKNOWN)}."
    ]
    if known["rows"]:
        counted = (f"{count:,} {split}" for split, count in known["rows"].items())
        facts.append(f"Rows: {', '.join(counted)}.")
    facts.append(f"Split that it was fitted on: {made_of.get('split', UNKNOWN)}.")
    if penalty is not None:
        facts.append(f"Relative ridge penalty: {penalty:.3g}.")
    return facts


def _numbers(numbers: Mapping[str, Any]) -> list[str]:
    if not numbers:
        return ["Nothing was recorded when it was saved."]
    lines = ["| measure | value | from | to |", "|---|---|---|---|"]
    for name, value in numbers.items():
        parts = value if isinstance(value, list) else [value, None, None]
        cells = " | ".join("" if one is None else f"{one:.4g}" for one in parts)
        lines.append(f"| {name} | {cells} |")
    return [*lines, "", _INTERVALS]


def _confidence(confidence: Confidence | None, why: str) -> list[str]:
    if confidence is None:
        reason = f" Why: {why}." if why else ""
        return [
            "Not calibrated: this folder maps rows and does not say how near they are."
            f"{reason}"
        ]
    count = len(next(iter(confidence.regressions.values())).residuals)
    return [
        '`found.confidence("cosine", x, y, coverage=0.9)` predicts the cosine of each '
        "mapped row with the target's own, and bounds it from below for a share "
        "`coverage` of rows of the same kind of text (split conformal, "
        f"{count:,} rows)."
    ]


def _name(record: Mapping[str, Any]) -> str:
    found = record.get("model") or record.get("embeddings") or UNKNOWN
    return str(found).rpartition("/")[2]


def _cell(value: Any) -> str:
    """A value in a table of Markdown."""
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
