r"""The encrypted linear layer compared with the plain one: time, bytes and error.

    python -m experiments.encrypted --workdir=runs/encrypted --profile=guarded \
      --width=768 --classes=5 --queries=200
    python -m experiments.encrypted --workdir=runs/trec_encrypted \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

A client encrypts embeddings, and a provider answers with the logits of its classifier;
both run in this process and exchange bytes. Without models, the embeddings and weights
are Gaussian, with logits of order 10. With models, the provider holds the target's
probe and the client the source's states, which it maps to the target's space by a ridge
map; queries are the texts of the test split, and of the other splits if --queries asks
for more; accuracy is on the test split alone.

Seconds are medians over queries, with the central 95%.

Cost: two cores, width 768, 5 classes: a query in 2 milliseconds, 57 kB up, 21 kB down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.shared.about import BRACKETS, about_planted
from experiments.shared.options import TINY_TEXTS, PlantedOptions, seed_option
from experiments.shared.policies import check_policies
from helix_jax.private.packing import MAX_CLASSES, MAX_WIDTH
from helix_jax.private.profiles import PROFILES
from helix_jax.private.stages import STAGES
from helix_jax.progress import stage
from helix_jax.reports import Block, Quantity, Table, cross_bars, plain_bars
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.stats import Interval

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus
    from experiments.shared.task import open_task
    from helix_jax.alignment import AffineMap
    from helix_jax.ood import energy_score
    from helix_jax.private import Client, Provider
    from helix_jax.private.planted import planted_layer
    from helix_jax.private.rehearsal import Conversation
    from helix_jax.stats import bootstrap_interval
    from helix_jax.transfer.pair_fit import fit_pairs

SPLITS = ("test", "select", "fit")
SPREAD = "median [2.5th to 97.5th percentile of the queries]"
OVER_DOCUMENTS = BRACKETS.rstrip(".")
QUANTITIES = {  # name -> how it is shown, what it is
    "online_seconds": (
        Quantity("client and provider together, ms", 1e3, 1),
        "sum of medians",
    ),
    **{
        f"{name}_seconds": (Quantity(f"{title}, ms", 1e3, 1), SPREAD)
        for name, title in STAGES.items()
    },
    "query_bytes": (Quantity("query, kB", 1e-3, 1), "one message"),
    "answer_bytes": (Quantity("answer, kB", 1e-3, 1), "one message"),
    "key_bytes": (Quantity("public key, sent once, kB", 1e-3, 1), "one message"),
    "argmax_agreement": (
        Quantity("same answer as in the clear, %", 100, 1),
        "share of queries",
    ),
    "accuracy": (Quantity("accuracy under encryption, %", 100, 1), OVER_DOCUMENTS),
    "plain_accuracy": (Quantity("accuracy in the clear, %", 100, 1), OVER_DOCUMENTS),
    "max_error": (Quantity("largest error of a logit", 1, ".2g"), "of all queries"),
    "stated_error": (Quantity("its stated bound", 1, ".2g"), "of the layer"),
    "largest_logit": (Quantity("largest logit", 1, ".2g"), "of all queries"),
    "max_energy_error": (
        Quantity("largest error of the energy score", 1, ".2g"),
        "of all queries",
    ),
}


@dataclasses.dataclass(frozen=True)
class EncryptedConfig(PlantedOptions):
    """Flags of the experiment."""

    profile: str = option(
        "guarded", "profile of the parameters", choices=tuple(PROFILES)
    )
    policy: str = option(
        "", "policy of answers: logits, rounded:BITS or label; empty: the profile's"
    )
    minimise: str = option(
        "time", "what the tiling minimises", choices=("time", "traffic")
    )
    width: int = option(768, "width of synthetic embeddings", least=1, most=MAX_WIDTH)
    classes: int = option(
        5, "classes of a synthetic classifier", least=1, most=MAX_CLASSES
    )
    queries: int = option(
        200, "number of queries; 0: all texts of the test split", least=0
    )
    seed: int = seed_option("of synthetic embeddings and weights")
    tiny: bool = option(False, "8 queries of width 64; 600 texts, 64 tokens at most")


class Problem(NamedTuple):
    """A classifier and the embeddings that it is asked about.

    Attributes:
      classifier: the provider's, kernel [D, C] and bias [C].
      x: [N, D] float64, the client's.
      labels: [T] int of the first rows, those of the test split; empty if synthetic.
      documents: [T] document of each of them.
    """

    classifier: AffineMap
    x: np.ndarray
    labels: np.ndarray
    documents: list[str]


def check(config: EncryptedConfig, _: Specs) -> None:
    """Refuse an unknown policy."""
    if config.policy:
        check_policies("policy", config.policy)


@experiment(
    tiny=TINY_TEXTS | {"queries": 8, "width": 64}, check=check, needs=("Pyfhel",)
)
def compute(config: EncryptedConfig, _: Run) -> Report:
    """Ask, time, compare; see the module docstring."""
    problem = real_problem(config) if config.source else made_problem(config)
    kernel, bias = problem.classifier.kernel, problem.classifier.bias
    with stage("encoding the layer"):
        provider = Provider(
            kernel,
            bias,
            profile=config.profile,
            policy=config.policy or None,
            minimise=config.minimise,
            input_norm=float(np.linalg.norm(problem.x, axis=1).max()),
        )
    conversation = Conversation(Client(config.profile), provider)
    found = conversation.ask_all(problem.x)
    plain = problem.x @ kernel + bias
    labels = found if found.ndim == 1 else found.argmax(1)
    numbers = conversation.costs | {
        "queries": len(problem.x),
        "width": problem.x.shape[1],
        "classes": plain.shape[1],
        "largest_logit": np.abs(plain).max(),
        "argmax_agreement": np.mean(labels == plain.argmax(1)),
        "stated_error": provider.layer.error,
    }
    if config.policy != "label":
        energies = [np.asarray(energy_score(some)) for some in (found, plain)]
        numbers |= {
            "max_error": np.abs(found - plain).max(),
            "max_energy_error": np.abs(energies[0] - energies[1]).max(),
        }
    documents = len(set(problem.documents))
    if documents > 1:  # one document gives no interval
        for name, some in (("accuracy", labels), ("plain_accuracy", plain.argmax(1))):
            right = some[: len(problem.labels)] == problem.labels
            numbers[name] = bootstrap_interval(right, problem.documents)
    test_texts = len(problem.labels)
    of_texts = (
        f"{test_texts:,} test texts among the queries (of {documents:,} documents)"
    )
    told = about_planted(
        config,
        "synthetic embeddings and weights",
        f"{len(problem.x):,} queries",
        of_texts if config.source else "",
        documents=documents,
    )
    return Report(
        {f"encrypted/{name}": value for name, value in numbers.items()}
        | {"data/test_texts": test_texts, "data/test_documents": documents},
        result_blocks(
            numbers, f"Profile {config.profile}, policy {provider.layer.policy}."
        ),
        told,
        answer=encrypted_answer(numbers),
    )


def made_problem(config: EncryptedConfig) -> Problem:
    """Gaussian embeddings and weights, logits of order 10."""
    classifier, x = planted_layer(
        width=config.width,
        classes=config.classes,
        queries=config.queries or 200,
        seed=config.seed,
    )
    return Problem(classifier, x, np.empty(0, int), [])


def real_problem(config: EncryptedConfig) -> Problem:
    """The target's probe and the source's mapped states."""
    opened = open_task(config, open_corpus(config, labelled=True))
    task = opened.task
    count = config.queries or len(task.x["test"])
    return Problem(
        task.classifier,
        task.map_states(fit_pairs(opened.pairs).map, SPLITS)[:count],
        task.labels["test"][:count],
        task.documents[:count],
    )


def encrypted_answer(numbers: Mapping[str, float | Interval]) -> str:
    """What a query takes, and whether it is answered as in the clear."""
    said = {name: shown.told(numbers, name) for name, (shown, _) in QUANTITIES.items()}
    accuracy = (
        f" Accuracy: {said['accuracy']} under encryption, {said['plain_accuracy']} in "
        "the clear."
    )
    return (
        f"One query takes {said['online_seconds']}, client and provider together; "
        f"{said['argmax_agreement']} of the answers name the class that is named in "
        "the clear." + (accuracy if "accuracy" in numbers else "")
    )


def result_blocks(numbers: Mapping[str, float | Interval], note: str) -> list[Block]:
    """The table, the time of each stage, and the bytes of a query both ways."""
    width, classes = numbers["width"], numbers["classes"]
    rows = [
        [shown.title, shown.cell(numbers, name), what]
        for name, (shown, what) in QUANTITIES.items()
        if name in numbers
    ]
    return [
        Table(
            f"Encrypted layer, width {width}, {classes} classes",
            ["measure", "value", "what it is"],
            rows,
            note=note,
        ),
        cross_bars(
            "Time of one query",
            Quantity("milliseconds", 1e3),
            STAGES,
            {"": "median"},
            lambda stage, _: numbers[f"{stage}_seconds"],
            note=f"{note} Lines: {SPREAD}.",
        ),
        plain_bars(
            "Bytes of one query",
            "kB",
            {
                "query": numbers["query_bytes"] / 1e3,
                "answer": numbers["answer_bytes"] / 1e3,
                "public key, once": numbers["key_bytes"] / 1e3,
            },
            series="encrypted",
            note=f"In the clear, float32: {4 * width / 1e3:.2g} kB up, "
            f"{4 * classes / 1e3:.2g} kB down.",
        ),
    ]


run = compute.run

if __name__ == "__main__":
    compute.main()
