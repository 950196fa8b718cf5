"""What the models of `monitors` read and write, saved step by step."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.shared.kept_arrays import kept
from experiments.shared.monitor_sides import Node
from experiments.shared.monitor_study import SteeredLayer, Study
from helix_jax.alignment import StateMap
from helix_jax.monitors import Judge, ablation, read_edits, write_edited
from helix_jax.monitors.arms import carried_vectors, native_vectors
from helix_jax.monitors.crossing import carry_vector
from helix_jax.monitors.steering import random_vectors
from helix_jax.progress import stage
from helix_jax.runs import Run

NONE = "none"


class Effects(NamedTuple):
    """The effects of arms on a target; arms by name, including "none".

    Attributes:
      log_odds: arm -> [G, P].
      nats: arm -> [G, P].
    """

    log_odds: dict[str, np.ndarray]
    nats: dict[str, np.ndarray]


def arm_name(source: Node, arm: str) -> str:
    """The name of a carried arm among those of a target."""
    return f"{source[0]}@{source[1]} {arm}"


def steer_target(study: Study, target: Node) -> Effects:
    """Every arm at one dose, on a target."""
    config, place = study.config, study.steered(target)
    own = place.side.directions[place.layer]
    vectors = native_vectors(own, draws=config.draws, seed=config.seed)
    for (source, other), crossed in study.crossings.items():
        if other == target:
            carried = carried_vectors(crossed.origin, own["mean"])
            vectors |= {arm_name(source, arm): v for arm, v in carried.items()}
    shifts = {arm: place.shift(vector, config.dose) for arm, vector in vectors.items()}
    name = f"effects-{target[0]}-{target[1]}"
    return _effects(study.run, name, place, {NONE: place.no_shift} | shifts)


DOSED = ("native", "random 0", "forward", "transpose", "inverse", "shuffled")


def dose_target(study: Study, target: int) -> Effects:
    """Some arms at all doses, on a target's middle layer, as "ARM DOSE"."""
    place, vectors = _at_middle(study, target)
    shifts = {
        f"{arm} {dose}": place.shift(vectors[arm], dose)
        for arm in DOSED
        for dose in study.config.doses
    }
    return _effects(
        study.run, f"doses-{target}", place, {NONE: place.no_shift} | shifts
    )


def ablate_target(study: Study, target: int) -> dict[str, np.ndarray]:
    """arm -> [M] log-odds at the ends of labelled texts, of the middle layer."""
    nodes = study.middle_of(target)
    place, origin = study.steered(nodes[1]), study.crossings[nodes].origin
    mean = place.side.rows_at(place.layer, "fit").mean(axis=0)
    native = [one.vector for one in place.side.directions[place.layer].values()]
    ways = {"carried": origin.crossing, "shuffled": origin.shuffled}
    spans = {"native": native}
    for name, maps in ways.items():
        own = origin.directions.values()
        spans[name] = [carry_vector(one, maps) for one in own]
    for number in range(study.config.draws):
        seed = study.config.seed + number
        spans[f"random {number}"] = list(
            random_vectors(len(native), len(mean), seed=seed)
        )
    edits = {name: ablation(vectors, mean) for name, vectors in spans.items()}
    still = jax.tree.map(np.zeros_like, edits["native"])
    found = _effects(
        study.run, f"ablated-{target}", place, {NONE: still} | edits, at_ends=True
    )
    return {arm: odds[:, 0] for arm, odds in found.log_odds.items()}


WRITERS = ("native", "forward", "transpose", "inverse", "shuffled", "random 0")


def write_target(study: Study, target: int) -> dict[str, list[str]]:
    """arm -> what the target writes after the beginnings of its passages."""
    config = study.config
    place, vectors = _at_middle(study, target)
    shifts = {arm: place.shift(vectors[arm], config.dose) for arm in WRITERS}
    shifts = {NONE: place.no_shift} | shifts
    prompts = [ids[: config.prompt_tokens] for ids in place.asked.passages.ids]
    written = {}
    for number, (arm, shift) in enumerate(shifts.items()):
        said = f"{place.side.name} writes, arm {number + 1} of {len(shifts)}"

        def write(shift=shift, said=said) -> dict[str, np.ndarray]:
            with stage(said):
                texts = write_edited(
                    place.side.model,
                    place.side.tokenizer,
                    place.layer,
                    shift,
                    prompts,
                    max_new_tokens=config.new_tokens,
                    key=jax.random.key(config.seed),
                )
            return {"texts": np.array(texts)}

        arrays = kept(study.run, f"texts-{target}-{number}", write)
        written[arm] = arrays["texts"].tolist()
    return written


def judge_texts(
    judge: Judge, written: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """arm -> [G] log-odds of the class, as an independent model sees it."""
    return {arm: judge.log_odds(texts) for arm, texts in written.items()}


def _at_middle(study: Study, target: int) -> tuple[SteeredLayer, dict[str, np.ndarray]]:
    """A target's middle layer, and vectors: its own, carried ones, a random one."""
    nodes = study.middle_of(target)
    place = study.steered(nodes[1])
    own = place.side.directions[place.layer]
    vectors = native_vectors(own, draws=1, seed=study.config.seed)
    return place, vectors | carried_vectors(study.crossings[nodes].origin, own["mean"])


def _effects(
    run: Run,
    name: str,
    place: SteeredLayer,
    edits: Mapping[str, StateMap],
    *,
    at_ends: bool = False,
) -> Effects:
    """The effects of edits on predictions in the passages, or at the ends of texts."""
    asked = place.asked

    def read() -> dict[str, np.ndarray]:
        with stage(f"{len(edits)} arms on {place.side.name}, layer {place.layer}"):
            found = read_edits(
                place.side.model,
                place.layer,
                list(edits.values()),
                asked.labelled if at_ends else asked.passages,
                asked.tokens,
            )
        return found._asdict()

    arrays = kept(run, name, read)
    return Effects(*(dict(zip(edits, arrays[part])) for part in Effects._fields))
