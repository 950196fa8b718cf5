"""What `fit_tokens` shows: a map beside its controls and the native models."""

from collections.abc import Sequence

from experiments.shared.about import BRACKETS
from experiments.shared.names import GATE_NAMES
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval

ARMS = {
    "": "mapped",
    "_ridge": "ridge alone",
    "_mean": "control: the mean",
    "_shuffled": "control: shuffled pairs",
    "_random": "control: random rotation",
    "_random_head": "control: permuted head",
}
NATIVE = {"_native_target": "target alone", "_native_source": "source alone"}
MEASURES = {  # name -> title, scale, digits
    "perplexity": ("perplexity", 1, 1),
    "kl_nats": ("KL, nats", 1, 3),
    "agreement_top1": ("top-1 agreement, %", 100, 1),
    "agreement_top5": ("top-5 agreement, %", 100, 1),
}


def _arms(summary: dict[str, float]) -> dict[str, str]:
    """Suffix -> what it is, of the maps that a summary holds."""
    return {k: v for k, v in ARMS.items() if f"generation/kl_nats{k}" in summary}


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of maps, controls and native models."""

    def row(said: str, places: Sequence[str]) -> list[str]:
        return [said] + [
            format_interval(summary, f"generation/{place}", scale=scale, digits=digits)
            for place, (_, scale, digits) in zip(places, MEASURES.values())
        ]

    rows = [
        row(
            said,
            [f"perplexity_mapped{arm}", *(f"{one}{arm}" for one in list(MEASURES)[1:])],
        )
        for arm, said in _arms(summary).items()
    ]
    rows += [
        row(said, [f"{one}{arm}" for one in MEASURES]) for arm, said in NATIVE.items()
    ]
    return ["map", *(title for title, _, _ in MEASURES.values())], rows


def result_blocks(summary: dict[str, float], method: str) -> list[Block]:
    """Maps and controls as a table, agreement and divergence as bars, the gate."""
    note = (
        f"Map: {method}. Teacher-forced on the test split: KL and agreement are with "
        f"the target's own distribution of the next token. {BRACKETS}"
    )
    arms = _arms(summary)
    groups = [said.replace(": ", ":\n") for said in arms.values()]

    def bars(name: str) -> list[list[float]]:
        return [
            read_interval(summary, f"generation/{name}{arm}", scale=MEASURES[name][1])
            for arm in arms
        ]

    agreement = {
        "first choice": bars("agreement_top1"),
        "among the five first": bars("agreement_top5"),
    }
    blocks: list[Block] = [
        Table("Token maps", *result_rows(summary), note=note),
        Bars("Agreement with the target", "agreement, %", groups, agreement),
        Bars("Divergence from the target", "KL, nats", groups, {"KL": bars("kl_nats")}),
    ]
    if "gate/coverage" in summary:
        blocks.append(_gate_table(summary))
    return blocks


def _gate_table(summary: dict[str, float]) -> Table:
    """What the gate is worth, by token and by text."""
    rows: list[list[object]] = [
        [
            said,
            *(
                format_interval(summary, f"gate/{name}{by}", scale=1, digits=3)
                for by in ("", "_by_text")
            ),
        ]
        for name, said in GATE_NAMES.items()
    ]
    note = f"Trusted token by token, or whole texts. {BRACKETS}"
    return Table("The gate", ["measure", "by token", "by text"], rows, note=note)
