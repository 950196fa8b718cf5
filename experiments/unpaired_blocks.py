"""What `unpaired` shows: maps without pairs, their ceiling and controls."""

from experiments.shared.about import BRACKETS
from experiments.shared.task import PROBES
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval

ARMS = {
    "unpaired": "without pairs",
    "paired": "ridge on pairs",
    "gaussian": "control: target without shape",
    "random": "control: random rotation",
    "mean": "control: the mean",
}
MEASURES = {  # name -> label, scale, digits
    "r2": ("test R2", 1, 3),
    "recall": ("recall@1, %", 100, 1),
    "accuracy": ("accuracy, %", 100, 1),
}


def _measures(summary: dict[str, float]) -> dict[str, tuple[str, float, int]]:
    """The measures that a summary holds; unlabelled texts have no accuracy."""
    return {k: v for k, v in MEASURES.items() if f"unpaired/unpaired_{k}" in summary}


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[str | None]]]:
    """Header and rows of the table of arms."""
    measures = _measures(summary)

    def cell(name: str, scale: float, digits: int) -> str | None:
        return format_interval(summary, f"unpaired/{name}", scale=scale, digits=digits)

    rows = [
        [
            said,
            *(cell(f"{arm}_{one}", *how[1:]) for one, how in measures.items()),
            cell(f"{arm}_agreement", 1, 2),
            found_cell(summary, arm),
        ]
        for arm, said in ARMS.items()
    ]
    if "accuracy" in measures:
        rows += [
            [said, None, None, cell(f"{probe}_accuracy", 100, 1), None, None]
            for probe, said in PROBES.items()
        ]
    titles = [title for title, _, _ in measures.values()]
    return [
        "map",
        *titles,
        "agreement of starts [least, most]",
        "taken for right",
    ], rows


def found_cell(summary: dict[str, float], arm: str) -> str | None:
    """Whether the fit takes its own map for right, in words."""
    share, deals = summary.get(f"unpaired/{arm}_found"), summary["unpaired/seeds"]
    if share is None:
        return None
    found = round(share * deals)
    if deals == 1:
        return "yes" if found else "no map found"
    return f"in {found} of {deals} deals" if found else f"no map found in {deals} deals"


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """The arms as a table and as bars."""
    count = summary["unpaired/seeds"]
    deals = "One deal." if count == 1 else f"Means over {count} deals."
    note = (
        f"{deals} {BRACKETS} Of agreement: the "
        "range over deals; of paired maps there is none. Taken for right: whether the "
        "fit without pairs takes its own map for right."
    )
    groups = [said.replace(": ", ":\n") for said in ARMS.values()]
    bars = [
        Bars(
            f"With and without pairs: {label.partition(',')[0]}",
            label,
            groups,
            {
                label: [
                    read_interval(summary, f"unpaired/{arm}_{name}", scale=scale)
                    for arm in ARMS
                ]
            },
        )
        for name, (label, scale, _) in _measures(summary).items()
    ]
    return [Table("Maps without pairs", *result_rows(summary), note=note), *bars]
