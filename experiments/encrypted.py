r"""The encrypted linear layer: its time, bytes and error, beside the plain layer.

    python -m experiments.encrypted --workdir=runs/encrypted --profile=guarded \
      --width=768 --classes=5 --queries=200
    python -m experiments.encrypted --workdir=runs/trec_encrypted \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

A client encrypts embeddings, a provider answers with the logits of its classifier, both
in this process, bytes between them. Without models the embeddings and weights are
Gaussian, logits of order 10. With them the provider holds the target's probe and the
client the source's states, which it maps to the target's space by a ridge map; queries
are the texts of the test split, and of the others where --queries asks for more;
accuracy is that on the test split.

Seconds are medians over queries, with the middle 95% of them.

Cost: two cores, width 768, 5 classes: a query in 2 milliseconds, 57 kB up, 21 kB down.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.shared.about import BRACKETS, about, short_data, sides_of
from experiments.shared.options import PlantedOptions, seed_option
from experiments.shared.policies import check_policies
from experiments.shared.sides import open_corpus
from experiments.shared.task import open_task
from helix_jax.alignment import apply_map
from helix_jax.ood import energy_score
from helix_jax.private import Client, Provider
from helix_jax.private.packing import MAX_CLASSES, MAX_WIDTH
from helix_jax.private.profiles import PROFILES
from helix_jax.private.rehearsal import STAGES, Conversation
from helix_jax.progress import stage
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval
from helix_jax.runs import Run, option
from helix_jax.runs.experiment import Report, Specs, experiment
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.transfer.pair_fit import fit_pairs

SPLITS = ("test", "select", "fit")
SPREAD = "median [2.5th to 97.5th percentile of the queries]"
MESSAGES = {  # number -> words in the table, words in the figure
    "query_bytes": ("query", "query"),
    "answer_bytes": ("answer", "answer"),
    "key_bytes": ("public key, sent once", "public key, once"),
}
SHARES = {  # number -> words, what it is
    "argmax_agreement": ("same answer as in the clear, %", "share of queries"),
    "accuracy": ("accuracy under encryption, %", BRACKETS.rstrip(".")),
    "plain_accuracy": ("accuracy in the clear, %", BRACKETS.rstrip(".")),
}
ERRORS = {  # number -> words, what it is
    "max_error": ("largest error of a logit", "of all queries"),
    "stated_error": ("its stated bound", "of the layer"),
    "largest_logit": ("largest logit", "of all queries"),
    "max_energy_error": ("largest error of the energy score", "of all queries"),
}

Numbers = dict[str, float | Interval]


@dataclasses.dataclass(frozen=True)
class EncryptedConfig(PlantedOptions):
    """Flags of the experiment."""

    profile: str = option("guarded", "of the parameters", choices=tuple(PROFILES))
    policy: str = option("logits", "of the answers: logits, rounded:BITS or order")
    minimise: str = option(
        "time", "what the tiling is for", choices=("time", "traffic")
    )
    width: int = option(768, "of made-up embeddings", least=1, most=MAX_WIDTH)
    classes: int = option(5, "of a made-up classifier", least=1, most=MAX_CLASSES)
    queries: int = option(200, "how many; 0: all texts of the test split", least=0)
    seed: int = seed_option("of made-up embeddings and weights")
    tiny: bool = option(False, "8 queries of width 64; 600 texts, 64 tokens at most")


class Problem(NamedTuple):
    """A classifier and the embeddings that it is asked about.

    Attributes:
      kernel: [D, C] the provider's.
      bias: [C] the provider's.
      x: [N, D] float64, the client's.
      labels: [T] int of the first rows, those of the test split; none of made ones.
      documents: [T] document of each of them.
    """

    kernel: np.ndarray
    bias: np.ndarray
    x: np.ndarray
    labels: np.ndarray
    documents: list[str]


def check(config: EncryptedConfig, _: Specs) -> None:
    """Refuse a policy that is none."""
    check_policies("policy", config.policy)


@experiment(
    tiny={"queries": 8, "width": 64, "limit": 600, "max_tokens": 64}, check=check
)
def compute(config: EncryptedConfig, _: Run) -> Report:
    """Ask, time, compare; see the module docstring."""
    problem = real_problem(config) if config.source else made_problem(config)
    with stage("encoding the layer"):
        provider = Provider(
            problem.kernel,
            problem.bias,
            profile=config.profile,
            policy=config.policy,
            minimise=config.minimise,
            input_norm=float(np.linalg.norm(problem.x, axis=1).max()),
        )
    conversation = Conversation(Client(config.profile), provider)
    logits = conversation.ask_all(problem.x)
    plain = problem.x @ problem.kernel + problem.bias
    numbers = cost_numbers(conversation) | {
        "queries": len(problem.x),
        "width": problem.x.shape[1],
        "classes": plain.shape[1],
        "largest_logit": np.abs(plain).max(),
        "argmax_agreement": np.mean(logits.argmax(1) == plain.argmax(1)),
    }
    if config.policy != "order":  # whose numbers have another scale
        energies = [np.asarray(energy_score(some)) for some in (logits, plain)]
        numbers |= {
            "max_error": np.abs(logits - plain).max(),
            "stated_error": provider.layer.error,
            "max_energy_error": np.abs(energies[0] - energies[1]).max(),
        }
    documents = len(set(problem.documents))
    if documents > 1:  # of one there is no interval
        for name, some in (("accuracy", logits), ("plain_accuracy", plain)):
            right = some[: len(problem.labels)].argmax(1) == problem.labels
            numbers[name] = bootstrap_interval(right, problem.documents)
    counts = {"test_texts": len(problem.labels), "test_documents": documents}
    return Report(
        {f"encrypted/{name}": value for name, value in numbers.items()}
        | {f"data/{name}": value for name, value in counts.items()},
        result_blocks(numbers, f"Profile {config.profile}, policy {config.policy}."),
        _about(config, len(problem.x), **counts),
    )


def _about(
    config: EncryptedConfig, queries: int, test_texts: int, test_documents: int
) -> str:
    asked = f"{queries:,} queries"
    if not config.source:
        return about("made-up embeddings and weights", "", asked)
    return about(
        sides_of(config),
        short_data(config.data),
        asked,
        f"{test_texts:,} test texts among the queries (of {test_documents:,} "
        "documents)",
        documents=test_documents,
    )


def made_problem(config: EncryptedConfig) -> Problem:
    """Gaussian embeddings and weights, logits of order 10."""
    generator = np.random.default_rng(config.seed)
    kernel = generator.standard_normal((config.width, config.classes))
    return Problem(
        10 * kernel / np.sqrt(config.width),
        generator.standard_normal(config.classes),
        generator.standard_normal((config.queries or 200, config.width)),
        np.empty(0, int),
        [],
    )


def real_problem(config: EncryptedConfig) -> Problem:
    """The target's probe and the source's mapped states."""
    opened = open_task(config, open_corpus(config, labelled=True))
    task, pairs = opened.task, opened.pairs
    affine = fit_pairs(pairs).map
    x = np.concatenate([np.asarray(apply_map(affine, task.x[s])) for s in SPLITS])
    count = config.queries or len(task.x["test"])
    probe = task.target_probe
    return Problem(
        np.asarray(probe.kernel, np.float64),
        np.asarray(probe.bias, np.float64),
        x[:count].astype(np.float64),
        task.labels["test"][:count],
        task.documents[:count],
    )


def cost_numbers(conversation: Conversation) -> Numbers:
    """Seconds of each stage, median and middle 95%, and bytes of each message."""
    seconds = {
        name: Interval(*np.quantile(values, [0.5, 0.025, 0.975]))
        for name, values in conversation.seconds.items()
    }
    online = sum(spent.value for name, spent in seconds.items() if name != "prepare")
    return {
        **{f"{name}_seconds": spent for name, spent in seconds.items()},
        "online_seconds": online,
        "query_bytes": conversation.query_bytes,
        "answer_bytes": conversation.answer_bytes,
        "key_bytes": conversation.key_bytes,
    }


def result_rows(numbers: Mapping[str, float | Interval]) -> list[list[object]]:
    """Rows of the table; what a bracket is stands in its row."""
    intervals = {
        "online_seconds": ("client and provider together, ms", 1e3, "sum of medians"),
        **{f"{k}_seconds": (f"{said}, ms", 1e3, SPREAD) for k, said in STAGES.items()},
        **{
            k: (f"{said}, kB", 1e-3, "one message") for k, (said, _) in MESSAGES.items()
        },
        **{name: (said, 100, what) for name, (said, what) in SHARES.items()},
    }
    return [
        [said, format_interval(numbers, name, scale=scale), what]
        for name, (said, scale, what) in intervals.items()
        if name in numbers
    ] + [
        [said, f"{numbers[name]:.2g}", what]
        for name, (said, what) in ERRORS.items()
        if name in numbers
    ]


def result_blocks(numbers: Mapping[str, float | Interval], note: str) -> list[Block]:
    """The table, the time of each stage, and the bytes of a query both ways."""
    width, classes = numbers["width"], numbers["classes"]
    seconds = [read_interval(numbers, f"{name}_seconds", scale=1e3) for name in STAGES]
    return [
        Table(
            f"Encrypted layer, width {width}, {classes} classes",
            ["measure", "value", "what it is"],
            result_rows(numbers),
            note=note,
        ),
        Bars(
            "Time of one query",
            "milliseconds",
            list(STAGES.values()),
            {"median": seconds},
            note=f"{note} Lines: {SPREAD}.",
        ),
        Bars(
            "Bytes of one query",
            "kB",
            [said for _, said in MESSAGES.values()],
            {"encrypted": [[numbers[name] / 1e3] * 3 for name in MESSAGES]},
            note=f"In the clear, float32: {4 * width / 1e3:.2g} kB up, "
            f"{4 * classes / 1e3:.2g} kB down.",
        ),
    ]


run = compute.run

if __name__ == "__main__":
    compute.main()
