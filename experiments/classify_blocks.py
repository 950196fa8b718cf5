"""What `classify` shows: the accuracy of every arm and control."""

from experiments.shown import BRACKETS
from helix_jax.reports import Bars, Block, Table, format_interval

ARMS = {
    "target": "target, its own states",
    "mapped": "source, mapped to the target's probe",
    "source": "source, its own probe",
    "shuffled": "control: map of shuffled pairs",
    "random": "control: random rotation",
    "majority": "control: largest class",
    "public": "map of public text",
}


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of arms, in percent."""
    rows = [
        [_describe(name), format_interval(summary, f"test/{name}_accuracy")]
        for name in _arms(summary)
    ]
    return ["arm", "accuracy, %"], rows


def result_blocks(summary: dict[str, float]) -> list[Block]:
    """The arms as a table and as bars."""
    names = [name for name in _arms(summary) if name != "majority"]
    accuracies = [
        [100 * summary[f"test/{name}_accuracy{end}"] for end in ("", "_low", "_high")]
        for name in names
    ]
    chance = {ARMS["majority"]: 100 * summary["test/majority_accuracy"]}
    note = f"{summary['data/classes']} classes. {BRACKETS}"
    return [
        Table("Accuracy of the target's classifier", *result_rows(summary), note=note),
        Bars(
            "Accuracy of the arms",
            "accuracy, %",
            list(map(_describe, names)),
            {"accuracy, 95% interval": accuracies},
            chance,
        ),
    ]


def _arms(summary: dict[str, float]) -> list[str]:
    """Names of the arms that a summary holds, in the order of the table."""
    names = [
        key.removeprefix("test/").removesuffix("_accuracy")
        for key in summary
        if key.startswith("test/") and key.endswith("_accuracy")
    ]
    return sorted(names, key=_place)


def _describe(name: str) -> str:
    kind, _, count = name.rpartition("_")
    if name in ARMS:
        return ARMS[name]
    if kind == "public":
        return f"map of public text and {count} of the task"
    return f"source, probe of {count} labelled texts"


def _place(name: str) -> tuple:
    known = list(ARMS)
    if name in known:
        return (known.index(name), 0)
    kind, _, count = name.rpartition("_")
    return (len(known) + (kind == "few_shot"), int(count))
