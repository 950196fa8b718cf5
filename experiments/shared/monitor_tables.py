"""Tables and figures of the program `monitors`."""

from collections.abc import Mapping, Sequence

from helix_jax.monitors import DIRECTION_KINDS
from helix_jax.monitors.arms import CARRIED
from helix_jax.monitors.geometry import GEOMETRY
from helix_jax.reports import (
    Block,
    Curves,
    Quantity,
    Samples,
    Table,
    cross_curves,
    cross_table,
)
from helix_jax.stats import Interval

Numbers = Mapping[str, float | Interval]
ALL_PLACES = "[ ]: 95% bootstrap interval over documents."
OVER_PASSAGES = "[ ]: 95% bootstrap interval over documents of the passages."
SHOWN = 3  # texts of each target
MEASURES = {
    "linear_cka": "linear CKA of the token states",
    "r2_forward": "R2 of the map to the target",
    "r2_backward": "R2 of the map back",
    "round_trip": "cosine of the direction and its round trip",
    "native_cosine": "cosine of carried and native direction",
    "monitor_cosine": "cosine of carried and native monitor",
    "auroc_mean": "AUROC of the carried monitor",
}


def monitors_answer(cells: Mapping[str, Numbers]) -> str:
    """What carried directions read and move, over all pairs of layers."""
    whole = list(cells.values())
    told = [own for own in whole if own["effect_native"].low > 0]
    read = (
        f"Carried logistic monitors have AUROC {_span(whole, 'auroc_logistic')} on the "
        f"target's states, its own {_span(whole, 'native_auroc_logistic')}, those of "
        f"shuffled pairs {_span(whole, 'auroc_shuffled')}"
    )
    if not told:
        return (
            f"{read}; no steering vector of the target's own has an effect above zero "
            "that a carried one could have a share of."
        )
    return (
        f"{read}; where the target's own steering vector has an effect above zero "
        f"({len(told)} of {len(whole)} pairs of layers), the carried one has "
        f"{_span(told, 'share_forward')} of it, one of shuffled pairs "
        f"{_span(told, 'share_shuffled')}."
    )


def _span(cells: Sequence[Numbers], name: str) -> str:
    """The smallest and the largest value of a number."""
    values = [float(cell[name].value) for cell in cells]
    return " to ".join(dict.fromkeys(f"{of(values):.2f}" for of in (min, max)))


def monitor_table(cells: Mapping[str, Numbers], note: str) -> Table:
    """AUROC of monitors in the target, carried from every source."""
    auroc = Quantity("", 100, 1)
    columns = {}
    for kind in DIRECTION_KINDS:
        columns[f"auroc_{kind}"] = auroc._replace(title=f"carried, {kind}")
        columns[f"native_auroc_{kind}"] = auroc._replace(title=f"native, {kind}")
    columns["auroc_shuffled"] = auroc._replace(title="control: shuffled map")
    columns["auroc_random"] = auroc._replace(title="control: random direction")
    return cross_table(
        "AUROC of monitors on the target's states, %",
        "source, layer -> target, layer",
        {name: name for name in cells},
        columns,
        lambda cell, column: cells[cell].get(column),
        note=f"{note} {ALL_PLACES} Mean, logistic, sparse: how the direction is found.",
    )


