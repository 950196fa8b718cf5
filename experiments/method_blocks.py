"""What `methods` shows: R2 and accuracy of every method and control."""

from typing import NamedTuple

from experiments.shared.about import BRACKETS
from experiments.shared.method_maps import GRADIENT, PROBES
from experiments.shared.names import METHOD_NAMES
from helix_jax.alignment import METHODS
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval

FITTED_ON = {
    "": "pairs of the task",
    "_public": "pairs of public text",
    "_shuffled": "control: shuffled pairs",
}
CONTROLS = {
    "control_shuffled": "control: ridge, shuffled, same penalty",
    "control_random": "control: random rotation",
    "control_mean": "control: the mean",
}


class Score(NamedTuple):
    """How a score of the summary is shown."""

    title: str
    label: str
    scale: float
    digits: int


SCORES = {
    "r2": Score("Test R2 of alignment methods", "test R2", 1, 3),
    "accuracy": Score("Accuracy of the target's probe", "accuracy, %", 100, 1),
}


def _arms(summary: dict[str, float], score: str) -> dict[str, str]:
    """Methods, best R2 first, and controls of a summary: name -> what it is."""
    names = [one for one in (*METHODS, *GRADIENT) if f"methods/{one}_r2" in summary]
    names.sort(key=lambda one: -summary[f"methods/{one}_r2"])
    arms = {name: METHOD_NAMES[name] for name in names} | CONTROLS | PROBES
    return {k: v for k, v in arms.items() if f"methods/{k}_{score}" in summary}


def _fitted_on(summary: dict[str, float]) -> dict[str, str]:
    """The suffixes of FITTED_ON that a summary holds."""
    return {
        suffix: said
        for suffix, said in FITTED_ON.items()
        if any(key.endswith(f"{suffix}_r2") for key in summary)
    }


def result_rows(
    summary: dict[str, float], score: str
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of a score, r2 (with seconds) or accuracy."""
    shown, columns = SCORES[score], _fitted_on(summary)
    header = [shown.label, *columns.values()]
    rows = []
    for name, said in _arms(summary, score).items():
        cells = (
            format_interval(
                summary,
                f"methods/{name}{suffix}_{score}",
                scale=shown.scale,
                digits=shown.digits,
            )
            for suffix in columns
        )
        rows.append([said, *cells])
    if score == "r2":
        header.append("seconds, median [least, most]")
        for row, name in zip(rows, _arms(summary, score)):
            start = f"methods/{name}_seconds"
            row.append(format_interval(summary, start, scale=1, digits=3))
    return header, rows


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """R2 and accuracy of methods and controls, as tables and as bars."""
    blocks: list[Block] = []
    for score, shown in SCORES.items():
        arms = _arms(summary, score)
        bars = [name for name in arms if name not in CONTROLS | PROBES]
        series = {
            said: [
                read_interval(
                    summary, f"methods/{name}{suffix}_{score}", scale=shown.scale
                )
                for name in bars
            ]
            for suffix, said in _fitted_on(summary).items()
        }
        lines = {
            said: shown.scale * summary[f"methods/{name}_{score}"]
            for name, said in arms.items()
            if name in ("control_mean", *PROBES)
        }
        note = BRACKETS
        if score == "r2":
            note += (
                " Seconds are from moments to map, of gradient fits from rows; their "
                "bracket is the range over repeats."
            )
        title = f"{shown.title}, with controls"
        blocks += [
            Table(shown.title, *result_rows(summary, score), note=note),
            Bars(title, shown.label, [arms[one] for one in bars], series, lines),
        ]
    return blocks
