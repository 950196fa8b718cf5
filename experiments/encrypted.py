r"""The encrypted linear layer: its time, bytes and error, beside the plain layer.

    python -m experiments.encrypted --workdir=runs/encrypted --profile=guarded \
      --width=768 --classes=5 --queries=200
    python -m experiments.encrypted --workdir=runs/trec_encrypted \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

A client encrypts embeddings, a provider answers with the logits of its classifier, both
in this process, bytes between them. Without models the embeddings and weights are
Gaussian, logits of order 10. With them the provider holds the target's probe and the
client the source's states, which it maps to the target's space by a ridge map; queries
are the texts of the test split, and of the others where --queries asks for more.

Two cores, width 768, 5 classes: a query in about 2 milliseconds, 57 kB up, 21 kB down.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.conversation import WARMUPS, Conversation
from experiments.fit import choose_map, pair_moments
from experiments.states import (
    PairOptions,
    open_corpus,
    pair_splits,
)
from experiments.tasks import make_task
from helix_jax.alignment import apply_map
from helix_jax.errors import RunError
from helix_jax.ood import energy_score
from helix_jax.private import Client, Provider
from helix_jax.reports import markdown_table
from helix_jax.runs import finish_run, is_done, open_run, option, read_summary
from helix_jax.runs.program import start_program
from helix_jax.text.corpus import require_labels

SPLITS = ("test", "select", "fit")


@dataclasses.dataclass(frozen=True)
class EncryptedConfig(PairOptions):
    """Flags of the experiment."""

    profile: str = option("guarded", "guarded, open, swift or compact")
    policy: str = option("logits", "of the answers: logits, rounded:BITS or order")
    minimise: str = option("time", "what the tiling is for: time or traffic")
    width: int = option(768, "of made-up embeddings")
    classes: int = option(5, "of a made-up classifier")
    queries: int = option(200, "how many; 0: all texts of the test split")
    seed: int = option(0, "of made-up embeddings and weights")
    tiny: bool = option(False, "8 queries of width 64; 600 texts, 64 tokens at most")


class Problem(NamedTuple):
    """A classifier and the embeddings that it is asked about.

    Attributes:
      kernel: [D, C] the provider's.
      bias: [C] the provider's.
      x: [N, D] float64, the client's.
      labels: [N] int, or None.
    """

    kernel: np.ndarray
    bias: np.ndarray
    x: np.ndarray
    labels: np.ndarray | None


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
    if config.tiny:
        config = dataclasses.replace(
            config, queries=8, width=64, limit=600, max_tokens=64
        )
    if not config.workdir or bool(config.source) != bool(config.target):
        raise RunError("encrypted: --workdir, and --source with --target or neither.")
    directory = open_run(config.workdir, config)
    if is_done(directory):
        summary = read_summary(directory)
    else:
        problem = real_problem(config) if config.source else made_problem(config)
        summary = finish_run(directory, _measure(problem, config))
    print(markdown_table(["", "value"], [[k, v] for k, v in summary.items()]))
    return summary


def made_problem(config: EncryptedConfig) -> Problem:
    """Gaussian embeddings and weights, logits of order 10."""
    generator = np.random.default_rng(config.seed)
    kernel = generator.standard_normal((config.width, config.classes))
    return Problem(
        10 * kernel / np.sqrt(config.width),
        generator.standard_normal(config.classes),
        generator.standard_normal((config.queries or 200, config.width)),
        None,
    )


def real_problem(config: EncryptedConfig) -> Problem:
    """The target's probe and the source's mapped states."""
    corpus = open_corpus(config)
    classes = require_labels(corpus)
    pairs = pair_splits(config, corpus, SPLITS)
    task = make_task(pairs, classes)
    chosen = choose_map({split: pair_moments(pair) for split, pair in pairs.items()})
    affine = chosen.fit.map
    x = np.concatenate([np.asarray(apply_map(affine, task.x[s])) for s in SPLITS])
    labels = np.concatenate([task.labels[split] for split in SPLITS])
    count = config.queries or len(task.x["test"])
    probe = task.target_probe
    return Problem(
        np.asarray(probe.kernel, np.float64),
        np.asarray(probe.bias, np.float64),
        x[:count].astype(np.float64),
        labels[:count],
    )


def ask(client: Client, provider: Provider, x: np.ndarray) -> Queries:
    """Send every row through the encrypted layer, and time each stage."""
    talk = Conversation(client, provider)
    for row in x[:WARMUPS]:
        talk.ask(row)
    talk.forget_times()
    logits = [talk.ask(row) for row in tqdm(x, desc="queries", leave=False)]
    return Queries(
        np.stack(logits), talk.seconds, talk.query_bytes, talk.answer_bytes,
        talk.key_bytes,
    )  # fmt: skip


def _measure(problem: Problem, config: EncryptedConfig) -> dict[str, float]:
    x = problem.x
    provider = Provider(
        problem.kernel, problem.bias, profile=config.profile, policy=config.policy,
        minimise=config.minimise, input_norm=float(np.linalg.norm(x, axis=1).max()),
    )  # fmt: skip
    found = ask(Client(config.profile), provider, x)
    plain = x @ problem.kernel + problem.bias
    same = found.logits.argmax(1) == plain.argmax(1)
    summary = {
        f"encrypted/{name}_seconds": float(np.median(values))
        for name, values in found.seconds.items()
    }
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
    if problem.labels is not None:
        for name, logits in (("", found.logits), ("plain_", plain)):
            right = logits.argmax(1) == problem.labels
            summary[f"encrypted/{name}accuracy"] = float(right.mean())
    return summary


if __name__ == "__main__":
    start_program(EncryptedConfig, run)
