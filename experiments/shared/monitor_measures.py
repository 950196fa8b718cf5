"""What the program `monitors` measures of what its models read and write."""

from collections.abc import Mapping

import numpy as np

from experiments.shared.monitor_sides import Crossed, Labelled, Node
from experiments.shared.monitor_steps import (
    DOSED,
    NONE,
    Effects,
    ablate_target,
    arm_name,
    dose_target,
    judge_texts,
    steer_target,
    write_target,
)
from experiments.shared.monitor_study import Study
from helix_jax import assets
from helix_jax.monitors import (
    DIRECTION_KINDS,
    carry_monitor,
    effect,
    effect_ratio,
    make_judge,
    score_auroc,
)
from helix_jax.monitors.arms import CARRIED
from helix_jax.monitors.geometry import GEOMETRY, measure_geometry
from helix_jax.monitors.steering import random_vectors
from helix_jax.progress import bar, stage
from helix_jax.stats import Interval, pair_rank_correlation
from helix_jax.text.hashing import document_of

FORETELLING = (*GEOMETRY, "auroc_mean")
Numbers = dict[str, float | Interval]


def measure_cells(study: Study) -> dict[tuple[Node, Node], Numbers]:
    """Monitors, geometry and steering of every source and target."""
    cells: dict[tuple[Node, Node], Numbers] = {}
    targets = dict.fromkeys(target for _, target in study.crossings)
    for target in bar(list(targets), "targets steered"):
        effects = steer_target(study, target)
        native = native_numbers(study, target)
        for (source, other), crossed in study.crossings.items():
            if other == target:
                cells[source, target] = {
                    **native,
                    **carried_numbers(study, source, target, crossed),
                    **steering_numbers(study, source, target, effects),
                }
    return cells


def native_numbers(study: Study, target: Node) -> Numbers:
    """AUROC of the target's own monitors, and of a random direction."""
    side = study.sides[target[0]]
    rows, own = side.rows_at(target[1], "test"), side.directions[target[1]]
    (drawn,) = random_vectors(1, rows.shape[1], seed=study.config.seed)
    scores = {f"native_auroc_{kind}": one.score(rows) for kind, one in own.items()}
    scores["auroc_random"] = rows @ drawn
    gap = side.gap_at(target[1]) / side.scale_at(target[1])
    return {"gap_over_state": gap} | {
        name: _auroc(study, one) for name, one in scores.items()
    }


def carried_numbers(
    study: Study, source: Node, target: Node, crossed: Crossed
) -> Numbers:
    """AUROC of carried monitors, and the geometry."""
    side = study.sides[target[0]]
    rows, origin = side.rows_at(target[1], "test"), crossed.origin
    monitors = {
        f"auroc_{kind}": carry_monitor(origin.directions[kind], origin.crossing)
        for kind in DIRECTION_KINDS
    }
    monitors["auroc_shuffled"] = carry_monitor(
        origin.directions["mean"], origin.shuffled
    )
    numbers: Numbers = {
        name: _auroc(study, one.score(rows)) for name, one in monitors.items()
    }
    native = side.directions[target[1]]["mean"]
    return numbers | measure_geometry(
        origin.crossing, crossed.test, origin.directions["mean"], native
    )


def _auroc(study: Study, scores: np.ndarray) -> Interval:
    texts, labels = study.labelled
    documents = [document_of(text.id) for text in texts["test"]]
    return score_auroc(
        scores, labels["test"], documents, resamples=study.config.resamples
    )


