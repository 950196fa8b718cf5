r"""How well does a client search a provider's index through a map, under encryption?

    python -m experiments.private_search --workdir=runs/private_search \
      --source=CLIENTS_MODEL --target=PROVIDERS_MODEL --data=NAME_FILE_OR_FOLDER
    python -m experiments.private_search --workdir=runs/million --rows=1000000

The provider's index holds its own model's embeddings of the fit and select texts. The
client queries with the test texts: its own model embeds a text, the map (fitted on the
fit texts and chosen on the select ones) takes it to the provider's space, and the index
is scored under encryption. Recall at K is the share of the K rows that the provider's
own model finds in the clear for the same text; if texts have classes, the share of hits
in the query's class is reported too.

| arm               | queries                  | scores                              |
|-------------------|--------------------------|-------------------------------------|
| native            | provider's model         | clear: the reference for recall     |
| own               | client's model           | clear, an index of the client's own |
| mapped            | client's model, mapped   | clear                               |
| native, POLICY    | provider's model         | encrypted                           |
| mapped, POLICY    | client's model, mapped   | encrypted                           |
| shuffled, POLICY  | map of shuffled pairs    | encrypted: control                  |

Without models, there is no map and rows are synthetic: normal around centres of a few
hundred rows each, with a spectrum that falls like that of sentence encoders. If the
index has clusters (--index=clusters, or from 200,001 rows on), a query hides its choice
among --decoys; the report says how often a provider that knows the choices of half of
the queries guesses those of the others, compared with chance.

Cost: two cores, once embedded: 100,000 x 384 0.6 s a search, 7.2 MB; a million in
clusters 1.1 s, 9.2 MB (docs/search.md).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from experiments.shared.about import about_planted
from experiments.shared.options import (
    TINY_TEXTS,
    PlantedOptions,
    resamples_option,
    seed_option,
)
from experiments.shared.policies import check_policies
from experiments.shared.search_blocks import blocks_of, cost_of, search_answer
from helix_jax.private.packing import MAX_WIDTH
from helix_jax.private.search.limits import MAX_DECOYS, MAX_PROBES, MAX_ROWS
from helix_jax.progress import stage
from helix_jax.runs import Report, Run, Specs, experiment, option
from helix_jax.stats import Interval

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.search_problem import (
        SearchProblem,
        planted_problem,
        real_problem,
    )
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
    from helix_jax.private.search.rehearsal import Rehearsed, rehearse_search
    from helix_jax.stats import bootstrap_interval

LAYOUTS = {"auto": None, "scored": False, "clusters": True}


@dataclasses.dataclass(frozen=True)
class SearchConfig(PlantedOptions):
    """Flags of the experiment."""

    policies: tuple[str, ...] = option(
        ("rounded:12", "rounded:10", "rounded:8", "rounded:6"),
        "answer policies of the scores",
        required=True,
    )
    k: int = option(10, "hits of a search", least=1)
    queries: int = option(
        200, "number of queries; 0: all texts of the test split", least=0
    )
    index: str = option("auto", "layout of rows", choices=tuple(LAYOUTS))
    block_rows: int = option(512, "most rows of a cluster", least=1, most=MAX_WIDTH)
    probes: int = option(16, "clusters per query", least=1, most=MAX_PROBES)
    decoys: int = option(
        9, "sets of clusters that hide the query's own", least=0, most=MAX_DECOYS
    )
    rows: int = option(100_000, "rows of a synthetic index", least=2, most=MAX_ROWS)
    width: int = option(384, "width of a synthetic index", least=1, most=MAX_WIDTH)
    memory: int = option(8, "GB for transformed weights", least=0)
    resamples: int = resamples_option()
    seed: int = seed_option("of synthetic data, clusters and controls")
    tiny: bool = option(False, "600 texts, or rows; 64 tokens at most; 8 queries")


def check(config: SearchConfig, _: Specs) -> None:
    """Refuse unknown policies."""
    check_policies("policies", *config.policies)


@experiment(
    tiny=TINY_TEXTS | {"queries": 8, "rows": 600, "width": 32, "block_rows": 64},
    check=check,
    needs=("Pyfhel",),
)
def compute(config: SearchConfig, run: Run) -> Report:
    """Index, ask, compare; see the module docstring."""
    problem = open_problem(config)
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
    blocks = blocks_of(numbers, costs, k=config.k)
    answer = search_answer(
        numbers, k=config.k, first=config.policies[0], planted=not config.source
    )
    return Report(numbers, blocks, told, answer=answer)


def open_problem(config: SearchConfig) -> SearchProblem:
    """The states of both sides; without sides, synthetic rows."""
    if config.source:
        return real_problem(config, count=config.queries, seed=config.seed)
    return planted_problem(
        rows=config.rows,
        width=config.width,
        count=config.queries or 200,
        seed=config.seed,
    )


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
    problem: SearchProblem,
    config: SearchConfig,
) -> dict[str, Interval]:
    """Recall of hits [Q, k] against the native ones, and the share in the class."""
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


run = compute.run

if __name__ == "__main__":
    compute.main()
