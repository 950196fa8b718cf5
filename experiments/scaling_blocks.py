"""What `scaling` shows: scores against the number of texts that a map is fitted on."""

from collections.abc import Iterable

from experiments.shared.about import BRACKETS
from experiments.shared.method_maps import GRADIENT, PROBES
from experiments.shared.names import METHOD_NAMES
from helix_jax.alignment import METHODS
from helix_jax.reports import Block, Curves, Table, format_interval, read_interval

CONTROL = "control_shuffled"
HEADER = "R2; accuracy, % by texts to fit on"


def _names(summary: dict[str, float]) -> dict[str, str]:
    """Methods and the control of a summary: name -> what it is."""
    names = {name: METHOD_NAMES[name] for name in (*METHODS, *GRADIENT)}
    names[CONTROL] = "control: ridge, shuffled pairs"
    return {k: v for k, v in names.items() if f"scaling/{k}_plateau_rows" in summary}


def headline_of(names: Iterable[str]) -> str:
    """The method whose plateau is the run's: ridge, or the first."""
    return "ridge" if "ridge" in names else next(iter(names))


def _sizes(summary: dict[str, float]) -> list[int]:
    return sorted({int(key.split("_")[-2]) for key in summary if key.endswith("_loss")})


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[str | None]]]:
    """R2 and accuracy of each method at each size, and its plateau."""
    sizes, rows = _sizes(summary), []
    for name, said in _names(summary).items():
        cells = []
        for size in sizes:
            start = f"scaling/{name}_{size}"
            if f"{start}_r2" in summary:
                r2, accuracy = summary[f"{start}_r2"], summary[f"{start}_accuracy"]
                cells.append(f"{r2:.2f}; {100 * accuracy:.1f}")
            else:
                cells.append(None)
        rows.append([said, *cells, plateau_cell(summary, name)])
    return [HEADER, *(f"{size:,}" for size in sizes), "plateau, texts"], rows


def plateau_cell(summary: dict[str, float], name: str) -> str | None:
    """Where the loss stops falling, in texts; or that it does not."""
    start = f"scaling/{name}_plateau"
    if not summary[f"{start}_found"]:
        return "none: still falling"
    return format_interval(summary, f"{start}_rows", scale=1, digits=0)


def _last_rows(summary: dict[str, float]) -> tuple[list[str], list[list[str | None]]]:
    """Header and rows of the scores of the largest sample, and the plateau."""
    last, rows = _sizes(summary)[-1], []
    for name, said in _names(summary).items():
        start = f"scaling/{name}"
        rows.append(
            [
                said,
                format_interval(summary, f"{start}_{last}_r2", scale=1, digits=3),
                format_interval(summary, f"{start}_{last}_accuracy"),
                plateau_cell(summary, name),
            ]
        )
    for name, said in PROBES.items():
        rows.append(
            [said, None, format_interval(summary, f"scaling/{name}_accuracy"), None]
        )
    return ["method", "test R2", "accuracy, %", "plateau, texts"], rows


def _curve(
    summary: dict[str, float], name: str, score: str, scale: float
) -> list[list[float]]:
    """(size, value, low, high) wherever a method is defined."""
    starts = {size: f"scaling/{name}_{size}_{score}" for size in _sizes(summary)}
    return [
        [size, *read_interval(summary, start, scale=scale)]
        for size, start in starts.items()
        if start in summary
    ]


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """Scores at the largest size and at all; curves of loss and accuracy."""
    names, sizes = _names(summary), _sizes(summary)
    headline = headline_of(names)
    start = f"scaling/{headline}_plateau"
    found = summary[f"{start}_found"]
    marks = {f"plateau of {names[headline]}": summary[f"{start}_rows"]} if found else {}
    note = BRACKETS + (
        "" if found else f" {names[headline]}: no plateau, its loss falls to the end."
    )
    blocks: list[Block] = [
        Table(f"Maps fitted on {sizes[-1]} texts", *_last_rows(summary), note=note),
        Table("R2 and accuracy by texts to fit on", *result_rows(summary), note=note),
    ]
    native = {
        said: [
            [size, *read_interval(summary, f"scaling/{name}_accuracy", scale=100)]
            for size in (sizes[0], sizes[-1])
        ]
        for name, said in PROBES.items()
        if f"scaling/{name}_accuracy" in summary
    }
    for group, members in (("closed forms", METHODS), ("gradient fits", GRADIENT)):
        shown = [name for name in names if name in members]
        if not shown:
            continue
        for score, title, label, scale, more in (
            ("loss", "Test loss", "1 - R2, share of the variance", 1, {}),
            ("accuracy", "Accuracy of the target's probe", "accuracy, %", 100, native),
        ):
            series = {
                names[name]: _curve(summary, name, score, scale)
                for name in (*shown, CONTROL)
                if name in names
            }
            blocks.append(
                Curves(
                    f"{title}, {group}",
                    "texts to fit on",
                    label,
                    series | more,
                    log_x=True,
                    log_y=score == "loss",
                    marks=marks,
                    note=note,
                )
            )
    return blocks
