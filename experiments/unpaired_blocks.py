"""What `unpaired` shows: maps without pairs, their ceiling and controls."""

from experiments.fits import PROBES
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


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of arms."""
    measures = _measures(summary)

    def cell(name: str, scale: float, digits: int) -> str:
        return format_interval(summary, f"unpaired/{name}", scale=scale, digits=digits)

    rows = [
        [
            said,
            *(cell(f"{arm}_{one}", *how[1:]) for one, how in measures.items()),
            cell(f"{arm}_agreement", 1, 2),
            cell(f"{arm}_found", 1, 2),
        ]
        for arm, said in ARMS.items()
    ]
    if "accuracy" in measures:
        rows += [
            [said, "", "", cell(f"{probe}_accuracy", 100, 1), "", ""]
            for probe, said in PROBES.items()
        ]
    titles = [f"{title} [95%]" for title, _, _ in measures.values()]
    return ["map", *titles, "agreement [least, most]", "found [least, most]"], rows


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """The arms as a table and as bars."""
    note = (
        f"{summary['unpaired/source_rows']} texts of the source, "
        f"{summary['unpaired/target_rows']} others of the target; scored on "
        f"{summary['unpaired/test_rows']} texts of the test split. 95% bootstrap "
        "intervals over documents."
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