def steering_numbers(
    study: Study, source: Node, target: Node, effects: Effects
) -> Numbers:
    """Effects of a target's arms as shares of that of its own direction."""
    odds, documents = effects.log_odds, study.asked[target[0]].documents
    settings = {"resamples": study.config.resamples}
    before, native = odds[NONE], odds["native"]
    randoms = [odds[f"random {number}"] for number in range(study.config.draws)]
    compared = {arm: odds[arm_name(source, arm)] for arm in CARRIED}
    compared["logistic_native"] = odds["native logistic"]
    compared["random"] = max(randoms, key=lambda one: abs((one - before).mean()))
    numbers: Numbers = {
        "effect_native": effect(native, before, documents, **settings),
        "price_native": effect(
            effects.nats["native"], effects.nats[NONE], documents, **settings
        ),
        "price_forward": effect(
            effects.nats[arm_name(source, "forward")],
            effects.nats[NONE],
            documents,
            **settings,
        ),
    }
    return numbers | {
        f"share_{arm}": effect_ratio(one, native, before, documents, **settings)
        for arm, one in compared.items()
    }


def rank_measures(
    cells: Mapping[str, Numbers], *, resamples: int
) -> dict[str, Interval]:
    """Spearman's correlation of each measure with the share of the native effect."""
    nodes = [tuple(name.split(" -> ")) for name in cells]
    if len(set(sum(nodes, ()))) < 4:
        return {}
    shares = [own["share_forward"].value for own in cells.values()]
    ranks = {}
    for name in FORETELLING:
        values = [getattr(own[name], "value", own[name]) for own in cells.values()]
        ranks[name] = pair_rank_correlation(values, shares, nodes, resamples=resamples)
    return ranks


def measure_doses(study: Study) -> dict[str, dict[str, dict[int, Numbers]]]:
    """target -> arm -> dose -> effect and price."""
    found = {}
    settings = {"resamples": study.config.resamples}
    for place in range(len(study.sides)):
        asked = study.asked[place]
        effects = dose_target(study, place)
        source, target = map(study.name, study.middle_of(place))
        found[f"{target} from {source}"] = {
            arm: {
                dose: {
                    name: effect(
                        readings[f"{arm} {dose}"],
                        readings[NONE],
                        asked.documents,
                        **settings,
                    )
                    for name, readings in zip(("effect", "price"), effects)
                }
                for dose in study.config.doses
            }
            for arm in DOSED
        }
    return found


def measure_ablations(study: Study) -> dict[str, dict[str, Numbers]]:
    """target -> what is ablated -> AUROC of the model's own log-odds."""
    found = {}
    for place in range(len(study.sides)):
        asked = study.asked[place]
        odds = ablate_target(study, place)
        source, target = map(study.name, study.middle_of(place))
        found[f"{target} from {source}"] = {
            arm: {
                "auroc": score_auroc(
                    scores,
                    asked.labels,
                    asked.text_documents,
                    resamples=study.config.resamples,
                )
            }
            for arm, scores in odds.items()
        }
    return found


def of_lessons(lessons: Labelled, labelled: Labelled) -> Labelled:
    """The texts that a judge learns from, with those of the directions as its test."""
    (texts, labels), (own, of_own) = lessons, labelled
    return texts | {"test": own["test"]}, labels | {"test": of_own["test"]}


def measure_writing(study: Study) -> tuple[dict, dict, Numbers]:
    """The texts written, and the change of a judge's log-odds if there is a judge."""
    config, judged, written = study.config, {}, {}
    if not config.new_tokens:
        return judged, written, {}
    for place in range(len(study.sides)):
        nodes = study.middle_of(place)
        name = "{1} from {0}".format(*map(study.name, nodes))
        written[name] = write_target(study, place)
    encoder = config.encoder or assets.installed_encoder()
    if not encoder:
        return judged, written, {}
    with stage("training the judge"):
        settings = {"resamples": config.resamples, "max_tokens": config.max_tokens}
        judge = make_judge(
            encoder, *of_lessons(study.lessons, study.labelled), **settings
        )
    for asked, (name, own) in zip(study.asked, written.items()):
        odds = judge_texts(judge, own)
        judged[name] = {
            arm: {
                "change": effect(
                    scores, odds[NONE], asked.documents, resamples=config.resamples
                )
            }
            for arm, scores in odds.items()
            if arm != NONE
        }
    return judged, written, {"judge/auroc": judge.auroc}
