r"""The whole pipeline on the embedded models: offline, from checkpoints to a report.

    make demo            (or: python -m experiments.demo --workdir=runs/demo)

Three small language models that were trained independently (different families, seeds
and text; two share a tokenizer) read docstrings of the installed Python packages. For
every ordered pair: how alike their states are, the ridge map between them, and the
accuracy of the target's classifier (which package is a docstring from?) on the source's
states, with its controls. For one pair, text by the source's blocks and the target's
head. For the first pair, if Pyfhel is installed, classification under encryption: two
parties fit the map, and the classifier is queried with ciphertexts; then the same
between two processes, a provider's service and its client, over TLS. Writes
WORKDIR/report.html (one file) and WORKDIR/report.md with plots.

At the start it says how long it takes, and at every step what it does.

Cost: two cores, about five minutes.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.shared.about import BRACKETS
from helix_jax import assets
from helix_jax.reports import (
    Answer,
    Block,
    Matrix,
    Quantity,
    Section,
    Table,
    load_blocks,
    with_about,
    write_markdown,
    write_page,
)
from helix_jax.runs import Experiment, Report, Run, experiment, option

if __name__ != "__main__":  # slow, and flags are read without
    from experiments import encrypted, generate, pairs, private_fit, query, similarity
    from experiments.shared.local_service import local_service

TITLE = "One affine map between independently trained language models"
OF_MODELS = "perplexity of held-out text"
FACTS = {  # what the numbers were measured on
    "data/classes": "classes",
    "data/fit_texts": "texts to fit on",
    "data/select_texts": "texts to choose the penalty on",
    "data/test_texts": "texts to test on",
}
STEPS = {  # name -> what is done, and how many seconds it took on two cores
    "similarity": (
        "how alike the states of three models are; they read the texts",
        107,
    ),
    "pairs": ("a map and a classifier for the ordered pairs of models", 65),
    "encrypted": ("the classifier queried with ciphertexts", 10),
    "private_fit": ("the map fitted by two parties that show no rows", 26),
    "query": ("the same between two processes, over TLS", 22),
    "generate": ("text by one model's blocks and another's head", 98),
}
ENCRYPTED = ("encrypted", "private_fit", "query")
COSTS = {  # names of numbers, in one cell -> how each is shown
    ("private_fit/plain_test_accuracy",): Quantity(
        "map fitted in the clear, accuracy, %", 100, 1
    ),
    ("private_fit/test_accuracy",): Quantity(
        "map fitted under encryption, accuracy, %", 100, 1
    ),
    ("private_fit/map_error",): Quantity("relative error of the encrypted map"),
    ("private_fit/client_seconds", "private_fit/provider_seconds"): Quantity(
        "fit: client, provider, s", 1, ".1f"
    ),
    ("private_fit/upload_bytes", "private_fit/download_bytes"): Quantity(
        "fit: up, down, MB", 1e-6, ".1f"
    ),
    ("encrypted/online_seconds",): Quantity(
        "one encrypted query, online, ms", 1e3, ".1f"
    ),
    ("encrypted/query_bytes", "encrypted/answer_bytes"): Quantity(
        "query, answer, kB", 1e-3, ".0f"
    ),
    ("encrypted/max_error",): Quantity("largest error of a logit"),
    ("query/fit_seconds",): Quantity("fit between two processes, TLS, s", 1, ".1f"),
    ("query/query_seconds",): Quantity("query between two processes, TLS, ms", 1e3, 1),
    ("query/accuracy",): Quantity("accuracy between two processes, %", 100, 1),
}


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Flags of the experiment."""

    workdir: str = option("runs/demo", "work directory", names="workdir", required=True)
    data: str = option(
        "docstrings", "a labelled corpus", names="corpora", required=True
    )
    limit: int = option(5000, "texts of the corpus", least=1)
    max_tokens: int = option(128, "tokens of a text", least=2)
    tiny: bool = option(False, "500 texts and one pair")


