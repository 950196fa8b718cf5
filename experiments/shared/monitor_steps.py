"""What the program `monitors` lets its models read and write, kept as it comes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.shared.monitor_options import MonitorOptions
from experiments.shared.monitor_sides import Crossed, Labelled, Node, Side, kept
from helix_jax.alignment import StateMap
from helix_jax.generation.token_sides import sample_texts
from helix_jax.monitors import (
    ClassTokens,
    Judge,
    Passages,
    ablation,
    at_ends,
    cut_passages,
    dosed,
    read_edits,
    shift_by,
    telling_tokens,
    write_edited,
)
from helix_jax.monitors.arms import carried_vectors, native_vectors
from helix_jax.monitors.crossing import carry_vector
from helix_jax.monitors.steering import random_vectors
from helix_jax.progress import stage
from helix_jax.runs import Run
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of, hashed_order
from helix_jax.text.tokens import encode_texts, private_tokenizer

NONE = "none"
Crossings = Mapping[tuple[Node, Node], Crossed]


class Asked(NamedTuple):
    """What a model is asked, and of which documents.

    Attributes:
      passages: of public text.
      documents: [G] of the passages.
      tokens: of the class and the rest.
      labelled: test texts, asked at their ends.
      labels: [M] of these.
      text_documents: [M].
    """

    passages: Passages
    documents: list[str]
    tokens: ClassTokens
    labelled: Passages
    labels: np.ndarray
    text_documents: list[str]


class Effects(NamedTuple):
    """What arms do to a target; arms by name, "none" among them.

    Attributes:
      log_odds: arm -> [G, P].
      nats: arm -> [G, P].
    """

    log_odds: dict[str, np.ndarray]
    nats: dict[str, np.ndarray]


def arm_name(source: Node, arm: str) -> str:
    """How a carried arm is called among those of a target."""
    return f"{source[0]}@{source[1]} {arm}"


def ask_of(
    config: MonitorOptions, side: Side, labelled: Labelled, public: Corpus
) -> Asked:
    """Passages, tokens and labelled texts as a model reads them."""
    texts, labels = labelled
    tokenizer, spec = side.tokenizer, side.model.spec
    limit = config.passage_tokens + 2
    size = 4 * config.passages * limit
    some = sample_texts(public, "test", size, max_tokens=limit)
    backend = private_tokenizer(tokenizer, max_tokens=limit)
    ids = encode_texts(backend, [text.text for text in some]).ids
    passages, places = cut_passages(
        ids, tokens=config.passage_tokens, places=config.places
    )
    count = min(config.passages, len(passages.ids))
    passages = Passages(*(part[:count] for part in passages))
    documents = [document_of(some[place].id) for place in places[:count]]
    longer = private_tokenizer(tokenizer, max_tokens=config.max_tokens)
    fit = longer.encode_batch(
        [text.text for text in texts["fit"]], add_special_tokens=False
    )
    tokens = telling_tokens(
        [one.ids for one in fit],
        labels["fit"],
        vocabulary=spec.vocab_size,
        count=config.telling,
    )
    order = hashed_order([text.id for text in texts["test"]], salt="ablated")
    order = order[: config.ablated]
    read = [texts["test"][row] for row in order]
    ends = encode_texts(longer, [text.text + config.suffix for text in read]).ids
    return Asked(
        passages,
        documents,
        tokens,
        at_ends(ends),
        labels["test"][order],
        [document_of(text.id) for text in read],
    )


def middle_of(sides: Sequence[Side], target: int) -> tuple[Node, Node]:
    """The source and the target that are looked at closely: middle layers."""
    source = (target + 1) % len(sides)
    nodes = ((place, sides[place].layers) for place in (source, target))
    return tuple((place, layers[len(layers) // 2]) for place, layers in nodes)


def steer_target(
    config: MonitorOptions,
    run: Run,
    sides: Sequence[Side],
    crossings: Crossings,
    target: Node,
    asked: Asked,
) -> Effects:
    """Every arm at one dose, on a target."""
    side, layer = sides[target[0]], target[1]
    own = side.directions[layer]
    vectors = native_vectors(own, draws=config.draws, seed=config.seed)
    for (source, other), crossed in crossings.items():
        if other == target:
            carried = carried_vectors(crossed.origin, own["mean"])
            vectors |= {arm_name(source, arm): v for arm, v in carried.items()}
    share = config.dose / 100
    shifts = {
        name: dosed(vector, side.gap_at(layer), share)
        for name, vector in vectors.items()
    }
    return _effects(run, f"effects-{target[0]}-{layer}", side, layer, shifts, asked)


DOSED = ("native", "random 0", "forward", "transpose", "inverse", "shuffled")


def dose_target(
    config: MonitorOptions,
    run: Run,
    sides: Sequence[Side],
    crossings: Crossings,
    target: int,
    asked: Asked,
) -> Effects:
    """Some arms at all doses, on a target's middle layer, as "ARM DOSE"."""
    nodes = middle_of(sides, target)
    side, layer = sides[target], nodes[1][1]
    own = side.directions[layer]
    vectors = native_vectors(own, draws=1, seed=config.seed)
    vectors |= carried_vectors(crossings[nodes].origin, own["mean"])
    shifts = {
        f"{arm} {dose}": dosed(vectors[arm], side.gap_at(layer), dose / 100)
        for arm in DOSED
        for dose in config.doses
    }
    return _effects(run, f"doses-{target}", side, layer, shifts, asked)


