r"""Do monitors and steering vectors of one model work in another?

    python -m experiments.monitors --workdir=runs/monitors --models=A,B \
      --data=LABELLED --public=PLAIN_TEXT [--positive=CLASS]

Directions of a class are found in every model and carried to every other one by ridge
maps of token states, which are fitted on public text without labels:

| what               | how it is measured in the target                                |
|--------------------|-----------------------------------------------------------------|
| monitor            | AUROC on held-out labelled texts                                |
| steering           | log-odds of the class's telling tokens, on passages of public   |
|                    | text, relative to the effect of the target's own direction      |
| dose, price        | the same at several doses; nats a token of the passages         |
| what it writes     | an independent model's probe on texts written under steering;   |
|                    | with --judge_data it is trained on a separate corpus            |
| ablation           | AUROC of the model's own log-odds at the ends of labelled texts |
| geometry           | CKA, R2, cosines; their rank correlation with the effect        |

Controls: random directions of the same length, the map of shuffled pairs, the part of
the carried direction orthogonal to the native one. Doses, writing and ablation are
measured only at the middle of --depths, from the next model of the list.

Cost: two cores, two embedded models, --tiny: about two minutes.

Reference: docs/monitors.md has what was measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.shared.about import about, short_data
from experiments.shared.monitor_options import MonitorOptions
from experiments.shared.options import require_distinct
from helix_jax.errors import RunError
from helix_jax.models import model_name
from helix_jax.reports import Quantity
from helix_jax.runs import Report, Run, Specs, experiment, option

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.monitor_measures import (
        Numbers,
        measure_ablations,
        measure_cells,
        measure_doses,
        measure_writing,
        rank_measures,
    )
    from experiments.shared.monitor_sides import (
        cross_sides,
        load_monitored,
        read_labelled,
    )
    from experiments.shared.monitor_study import Study, ask_of
    from experiments.shared.monitor_tables import (
        behaviour_table,
        dose_blocks,
        geometry_tables,
        monitor_table,
        monitors_answer,
        steering_table,
        text_samples,
    )
    from experiments.shared.sides import open_corpus


@dataclasses.dataclass(frozen=True)
class MonitorsConfig(MonitorOptions):
    """Flags of the experiment."""

    tiny: bool = option(False, "600 texts, 2,000 token pairs, 12 passages")


def check(config: MonitorsConfig, specs: Specs) -> None:
    """Refuse duplicate names, and models that cannot generate text.

    Raises:
      RunError: says which.
    """
    require_distinct("models", list(map(model_name, config.models)))
    for name in config.models:
        if not specs[name].causal or specs[name].head is None:
            raise RunError(
                f"--models: {name} is not a decoder with a head, and steering "
                "shows in the next tokens; name language models."
            )
    if config.encoder in config.models:
        raise RunError(
            f"--encoder={config.encoder} is one of --models; texts are judged by "
            "a model that writes none of them, such as a sentence encoder."
        )


@experiment(
    tiny={
        "limit": 600,
        "pairs": 2000,
        "select_pairs": 500,
        "test_pairs": 500,
        "depths": (25, 75),
        "passages": 12,
        "telling": 8,
        "ablated": 40,
        "doses": (50, 100),
        "draws": 2,
        "new_tokens": 8,
        "max_tokens": 48,
        "resamples": 100,
    },
    check=check,
)
def compute(config: MonitorsConfig, run: Run) -> Report:
    """Find, carry, watch, steer; see the module docstring."""
    positive, labelled = read_labelled(config)
    lessons = labelled
    if config.judge_data:
        _, lessons = read_labelled(config, config.judge_data, positive=positive)
    public = open_corpus(config, config.public)
    sides = load_monitored(config, run, labelled)
    crossings = cross_sides(config, run, sides, public)
    asked = [ask_of(config, side, labelled, public) for side in sides]
    study = Study(config, run, sides, crossings, asked, labelled, lessons)
    cells = {
        f"{study.name(source)} -> {study.name(target)}": numbers
        for (source, target), numbers in measure_cells(study).items()
    }
    ranks = rank_measures(cells, resamples=config.resamples)
    doses, ablated = measure_doses(study), measure_ablations(study)
    judged, written, judge_numbers = measure_writing(study)
    numbers: Numbers = {
        "data/fit_texts": len(labelled[0]["fit"]),
        "data/test_texts": len(labelled[0]["test"]),
        "data/passages": len(asked[0].documents),
        **judge_numbers,
        **{f"rank/{name}": value for name, value in ranks.items()},
        **_flat({"cell": cells, "ablation": ablated, "writing": judged}),
    }
    for target, arms in doses.items():
        for arm, at in arms.items():
            numbers |= _flat({f"dose/{target}/{arm}": at})
    note = f"The class is {positive!r}, against the rest."
    blocks = [
        monitor_table(cells, note),
        steering_table(cells, config.dose, note),
        *geometry_tables(cells, ranks, note),
    ]
    for target, arms in doses.items():
        blocks += dose_blocks(target, arms, note)
    blocks.append(
        behaviour_table(
            "Ablation: AUROC of the model's own log-odds at the ends of texts",
            "ablated directions",
            ablated,
            {"auroc": Quantity("AUROC, %", 100, 1)},
            f"{note} Ablated: the span of three directions (mean, logistic, sparse), "
            "native, carried forward, carried by the map of shuffled pairs, or random.",
        )
    )
    if judged:
        auroc = judge_numbers["judge/auroc"]
        blocks.append(
            behaviour_table(
                "Steered text, judged by an independent model",
                "what is added",
                judged,
                {"change": Quantity("change of the judge's log-odds, nats", form=2)},
                f"{note} The judge, a probe on another model's embeddings, learned "
                f"from {short_data(config.judge_data or config.data)}; its AUROC on "
                f"test texts of {short_data(config.data)} is "
                f"{auroc.value:.1%} [{auroc.low:.1%}, {auroc.high:.1%}].",
            )
        )
    if written:
        blocks.append(text_samples(written))
    told = about(
        " and ".join(side.name for side in sides),
        f"{short_data(config.data)}, public text of {short_data(config.public)}",
        f"{numbers['data/fit_texts']:,} texts to fit on",
        f"{numbers['data/test_texts']:,} to test on",
        f"{numbers['data/passages']} passages that are steered",
        documents=len(set(asked[0].documents)),
    )
    return Report(numbers, blocks, told, answer=monitors_answer(cells))


def _flat(rooms: Mapping[str, Mapping]) -> Numbers:
    """ROOM/OWNER/NAME -> number of numbers by room and owner."""
    numbers: Numbers = {}
    for room, owners in rooms.items():
        for owner, own in owners.items():
            for name, value in own.items():
                values = value if isinstance(value, Mapping) else {"": value}
                for last, one in values.items():
                    path = "/".join(str(p) for p in (room, owner, name, last) if p)
                    numbers[path] = one
    return numbers


run = compute.run

if __name__ == "__main__":
    compute.main()
