r"""How well does a client search a provider's index through a map, under encryption?

    python -m experiments.private_search --workdir=runs/private_search \
      --source=CLIENTS_MODEL --target=PROVIDERS_MODEL --data=NAME_FILE_OR_FOLDER
    python -m experiments.private_search --workdir=runs/million --rows=1000000

The provider's index holds its own model's embeddings of the fit and select texts. The
client asks with the test texts: its own model embeds one, the map, fitted on the fit
texts and chosen on the select ones, brings it to the provider's space, and the index is
scored under encryption. Recall at K is the share of the K rows that the provider's own
model finds in the clear for the same text; where texts have classes, also the share of
hits of the query's class.

| arm               | queries                  | scores                              |
|-------------------|--------------------------|-------------------------------------|
| native            | provider's model         | clear: what recall is counted by    |
| own               | client's model           | clear, an index of the client's own |
| mapped            | client's model, mapped   | clear                               |
| native, POLICY    | provider's model         | encrypted                           |
| mapped, POLICY    | client's model, mapped   | encrypted                           |
| shuffled, POLICY  | map of shuffled pairs    | encrypted: control                  |

Without models rows are synthetic: normal rows about centres of a few hundred rows each,
with a spectrum that falls like that of sentence encoders; then there is no map. An
index in clusters (--index=clusters, or from 200,001 rows on) hides its choice among
--decoys; the report says how often a provider that knows the choices of half of the
queries guesses those of the others, compared with chance.

Cost: two cores, once embedded: 100,000 x 384 0.6 s a search, 7.2 MB; a million in
clusters 1.1 s, 9.2 MB (docs/search.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.shared.about import BRACKETS, about_planted
from experiments.shared.answers import RECALL
from experiments.shared.options import (
    TINY_TEXTS,
    PlantedOptions,
    resamples_option,
    seed_option,
)
from experiments.shared.policies import check_policies
from helix_jax.private.packing import MAX_WIDTH
from helix_jax.private.search.limits import MAX_DECOYS, MAX_PROBES, MAX_ROWS
from helix_jax.private.search.planted import planted_index
from helix_jax.progress import stage
from helix_jax.reports import Quantity, Table, cross_table
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS, document_of

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import (
        load_sides,
        open_corpus,
        paired_states,
        with_stores,
    )
    from helix_jax.alignment import apply_map
    from helix_jax.private import Client
    from helix_jax.private.search import (
        SearchClient,
        SearchIndex,
        SearchProvider,
        open_index,
        save_index,
    )
    from helix_jax.private.search.guesses import guess_choices
    from helix_jax.private.search.index import unit
    from helix_jax.private.search.rehearsal import Costs, Rehearsed, rehearse_search
    from helix_jax.stats import bootstrap_interval
    from helix_jax.transfer.pair_fit import fit_pairs

LAYOUTS = {"auto": None, "scored": False, "clusters": True}
QUANTITIES = {
    "seconds": Quantity("a search, s", 1, 3),
    "cpu_seconds": Quantity("processor time of both, s", 1, 3),
    "provider_seconds": Quantity("of the provider, s", 1, 3),
    "sent_bytes": Quantity("up, MB", 1e-6, 2),
    "received_bytes": Quantity("down, MB", 1e-6, 2),
    "parts": Quantity("layers asked", 1, 0),
}


@dataclasses.dataclass(frozen=True)
class SearchConfig(PlantedOptions):
    """Flags of the experiment."""

    policies: tuple[str, ...] = option(
        ("rounded:12", "rounded:10", "rounded:8", "rounded:6"),
        "answer policies of the scores",
        required=True,
    )
    k: int = option(10, "hits of a search", least=1)
    queries: int = option(200, "how many; 0: all texts of the test split", least=0)
    index: str = option("auto", "layout of rows", choices=tuple(LAYOUTS))
    block_rows: int = option(512, "most rows of a cluster", least=1, most=MAX_WIDTH)
    probes: int = option(16, "clusters of a query", least=1, most=MAX_PROBES)
    decoys: int = option(9, "other sets of clusters", least=0, most=MAX_DECOYS)
    rows: int = option(100_000, "rows of a synthetic index", least=2, most=MAX_ROWS)
    width: int = option(384, "width of a synthetic index", least=1, most=MAX_WIDTH)
    memory: int = option(8, "GB for transformed weights", least=0)
    resamples: int = resamples_option()
    seed: int = seed_option("of synthetic data, clusters and controls")
    tiny: bool = option(False, "600 texts, or rows; 64 tokens at most; 8 queries")


class Problem(NamedTuple):
    """An index's rows, and queries by what embeds them.

    Attributes:
      rows: [N, d] of the provider's model.
      queries: arm -> [Q, d] in the provider's space, "native" first.
      own: rows and queries of the client's model; None for synthetic ones.
      labels: of rows and of queries; None: the texts have none.
      documents: [Q] of the queries.
    """

    rows: np.ndarray
    queries: Mapping[str, np.ndarray]
    own: tuple[np.ndarray, np.ndarray] | None
    labels: tuple[np.ndarray, np.ndarray] | None
    documents: list[str]


def check(config: SearchConfig, _: Specs) -> None:
    """Refuse unknown policies."""
    check_policies("policies", *config.policies)


@experiment(
    tiny=TINY_TEXTS | {"queries": 8, "rows": 600, "width": 32, "block_rows": 64},
    check=check,
)
def compute(config: SearchConfig, run: Run) -> Report:
    """Index, ask, compare; see the module docstring."""
    problem = real_problem(config) if config.source else made_problem(config)
    index = make_index(config, problem.rows, run.folder / "index")
    clear = {
        name: index.layout.order[nearest(index.vectors, queries, config.k)]
        for name, queries in problem.queries.items()
        if name != "shuffled"
    }
    if problem.own is not None:
        clear["own"] = nearest(unit(problem.own[0]), problem.own[1], config.k)
    numbers = {}
    for name, rows in clear.items():
        numbers |= scores_of(name, rows, clear["native"], problem, config)
    costs, client = {}, Client()
    for policy in config.policies:
        provider = SearchProvider(
            index,
            policy=policy,
            decoys=config.decoys,
            weights_bytes=config.memory * 10**9,
        )
        provider.register(client.public_bundle())
        with stage(f"weights of {policy}"):
            provider.prepare()
        for name, queries in problem.queries.items():
            if name == "shuffled" and policy != config.policies[0]:
                continue
            search = SearchClient(client, provider.about)
            found = rehearse_search(search, provider, queries, config.k)
            arm = f"{name}_{policy.replace(':', '_')}"
            rows = np.where(found.rows < 0, -1, index.layout.order[found.rows])
            numbers |= scores_of(arm, rows, clear["native"], problem, config)
            costs[arm] = found.costs
            if (found.chosen >= 0).all() and policy == config.policies[0]:
                numbers |= guessed(search, found, config, problem.documents, name)
        bits = provider.spent(f"key {client.key.hex()}")[0]
        asked = sum(len(problem.queries[name]) for name in problem.queries)
        numbers[f"bits/{policy.replace(':', '_')}"] = bits / asked
    for arm, spent in costs.items():
        numbers |= {f"cost/{arm}_{name}": value for name, value in cost_of(spent)}
    numbers["data/test_documents"] = len(set(problem.documents))
    numbers |= {"search/rows": len(problem.rows), "search/width": problem.rows.shape[1]}
    told = about_planted(
        config,
        f"{len(problem.rows):,} synthetic rows of width {problem.rows.shape[1]}",
        f"{len(problem.documents):,} queries",
        documents=numbers["data/test_documents"],
    )
    blocks, answer = blocks_of(numbers, costs, config), search_answer(numbers, config)
    return Report(numbers, blocks, told, answer=answer)


def search_answer(numbers: Mapping[str, float | Interval], config: SearchConfig) -> str:
    """What the first policy and its control find, and the time of a search."""
    policy = config.policies[0].replace(":", "_")
    arms = {
        "mapped": "through the map",
        "native": "for queries of the provider's model",
        "shuffled": "through a map of shuffled pairs",
    }
    found = [
        f"{RECALL.told(numbers, name)} {words}"
        for arm, words in arms.items()
        if (name := f"recall/{arm}_{policy}") in numbers
    ]
    arm = "mapped" if config.source else "native"
    seconds = QUANTITIES["seconds"].told(numbers, f"cost/{arm}_{policy}_seconds")
    return (
        f"Recall@{config.k} under encryption ({config.policies[0]}): "
        f"{', '.join(found)}; a search takes {seconds}."
    )


def made_problem(config: SearchConfig) -> Problem:
    """Rows about centres, and queries of the same distribution."""
    count = config.queries or 200
    rows, queries = planted_index(
        rows=config.rows, queries=count, width=config.width, seed=config.seed
    )
    documents = [str(i) for i in range(count)]
    return Problem(rows, {"native": queries}, None, None, documents)


def real_problem(config: SearchConfig) -> Problem:
    """The target's rows, and the source's queries through a map and a control."""
    corpus = open_corpus(config)
    sides, options = load_sides(config), with_stores(config)
    pairs = {split: paired_states(*sides, corpus, split, options) for split in SPLITS}
    fitted = fit_pairs(pairs)
    count = config.queries or len(pairs["test"].ids)
    asked, native = (rows[:count] for rows in pairs["test"].read())
    x, y = (
        np.concatenate(parts)
        for parts in zip(*(pairs[split].read() for split in ("fit", "select")))
    )
    queries = {
        "native": native,
        "mapped": np.asarray(apply_map(fitted.map, asked)),
        "shuffled": np.asarray(
            apply_map(fitted.controls(config.seed)["shuffled"], asked)
        ),
    }
    labels = None
    if pairs["fit"].y.labels is not None:
        of = {split: np.asarray(pairs[split].y.labels) for split in SPLITS}
        labels = np.concatenate([of["fit"], of["select"]]), of["test"][:count]
    documents = [document_of(one) for one in pairs["test"].ids[:count]]
    return Problem(y, queries, (x, asked), labels, documents)


def make_index(config: SearchConfig, rows: np.ndarray, folder: Path) -> SearchIndex:
    """The folder of an index without texts, opened."""
    save_index(
        folder,
        rows,
        model={"rows": len(rows)},
        clusters=LAYOUTS[config.index],
        block_rows=config.block_rows,
        probes=config.probes,
        seed=config.seed,
    )
    return open_index(folder)


def nearest(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """[Q, k] the nearest of unit rows [N, d] to queries [Q, d], by cosine."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    found = np.zeros((len(queries), k), np.int64)
    asked = unit(queries)
    for start in range(0, len(rows), 65_536):
        scores = asked @ np.asarray(rows[start : start + 65_536]).T
        both = np.concatenate([best, scores], axis=1)
        numbers = np.broadcast_to(np.arange(scores.shape[1]) + start, scores.shape)
        numbers = np.concatenate([found, numbers], axis=1)
        top = np.argsort(-both, axis=1, kind="stable")[:, :k]
        best, found = (np.take_along_axis(one, top, axis=1) for one in (both, numbers))
    return found