def _effects(
    run: Run,
    name: str,
    side: Side,
    layer: int,
    shifts: Mapping[str, np.ndarray],
    asked: Asked,
) -> Effects:
    """What shifts do, and what none does."""
    shifts = {NONE: np.zeros(side.model.spec.width, np.float32)} | dict(shifts)

    def read() -> dict[str, np.ndarray]:
        edits = [shift_by(vector) for vector in shifts.values()]
        with stage(f"{len(edits)} arms on {side.name}, layer {layer}"):
            found = read_edits(side.model, layer, edits, asked.passages, asked.tokens)
        return found._asdict()

    arrays = kept(run, name, read)
    return Effects(*(dict(zip(shifts, arrays[part])) for part in Effects._fields))


def ablate_target(
    config: MonitorOptions,
    run: Run,
    sides: Sequence[Side],
    crossings: Crossings,
    target: int,
    asked: Asked,
) -> dict[str, np.ndarray]:
    """arm -> [M] log-odds at the ends of labelled texts, of the middle layer."""
    nodes = middle_of(sides, target)
    side, layer = sides[target], nodes[1][1]
    mean = side.rows_at(layer, "fit").mean(axis=0)
    native = [one.vector for one in side.directions[layer].values()]
    origin = crossings[nodes].origin
    ways = {"carried": origin.crossing, "shuffled": origin.shuffled}
    spans = {"native": native}
    for name, maps in ways.items():
        own = origin.directions.values()
        spans[name] = [carry_vector(one, maps) for one in own]
    for number in range(config.draws):
        drawn = random_vectors(len(native), len(mean), seed=config.seed + number)
        spans[f"random {number}"] = list(drawn)
    edits: dict[str, StateMap] = {
        name: ablation(vectors, mean) for name, vectors in spans.items()
    }
    still = jax.tree.map(np.zeros_like, edits["native"])
    edits = {NONE: still} | edits

    def read() -> dict[str, np.ndarray]:
        with stage(f"ablations of {side.name}, layer {layer}"):
            found = read_edits(
                side.model, layer, list(edits.values()), asked.labelled, asked.tokens
            )
        return {"log_odds": found.log_odds[..., 0]}

    arrays = kept(run, f"ablations-{target}", read)
    return dict(zip(edits, arrays["log_odds"]))


WRITERS = ("native", "forward", "transpose", "inverse", "shuffled", "random 0")


def write_target(
    config: MonitorOptions,
    run: Run,
    sides: Sequence[Side],
    crossings: Crossings,
    target: int,
    asked: Asked,
) -> dict[str, list[str]]:
    """arm -> what the target writes behind the beginnings of its passages."""
    nodes = middle_of(sides, target)
    side, layer = sides[target], nodes[1][1]
    own, width = side.directions[layer], side.model.spec.width
    vectors = native_vectors(own, draws=1, seed=config.seed)
    vectors |= carried_vectors(crossings[nodes].origin, own["mean"])
    shifts = {NONE: np.zeros(width, np.float32)}
    for arm in WRITERS:
        shifts[arm] = dosed(vectors[arm], side.gap_at(layer), config.dose / 100)
    prompts = [ids[: config.prompt_tokens] for ids in asked.passages.ids]
    written = {}
    for number, (arm, shift) in enumerate(shifts.items()):
        said = f"{side.name} writes, arm {number + 1} of {len(shifts)}"

        def write(shift=shift, said=said) -> dict[str, np.ndarray]:
            with stage(said):
                texts = write_edited(
                    side.model,
                    side.tokenizer,
                    layer,
                    shift_by(shift),
                    prompts,
                    max_new_tokens=config.new_tokens,
                    key=jax.random.key(config.seed),
                )
            return {"texts": np.array(texts)}

        arrays = kept(run, f"texts-{target}-{number}", write)
        written[arm] = arrays["texts"].tolist()
    return written


def judge_texts(
    judge: Judge, written: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """arm -> [G] log-odds of the class, as an independent model sees it."""
    return {arm: judge.log_odds(texts) for arm, texts in written.items()}
