"""Tables and figures of caches that one model takes over from another."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.shared.about import BRACKETS
from helix_jax.caches import LayerChoice
from helix_jax.reports import (
    Block,
    Matrix,
    Quantity,
    Table,
    cross_bars,
    cross_curves,
    quantity_table,
)
from helix_jax.reports.quantities import arm_table
from helix_jax.stats import Interval

MEASURES = {
    "caches/retention": Quantity("retention, %", 100, 1),
    "caches/bits_per_character": Quantity("bits per character", 1, 3),
    "caches/kl_nats": Quantity("KL, nats", 1, 3),
    "caches/agreement_top1": Quantity("top-1 agreement, %", 100, 1),
    "caches/attention_cosine": Quantity("attention cosine", 1, 3),
    "caches/choice_accuracy": Quantity("right choices, %", 100, 1),
}
CALIBRATION = {
    "select_r2": Quantity("R2 of keys and values", 1, 3),
    "select_r2_keys": Quantity("R2 of keys", 1, 3),
    "select_r2_values": Quantity("R2 of values", 1, 3),
    "select_cosine": Quantity("attention cosine", 1, 3),
    "select_cosine_least": Quantity("attention cosine of the worst layer", 1, 3),
    "select_agreement": Quantity("top-1 agreement, %", 100, 1),
    "select_retention": Quantity("retention, %", 100, 1),
}

Numbers = Mapping[str, float | Interval]


def arm_of(layers: int) -> str:
    """The name of the arm with this many source layers."""
    return f"mapped_{layers}" if layers else "mapped_all"


def arm_titles(
    numbers: Numbers, layers: Sequence[int], rank: int, residual_rank: int = 0
) -> dict[str, str]:
    """Arm -> its title, for the arms that were measured."""
    titles = {"native": "native"}
    for count in layers:
        words = {0: "all source layers", 1: "1 source layer"}
        titles[arm_of(count)] = "mapped, " + words.get(count, f"{count} source layers")
    titles |= {
        "mapped_rank": f"mapped, rank {rank}",
        "residual": f"unchanged, plus a change of rank {residual_rank}",
        "trained": "mapped and trained",
        "as_is": "unchanged, no map",
        "none": "control: no context",
        "shuffled": "control: another prompt's",
        "mean": "control: the mean",
    }
    return {arm: t for arm, t in titles.items() if f"caches/kl_nats_{arm}" in numbers}


def arms_table(numbers: Numbers, arms: Mapping[str, str], *, note: str) -> Table:
    """How well the target continues from each cache."""
    return arm_table(
        "Continuing from each cache",
        numbers,
        arms,
        MEASURES,
        "{}_{}".format,
        corner="cache",
        note=f"Retention: 1 - (bits - native bits) / (bits without context - native "
        f"bits). {note} {BRACKETS}",
    )


def calibration_table(numbers: Numbers, arms: Mapping[str, str]) -> Table:
    """Measures of each map on the select split."""
    prefix = "gate/"
    own = {name.removeprefix(prefix): value for name, value in numbers.items()}
    judged = {arm: title for arm, title in arms.items() if f"select_r2_{arm}" in own}
    return quantity_table(
        "Measures of each map on the select split",
        own,
        CALIBRATION,
        "{}_{}".format,
        judged,
        note="No document of the select split is in the test split.",
    )


def arm_figures(
    numbers: Numbers, arms: Mapping[str, str], cosines: Mapping[str, np.ndarray]
) -> list[Block]:
    """Figures: bits of every arm, and what attention reads by layer.

    Args:
      numbers: of the report.
      arms: arm -> title.
      cosines: arm -> [N, L], of attention outputs with the native ones.
    """
    bars = cross_bars(
        "Bits per character of the continuation",
        Quantity("bits per character"),
        arms,
        {"": "continuation"},
        lambda arm, _: numbers[f"caches/bits_per_character_{arm}"],
    )
    curves = cross_curves(
        "Cosine of attention outputs with the native ones, by layer",
        "layer of the target",
        Quantity("cosine"),
        {
            arms[arm]: dict(enumerate(own.mean(0).tolist(), start=1))
            for arm, own in cosines.items()
            if arm in arms
        },
    )
    return [bars, curves]


def layer_matrices(choice: Mapping[str, LayerChoice]) -> list[Matrix]:
    """R2 from each source layer alone to each target layer, of keys and of values."""
    blocks = []
    for part, chosen in choice.items():
        alone = np.clip(chosen.alone, 0, 1)
        rows, columns = ([str(1 + i) for i in range(n)] for n in alone.shape)
        blocks.append(
            Matrix(
                f"R2 of {part} from one source layer, select split",
                "R2, below 0 as 0",
                rows,
                columns,
                alone.tolist(),
                row_label="layer of the source",
                column_label="layer of the target",
            )
        )
    return blocks
