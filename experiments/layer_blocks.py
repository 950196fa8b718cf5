"""What `layers` shows: measures by cut of the source and entry of the target."""

import itertools
from collections.abc import Mapping

from experiments.shared.about import BRACKETS
from helix_jax.reports import Block, Matrix, Table, format_interval

MAPS = {  # measure -> title, unit
    "test/r2": ("R2 of the map", "R2"),
    "generation/agreement_top1": ("Agreement with the target", "share of tokens"),
    "generation/kl_nats": ("Divergence from the target", "nats"),
}
CELLS = {  # of a pair of layers -> title, digits
    "test/r2": ("R2", 3),
    "generation/agreement_top1": ("agreement", 3),
    "generation/agreement_top1_mean": ("control: the mean", 3),
    "generation/agreement_top1_random_head": ("control: permuted head", 3),
    "generation/kl_nats": ("KL, nats", 2),
    "generation/perplexity_mapped": ("perplexity", 1),
}


def pair_line(source_layer: int, target_layer: int, found: Mapping[str, float]) -> str:
    """A pair of layers in a line, as soon as it is scored."""
    said = ", ".join(
        f"{CELLS[name][0]} {found[name]:.{CELLS[name][1]}f}" for name in MAPS
    )
    return f"source layer {source_layer}, target layer {target_layer}: {said}"


def layer_map(
    summary: dict[str, float], measure: str
) -> tuple[list[int], list[int], list[list[float]]]:
    """Source layers, target layers, and a measure by both."""
    cells = {
        tuple(map(int, name.partition("/")[0].split("-"))): value
        for name, value in summary.items()
        if name.partition("/")[2] == measure
    }
    rows, columns = (sorted({place[side] for place in cells}) for side in (0, 1))
    return rows, columns, [[cells[i, j] for j in columns] for i in rows]


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of all pairs of layers, beside their controls."""
    rows, columns, _ = layer_map(summary, "test/r2")
    cells = []
    for i, j in itertools.product(rows, columns):
        found = (
            format_interval(summary, f"{i}-{j}/{name}", scale=1, digits=digits)
            for name, (_, digits) in CELLS.items()
        )
        cells.append([i, j, *found])
    header = ["source layer", "target layer", *(title for title, _ in CELLS.values())]
    return header, cells


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """A map of layers for each measure, and all pairs beside their controls."""
    blocks: list[Block] = []
    for measure, (title, label) in MAPS.items():
        rows, columns, values = layer_map(summary, measure)
        worst = max(map(max, values)) if measure == "generation/kl_nats" else 1.0
        blocks.append(
            Matrix(
                f"{title}, by layers",
                label,
                [str(i) for i in rows],
                [str(j) for j in columns],
                values,
                limits=(0.0, worst),
                row_label="cut of the source, blocks before it",
                column_label="entry of the target, blocks before it",
            )
        )
    alone = f"{rows[-1]}-{columns[-1]}/generation/perplexity_native_target"
    note = (
        "A layer is the number of blocks before the cut of the source and the entry of "
        "the target. Agreement is the share of tokens whose first choice is the "
        f"target's. Teacher-forced. {BRACKETS} The "
        f"target alone has perplexity {format_interval(summary, alone, scale=1)}."
    )
    return [*blocks, Table("Every pair of layers", *result_rows(summary), note=note)]