def steering_table(cells: Mapping[str, Numbers], dose: int, note: str) -> Table:
    """Effects of carried directions as shares of that of the native one."""
    share = Quantity("", 1, 2)
    columns = {
        "gap_over_state": Quantity("that distance, % of a state", 100, 1),
        "effect_native": Quantity("effect of the native one, nats", form=2),
        "price_native": Quantity("its price, nats per token", form=2),
    }
    columns |= {f"share_{arm}": share._replace(title=arm) for arm in CARRIED}
    columns["share_logistic_native"] = share._replace(title="native, logistic")
    columns["share_random"] = share._replace(title="largest random one")
    return cross_table(
        "Steering: effect on the odds of the class's tokens, over the native one's",
        "source, layer -> target, layer",
        {name: name for name in cells},
        columns,
        lambda cell, column: cells[cell].get(column),
        note=(
            f"{note} {OVER_PASSAGES} Effect: change of the log-odds of the class's "
            f"characteristic tokens against the rest's; the added vector has {dose}% "
            "of the distance between the mean states of class and rest. Forward, "
            "transpose, inverse: how the direction is carried. Controls: the map of "
            "shuffled pairs; the complement, what of the forward one is orthogonal to "
            "the native; random directions."
        ),
    )


def dose_blocks(
    target: str, curves: Mapping[str, Mapping[int, Numbers]], note: str
) -> list[Block]:
    """Dose-response of a target: a figure of the effect, a table with its price."""
    figure: Curves = cross_curves(
        f"Dose and response, {target}",
        "length of the added vector, % of the distance between class and rest",
        Quantity("change of the log-odds, nats"),
        {
            arm: {dose: own["effect"] for dose, own in at.items()}
            for arm, at in curves.items()
        },
        note=f"{note} {OVER_PASSAGES}",
    )
    rows = {(arm, dose): f"{arm}, {dose}%" for arm, at in curves.items() for dose in at}
    table = cross_table(
        f"Dose, response and price, {target}",
        "what is added",
        rows,
        {
            "effect": Quantity("change of the log-odds, nats", form=2),
            "price": Quantity("increase in nats per token of public text", form=3),
        },
        lambda row, column: curves[row[0]][row[1]][column],
        note=f"{note} {OVER_PASSAGES}",
    )
    return [figure, table]


def behaviour_table(
    title: str,
    corner: str,
    arms: Mapping[str, Mapping[str, Numbers]],
    columns: Mapping[str, Quantity],
    note: str,
) -> Table:
    """A row for each arm of each target: texts written, or read under ablation."""
    rows = {
        (target, arm): f"{target}: {arm}" for target, own in arms.items() for arm in own
    }
    return cross_table(
        title,
        corner,
        rows,
        columns,
        lambda row, column: arms[row[0]][row[1]].get(column),
        note=f"{note} {ALL_PLACES}",
    )


def geometry_tables(
    cells: Mapping[str, Numbers], ranks: Mapping[str, Interval], note: str
) -> list[Block]:
    """Geometry with the causal effect, and the correlation of the two."""
    columns = {
        name: Quantity(MEASURES[name], form="+.2f" if "cosine" in name else ".2f")
        for name in GEOMETRY
    }
    columns["auroc_mean"] = Quantity("AUROC of the carried monitor", 100, 1)
    columns["share_forward"] = Quantity("effect over the native one's", form=2)
    tables: list[Block] = [
        cross_table(
            "Geometry and causal effect",
            "source, layer -> target, layer",
            {name: name for name in cells},
            columns,
            lambda cell, column: cells[cell].get(column),
            note=f"{note} {ALL_PLACES}",
        )
    ]
    if ranks:
        tables.append(
            cross_table(
                "Does a measure predict the effect?",
                "measure",
                {name: MEASURES[name] for name in ranks},
                {"rank": Quantity("Spearman's rank correlation", form=2)},
                lambda measure, _: ranks[measure],
                note=(
                    f"{note} Of the measure with the effect of the forward direction "
                    f"over the native one's, over {len(cells)} pairs of layers; [ ]: "
                    "95% bootstrap interval over layers of models."
                ),
            )
        )
    return tables


def text_samples(written: Mapping[str, Mapping[str, Sequence[str]]]) -> Samples:
    """The first texts of every arm of every target."""
    items = [
        {"target": target, **dict(zip(own, texts))}
        for target, own in written.items()
        for texts in list(zip(*own.values()))[:SHOWN]
    ]
    return Samples("Steered text of the targets", items)
