"""What `monitors` studies: models, the texts that they read, where they are changed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.shared.monitor_options import MonitorOptions
from experiments.shared.monitor_sides import Crossed, Labelled, Node, Side
from helix_jax.generation.token_sides import sample_texts
from helix_jax.monitors import (
    ClassTokens,
    Passages,
    at_ends,
    cut_passages,
    dosed,
    shift_by,
    telling_tokens,
)
from helix_jax.monitors.steering import ShiftMap
from helix_jax.runs import Run
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import document_of, hashed_order
from helix_jax.text.tokens import encode_texts, private_tokenizer

Crossings = Mapping[tuple[Node, Node], Crossed]


class Asked(NamedTuple):
    """What a model reads, and from which documents.

    Attributes:
      passages: of public text.
      documents: [G] of the passages.
      tokens: characteristic tokens of the class and the rest.
      labelled: test texts, scored at their ends.
      labels: [M] of these.
      text_documents: [M] of these.
    """

    passages: Passages
    documents: list[str]
    tokens: ClassTokens
    labelled: Passages
    labels: np.ndarray
    text_documents: list[str]


class Study(NamedTuple):
    """All models, maps and texts of a study.

    Attributes:
      config: the program's flags.
      run: in whose work directory results are kept.
      sides: the models.
      crossings: by source and target.
      asked: what each model reads.
      labelled: the labelled texts.
      lessons: labelled texts that a judge of writing learns from.
    """

    config: MonitorOptions
    run: Run
    sides: Sequence[Side]
    crossings: Crossings
    asked: Sequence[Asked]
    labelled: Labelled
    lessons: Labelled

    def name(self, node: Node) -> str:
        """A model and a layer, as named in tables."""
        return f"{self.sides[node[0]].name}, {node[1]}"

    def middle_of(self, target: int) -> tuple[Node, Node]:
        """The source and the target of closer study: middle layers."""
        source = (target + 1) % len(self.sides)
        nodes = ((place, self.sides[place].layers) for place in (source, target))
        return tuple((place, layers[len(layers) // 2]) for place, layers in nodes)

    def steered(self, target: Node) -> "SteeredLayer":
        """A model, the layer that is changed, and what the model reads."""
        return SteeredLayer(self.sides[target[0]], target[1], self.asked[target[0]])


class SteeredLayer(NamedTuple):
    """Where states are changed, and what the model reads then.

    Attributes:
      side: the model.
      layer: of the model.
      asked: passages and texts.
    """

    side: Side
    layer: int
    asked: Asked

    def shift(self, vector: np.ndarray, dose: float) -> ShiftMap:
        """The edit that adds a vector at a dose, in percent of the classes' gap."""
        return shift_by(dosed(vector, self.side.gap_at(self.layer), dose / 100))

    @property
    def no_shift(self) -> ShiftMap:
        """The edit that adds nothing."""
        return shift_by(np.zeros(self.side.model.spec.width))


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
