"""What a private search reports: its cost, its tables and its answer in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments.shared.about import BRACKETS
from experiments.shared.answers import RECALL
from helix_jax.reports import Quantity, Table, cross_table
from helix_jax.stats import Interval

if TYPE_CHECKING:
    from helix_jax.private.search.rehearsal import Costs

QUANTITIES = {
    "seconds": Quantity("a search, s", 1, 3),
    "cpu_seconds": Quantity("processor time of both, s", 1, 3),
    "provider_seconds": Quantity("of the provider, s", 1, 3),
    "sent_bytes": Quantity("up, MB", 1e-6, 2),
    "received_bytes": Quantity("down, MB", 1e-6, 2),
    "parts": Quantity("layers asked", 1, 0),
}


def cost_of(costs: list[Costs]) -> list[tuple[str, float | Interval]]:
    """Medians with the middle 95% of the searches; bytes' means."""
    spent = {
        name: np.array([getattr(c, name) for c in costs]) for name in costs[0]._fields
    }
    spent["seconds"] = spent.pop("client_seconds") + spent["provider_seconds"]
    return [
        (
            name,
            Interval(*np.quantile(spent[name], [0.5, 0.025, 0.975]))
            if name.endswith("seconds")
            else float(spent[name].mean()),
        )
        for name in QUANTITIES
    ]


def blocks_of(
    numbers: Mapping[str, float | Interval], costs: Mapping[str, list[Costs]], *, k: int
) -> list[Table]:
    """Recall of every arm, the cost of a search, and what its clusters tell."""
    arms = {
        name.removeprefix("recall/"): name.removeprefix("recall/").replace("_", " ")
        for name in numbers
        if name.startswith("recall/")
    }
    columns = {"recall": Quantity(f"recall@{k}, %", 100, 1)}
    if any(name.startswith("same_class/") for name in numbers):
        columns["same_class"] = Quantity("hits of the query's class, %", 100, 1)
    blocks = [
        cross_table(
            f"Hits among the {k} of the provider's own model",
            "queries, policy",
            arms,
            columns,
            lambda arm, column: numbers[f"{column}/{arm}"],
            note=BRACKETS,
        ),
        cross_table(
            "Cost of a search",
            "queries, policy",
            {arm: arms[arm] for arm in costs},
            QUANTITIES,
            lambda arm, column: numbers[f"cost/{arm}_{column}"],
            note="Seconds: median [2.5th to 97.5th percentile of the queries].",
        ),
    ]
    guesses = {
        name: name.removeprefix("guess/") for name in numbers if "guess/" in name
    }
    if guesses:
        blocks.append(
            cross_table(
                "The provider's guess of the intended clusters",
                "queries",
                guesses,
                {"": Quantity("right, %", 100, 1)},
                lambda name, _: numbers[name],
                note="It knows what half of the queries chose, and the rule of decoys.",
            )
        )
    return blocks


def search_answer(
    numbers: Mapping[str, float | Interval], *, k: int, first: str, planted: bool
) -> str:
    """What the first policy and its control find, and the time of a search."""
    policy = first.replace(":", "_")
    arms = {
        "mapped": "through the map",
        "native": "for queries of the provider's model",
        "shuffled": "through a map of shuffled pairs",
    }
    found = [
        f"{RECALL.told(numbers, name)} {words}"
        for arm, words in arms.items()
        if (name := f"recall/{arm}_{policy}") in numbers
    ]
    arm = "native" if planted else "mapped"
    seconds = QUANTITIES["seconds"].told(numbers, f"cost/{arm}_{policy}_seconds")
    return (
        f"Recall@{k} under encryption ({first}): "
        f"{', '.join(found)}; a search takes {seconds}."
    )