def scores_of(
    arm: str,
    rows: np.ndarray,
    native: np.ndarray,
    problem: Problem,
    config: SearchConfig,
) -> dict[str, Interval]:
    """Recall of hits [Q, k] by the native ones, and how many are of the class."""
    settings = {"resamples": config.resamples}
    hits = (rows[:, :, None] == native[:, None]).any(axis=1).mean(axis=1)
    numbers = {f"recall/{arm}": bootstrap_interval(hits, problem.documents, **settings)}
    if problem.labels is not None:
        of_rows, of_queries = problem.labels
        same = ((of_rows[rows] == of_queries[:, None]) & (rows >= 0)).mean(axis=1)
        numbers[f"same_class/{arm}"] = bootstrap_interval(
            same, problem.documents, **settings
        )
    return numbers


def guessed(
    search: SearchClient,
    found: Rehearsed,
    config: SearchConfig,
    documents: list[str],
    name: str,
) -> dict[str, float | Interval]:
    """How often a provider that knows half of the choices guesses the others."""
    right = guess_choices(search, found.chosen)
    half = documents[-len(right) :]
    return {
        f"guess/{name}": bootstrap_interval(right, half, resamples=config.resamples),
        "guess/chance": 1 / (config.decoys + 1),
    }


def cost_of(costs: list[Costs]) -> list[tuple[str, float | Interval]]:
    """Medians with the middle 95% of the searches; bytes' means."""
    spent = {
        name: np.array([getattr(c, name) for c in costs]) for name in Costs._fields
    }
    spent["seconds"] = spent.pop("client_seconds") + spent["provider_seconds"]
    return [
        (
            name,
            Interval(*np.quantile(spent[name], [0.5, 0.025, 0.975]))
            if name.endswith("seconds")
            else float(spent[name].mean()),
        )
        for name in QUANTITIES
    ]


