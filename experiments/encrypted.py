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
from typing import NamedTuple

import numpy as np

from experiments.encrypted_blocks import result_blocks
from experiments.shared.about import about, short_data, show, show_saved, sides_of
from experiments.shared.conversation import WARMUPS, Conversation, check_policies
from experiments.shared.maps import choose_map, pair_moments
from experiments.shared.method_maps import with_ends
from experiments.shared.options import PlantedOptions, require_both_sides, seed_option
from experiments.shared.sides import open_corpus
from experiments.shared.task import open_task
from helix_jax.alignment import apply_map
from helix_jax.ood import energy_score
from helix_jax.private import Client, Provider
from helix_jax.private.packing import MAX_CLASSES, MAX_WIDTH
from helix_jax.private.profiles import PROFILES
from helix_jax.progress import bar, stage
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.stats import bootstrap_interval

SPLITS = ("test", "select", "fit")


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


class Queries(NamedTuple):
    """What came of a series of queries.

    Attributes:
      logits: [N, C] as decrypted.
      seconds: stage -> [N], without the first ones, which compile.
      query_bytes, answer_bytes, key_bytes: of one message.
    """

    logits: np.ndarray
    seconds: dict[str, list[float]]
    query_bytes: int
    answer_bytes: int
    key_bytes: int


def run(config: EncryptedConfig) -> dict[str, float]:
    """Ask, time, compare; see the module docstring."""
    small = {"queries": 8, "width": 64, "limit": 600, "max_tokens": 64}
    config = prepare_config(config, tiny=small)
    require_both_sides(config)
    check_policies("policy", config.policy)
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    problem = real_problem(config) if config.source else made_problem(config)
    summary = _measure(problem, config)
    blocks = result_blocks(summary, config.profile, config.policy)
    show(directory, blocks, _about(config, summary))
    return finish_run(directory, summary)


def _about(config: EncryptedConfig, summary: dict[str, float]) -> str:
    queries = f"{summary['encrypted/queries']:,} queries"
    if not config.source:
        return about("made-up embeddings and weights", "", queries)
    tested = f"{summary['data/test_texts']:,} test texts among the queries"
    documents = summary["data/test_documents"]
    return about(
        sides_of(config),
        short_data(config.data),
        queries,
        f"{tested} (of {documents:,} documents)",
        documents=documents,
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
    chosen = choose_map({split: pair_moments(pair) for split, pair in pairs.items()})
    affine = chosen.fit.map
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


def ask(client: Client, provider: Provider, x: np.ndarray) -> Queries:
    """Send every row through the encrypted layer, and time each stage."""
    talk = Conversation(client, provider)
    with stage("first queries, which compile"):
        for row in x[:WARMUPS]:
            talk.ask(row)
    talk.forget_times()
    logits = [talk.ask(row) for row in bar(x, "queries")]
    return Queries(
        np.stack(logits),
        talk.seconds,
        talk.query_bytes,
        talk.answer_bytes,
        talk.key_bytes,
    )


def _measure(problem: Problem, config: EncryptedConfig) -> dict[str, float]:
    x = problem.x
    with stage("encoding the layer"):
        provider = Provider(
            problem.kernel,
            problem.bias,
            profile=config.profile,
            policy=config.policy,
            minimise=config.minimise,
            input_norm=float(np.linalg.norm(x, axis=1).max()),
        )
    found = ask(Client(config.profile), provider, x)
    plain = x @ problem.kernel + problem.bias
    same = found.logits.argmax(1) == plain.argmax(1)
    summary = {}
    for name, values in found.seconds.items():
        middle = np.quantile(values, [0.5, 0.025, 0.975])
        summary |= with_ends(f"encrypted/{name}_seconds", middle)
    summary["encrypted/online_seconds"] = sum(
        summary[f"encrypted/{name}_seconds"]
        for name in ("client_encrypt", "provider", "client_decrypt")
    )
    energies = [np.asarray(energy_score(one)) for one in (found.logits, plain)]
    summary |= {
        "encrypted/query_bytes": found.query_bytes,
        "encrypted/answer_bytes": found.answer_bytes,
        "encrypted/key_bytes": found.key_bytes,
        "encrypted/queries": len(x),
        "encrypted/width": x.shape[1],
        "encrypted/classes": plain.shape[1],
        "encrypted/largest_logit": float(np.abs(plain).max()),
        "encrypted/argmax_agreement": float(same.mean()),
    }
    if config.policy != "order":  # whose numbers have another scale
        summary |= {
            "encrypted/max_error": float(np.abs(found.logits - plain).max()),
            "encrypted/stated_error": provider.layer.error,
            "encrypted/max_energy_error": float(
                np.abs(energies[0] - energies[1]).max()
            ),
        }
    tested = len(problem.labels)
    summary |= {
        "data/test_texts": tested,
        "data/test_documents": len(set(problem.documents)),
    }
    if len(set(problem.documents)) > 1:  # of one there is no interval
        for name, logits in (("", found.logits), ("plain_", plain)):
            right = logits[:tested].argmax(1) == problem.labels
            interval = bootstrap_interval(right, problem.documents)
            summary |= with_ends(f"encrypted/{name}accuracy", interval)
    return summary


if __name__ == "__main__":
    start_program(EncryptedConfig, run)
