"""The gate of the program `caches` over single prompts: its numbers and its blocks."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.shared.about import BRACKETS
from experiments.shared.cache_options import CacheOptions
from helix_jax.caches import CacheMap
from helix_jax.caches.arms import ArmRows
from helix_jax.caches.prompt_confidence import calibrate_layers
from helix_jax.caches.prompt_gate import (
    GATE,
    LEAST,
    OUTCOMES,
    SHARES,
    closeness,
    correlation_numbers,
    dealt,
    decision_numbers,
    fit_prompt_gate,
)
from helix_jax.caches.prompt_signals import CHECK, FREE, read_signals
from helix_jax.caches.prompts import Prompts
from helix_jax.generation.token_sides import TokenSides
from helix_jax.map_confidence import Confidence
from helix_jax.reports import Block, Quantity, cross_curves, cross_table
from helix_jax.stats import Interval

CONTROL = "control_"
TITLES = {
    GATE: "the gate, of all signals but the last",
    "predicted_cosine": "predicted cosine of keys and values",
    "outside": "share of keys and values outside the calibration",
    "leverage": "leverage of the source's keys and values",
    "source_nats": "the source's own loss on the prompt",
    "source_tokens": "tokens that the source has read",
    "entropy_nats": "entropy of the first prediction",
    CHECK: "the target's loss on the few last tokens that it reads",
}
MEASURED = {"closeness": "closeness (-log KL)", "retention": "retention"}
Signals = Mapping[str, Mapping[str, np.ndarray]]
Numbers = dict[str, float | Interval]


def prompt_signals(
    config: CacheOptions,
    sides: TokenSides,
    prompts: Mapping[str, Prompts],
    cache_map: CacheMap,
    directions: Mapping[str, Sequence[Confidence]],
) -> dict[str, dict[str, np.ndarray]]:
    """Split -> signal -> one number per prompt, for the select and test splits."""
    own = prompts["select"]
    settings = {"batch": min(config.batch, *(len(one.ids) for one in prompts.values()))}
    confidences = calibrate_layers(directions, cache_map, sides.models, own, **settings)
    return {
        split: read_signals(
            sides.models,
            one,
            cache_map,
            confidences,
            title=f"signals of prompts, {split} split",
            **settings,
        )
        for split, one in prompts.items()
    }


def judge_prompts(
    signals: Signals, scored: Mapping[str, ArmRows], arm: str, resamples: int
) -> tuple[Numbers, list[Block]]:
    """How well the gate predicts the quality of prompts, and what its choice gives.

    Args:
      signals: from `prompt_signals`.
      scored: split -> what was measured.
      arm: whose cache is scored.
      resamples: of documents.

    Returns:
      The numbers; empty if a split has too few documents.
    """
    rows = {split: own.rows for split, own in scored.items()}
    if min(len(set(own.documents)) for own in rows.values()) < LEAST:
        return {}, []
    settings = {"resamples": resamples}
    target = closeness(rows["select"], arm)
    gate = fit_prompt_gate(signals["select"], target, FREE)
    unknowing = fit_prompt_gate(
        signals["select"], target[dealt(rows["select"].documents)], FREE
    )
    known = {GATE: gate(signals["test"]), **signals["test"]}
    numbers: Numbers = {
        "prompts/select_prompts": len(rows["select"].documents),
        "prompts/test_prompts": len(rows["test"].documents),
        **correlation_numbers(known, rows["test"], arm, **settings),
    }
    for kind, own in (("", gate), (CONTROL, unknowing)):
        chosen_on, test = own(signals["select"]), own(signals["test"])
        numbers |= decision_numbers(
            chosen_on, test, rows["test"], arm, kind=kind, **settings
        )
    return numbers, [correlation_table(numbers), *decision_blocks(numbers)]


def correlation_table(numbers: Numbers) -> Block:
    """What predicts the quality of one prompt's cache, next to its control."""
    columns = {
        f"{kind}_{name}": Quantity(f"{words}{MEASURED[name]}", form=2)
        for name in OUTCOMES
        for kind, words in (("rank", ""), ("control", "control: another prompt's "))
        if f"prompts/{kind}_{name}_{GATE}" in numbers
    }
    rows = {name: title for name, title in TITLES.items() if _has(numbers, name)}
    return cross_table(
        "What predicts a prompt's quality: Spearman's rank correlation",
        "known of the prompt",
        rows,
        columns,
        lambda row, column: numbers.get(f"prompts/{column}_{row}"),
        note=f"{numbers['prompts/test_prompts']} prompts of the test split. The gate: "
        f"ridge on {numbers['prompts/select_prompts']} prompts of the select split. "
        "The target reads none of the prompt for it but what every arm reads; signals "
        f"that are the same for all prompts are left out. {BRACKETS}",
    )


def decision_blocks(numbers: Numbers) -> list[Block]:
    """Quality of kept and refused prompts, by the share that a threshold keeps."""
    kinds = {"": "", CONTROL: "control: "}
    columns = {
        f"{kind}{name}": quantity._replace(title=f"{words}{quantity.title}")
        for kind, words in kinds.items()
        for name, quantity in {
            "kept": Quantity("kept, %", 100, 1),
            "retention_kept": Quantity("retention of kept, %", 100, 1),
            "retention_refused": Quantity("of refused, %", 100, 1),
            "kl_nats_kept": Quantity("KL of kept, nats", form=3),
            "kl_nats_refused": Quantity("of refused, nats", form=3),
        }.items()
    }
    rows = {f"{share}": f"{share}% of the select split" for share in SHARES}
    table = cross_table(
        "Prompts that are kept and refused",
        "threshold keeps",
        rows,
        columns,
        lambda row, column: numbers.get(f"prompts/{column}_{row}"),
        note="Thresholds are quantiles of the select split. Control: the same gate, "
        f"fitted to what was measured on other prompts. {BRACKETS}",
    )
    curves = {}
    for kind, words in kinds.items():
        for group in ("kept", "refused"):
            name = f"prompts/{kind}retention_{group}"
            own = {
                share: numbers[f"{name}_{share}"]
                for share in SHARES
                if f"{name}_{share}" in numbers
            }
            if own:
                curves[f"{words}{group}"] = own
    figure = cross_curves(
        "Retention of kept and refused prompts",
        "share of the select split that the threshold keeps, %",
        Quantity("retention, %", 100),
        curves,
        note=BRACKETS,
    )
    return [table, figure]


def _has(numbers: Numbers, name: str) -> bool:
    return any(f"prompts/rank_{outcome}_{name}" in numbers for outcome in OUTCOMES)