def blocks_of(
    numbers: Mapping[str, float | Interval],
    costs: Mapping[str, list[Costs]],
    config: SearchConfig,
) -> list[Table]:
    """Recall of every arm, the cost of a search, and what its clusters tell."""
    arms = {
        name.removeprefix("recall/"): name.removeprefix("recall/").replace("_", " ")
        for name in numbers
        if name.startswith("recall/")
    }
    columns = {"recall": Quantity(f"recall@{config.k}, %", 100, 1)}
    if any(name.startswith("same_class/") for name in numbers):
        columns["same_class"] = Quantity("hits of the query's class, %", 100, 1)
    blocks = [
        cross_table(
            f"Hits among the {config.k} of the provider's own model",
            "queries, policy",
            arms,
            columns,
            lambda arm, column: numbers[f"{column}/{arm}"],
            note=BRACKETS,
        ),
        cross_table(
            "Cost of a search",
            "queries, policy",
            {arm: arms[arm] for arm in costs},
            QUANTITIES,
            lambda arm, column: numbers[f"cost/{arm}_{column}"],
            note="Seconds: median [2.5th to 97.5th percentile of the queries].",
        ),
    ]
    guesses = {
        name: name.removeprefix("guess/") for name in numbers if "guess/" in name
    }
    if guesses:
        blocks.append(
            cross_table(
                "The provider's guess of the intended clusters",
                "queries",
                guesses,
                {"": Quantity("right, %", 100, 1)},
                lambda name, _: numbers[name],
                note="It knows what half of the queries chose, and the rule of decoys.",
            )
        )
    return blocks


run = compute.run

if __name__ == "__main__":
    compute.main()