@experiment(tiny={"limit": 500, "max_tokens": 64})
def compute(config: DemoConfig, run: Run) -> Report:
    """Compare, map, classify, report; see the module docstring."""
    began = time.perf_counter()
    place = run.folder
    encrypts = importlib.util.find_spec("Pyfhel") is not None
    steps = [name for name in STEPS if encrypts or name not in ENCRYPTED]
    print(start_line(steps, tiny=config.tiny), flush=True)
    shared = {
        "data": config.data,
        "limit": config.limit,
        "max_tokens": config.max_tokens,
        "stores": str(place / "stores"),
    }
    models = tuple(str(assets.model_path(name)) for name in assets.NAMES)

    def begin(name: str) -> None:
        print(
            f"\n[{steps.index(name) + 1} of {len(steps)}] {STEPS[name][0]}", flush=True
        )

    def part(program: Experiment, name: str, **flags: Any) -> dict[str, float]:
        begin(name)
        workdir = str(place / name)
        return program.run(program.config(shared, workdir=workdir, **flags))

    measures = ("linear_cka", "unbiased_cka")
    alike = part(similarity.compute, "similarity", models=models, measures=measures)
    begin("pairs")
    results = pairs.run_pairs(
        pairs.compute.config(
            shared,
            workdir=str(place),
            models=models,
            resamples=100 if config.tiny else 1000,
            seeds=1,
            max_pairs=int(config.tiny),
        )
    )
    first = next(iter(results))
    hidden = {}
    if encrypts:
        source, target = (str(assets.model_path(name)) for name in first)
        sides = {"source": source, "target": target}
        hidden = part(encrypted.compute, "encrypted", queries=100, **sides)
        rank = 16 if config.tiny else 0
        hidden |= part(private_fit.compute, "private_fit", rank=rank, **sides)
        serve = (
            f"--heads=demo={place / '-to-'.join(first) / 'target_probe'}",
            f"--rows=demo={place}/stores/{first[1]}-*-fit-*",
        )
        with local_service(place / "service", serve) as where:
            asked = 20 if config.tiny else 100
            own = {"source": source, "rank": rank, "queries": asked}
            hidden |= part(query.compute, "query", **own, **where)
    written = part(
        generate.compute,
        "generate",
        source=str(assets.model_path("pebble-llama")),
        target=str(assets.model_path("pebble-qwen3")),
        map="kl",
        limit=0,
        pairs=5000 if config.tiny else 60_000,
        epochs=1,
        select_pairs=2000 if config.tiny else 8000,
        test_pairs=2000 if config.tiny else 20_000,
        prompts=2 if config.tiny else 16,
        max_new_tokens=8 if config.tiny else 32,
    )
    numbers = {**alike, **hidden, **pairs.pair_numbers(results), **written}
    told = pairs.about_pairs(config.data, results)
    blocks = with_about(model_blocks(alike) + pairs.result_blocks(results), told)
    blocks += load_blocks(place / "generate")
    blocks += with_about([hidden_table(first, hidden)], told)
    numbers["demo/seconds"] = time.perf_counter() - began
    facts = {"corpus": f"{config.data}, split by document"} | {
        title: results[first][name] for name, title in FACTS.items()
    }
    answer = Answer(pairs.pairs_answer(results), told)
    sections = [Section("The embedded models", facts, blocks, *answer)]
    pages = {"report.html": write_page, "report.md": write_markdown}
    return Report(
        numbers,
        blocks,
        files={
            name: partial(write, title=TITLE, sections=sections)
            for name, write in pages.items()
        },
        answer=answer,
    )


def start_line(steps: Sequence[str], *, tiny: bool) -> str:
    """How many steps there are, and how long they take."""
    if tiny:
        return f"The demo, tiny: {len(steps)} steps."
    minutes = sum(STEPS[name][1] for name in steps) / 60
    return f"The demo: {len(steps)} steps, about {minutes:.0f} minutes on two cores."


def model_blocks(alike: Mapping[str, float]) -> list[Block]:
    """The models, and how alike they are."""
    names = assets.NAMES
    cka = np.eye(len(names))
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        cka[i, j] = cka[j, i] = alike[f"similarity/{a}/{b}/unbiased_cka"]
    return [
        Table(
            "The models",
            [*("model", "family", "parameters"), OF_MODELS, "a trigram's"],
            [assets.describe(name) for name in names],
            note="Perplexity of documents held out of what the models were trained on "
            "(docstrings, film reviews, novels, stories, Wikipedia), per token of each "
            "one's own tokenizer: not to be compared with that of docstrings below. "
            "Next to it, that of a Kneser-Ney trigram on the same tokens.",
        ),
        Matrix("Unbiased linear CKA of last states", "CKA", names, names, cka.tolist()),
    ]


def hidden_table(pair: tuple[str, str], numbers: Mapping[str, float]) -> Table:
    """The part of the report on encryption."""
    title = f"Under encryption, {pair[0]} -> {pair[1]}"
    header = ["measure", "value"]
    if not numbers:
        note = "Pyfhel is not installed (make crypto), so nothing ran encrypted."
        return Table(title, header, [], note=note)

    rows = []
    for names, shown in COSTS.items():
        cells = [shown.cell(numbers, name) for name in names]
        rows.append([shown.title, cells[0] if len(cells) == 1 else ", ".join(cells)])
    same, asked = numbers["encrypted/argmax_agreement"], numbers["encrypted/queries"]
    rows.append(["same answer as in the clear", f"{same:.1%} of {asked:.0f}"])
    note = (
        "One party holds the source's states, the other the target's and its "
        "classifier; neither shows them (profile guarded, docs/private.md). The map's "
        "penalty is chosen by generalised cross-validation here, which needs no "
        f"further texts. {BRACKETS}"
    )
    return Table(title, header, rows, note=note)


run = compute.run

if __name__ == "__main__":
    compute.main()
