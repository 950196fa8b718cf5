r"""The main job on the embedded default: offline, from checkpoints to a report.

    make demo            (or: python -m experiments.demo --workdir=runs/demo)

Three small language models that were trained apart (other families, seeds and text; two
share a tokenizer) read docstrings of the installed Python packages. For every ordered
pair: how alike their states are, the ridge map between them, and the accuracy of the
target's classifier (which package is a docstring from?) on the source's states,
beside its controls. For the first pair, where Pyfhel is installed, the same under
encryption: the map fitted between two parties, the classifier asked on ciphertexts.
Writes WORKDIR/report.html (one file) and WORKDIR/report.md with plots.

Two cores: about two minutes.
"""

import dataclasses
import importlib.util
import itertools
import time

import numpy as np

from experiments import classify, encrypted, private_fit, similarity
from helix_jax import assets
from helix_jax.errors import RunError
from helix_jax.reports import (
    Bars,
    Block,
    Matrix,
    Section,
    Table,
    format_interval,
    save_blocks,
    write_markdown,
    write_page,
)
from helix_jax.runs import (
    finish_run,
    is_done,
    open_run,
    option,
    read_summary,
)
from helix_jax.runs.program import start_program

TITLE = "One affine map between independently trained language models"
SHOWN = ("target", "mapped", "source", "shuffled", "random", "majority")


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Flags of the experiment."""

    workdir: str = option("runs/demo", "work directory")
    data: str = option("docstrings", "a labelled corpus")
    limit: int = option(5000, "texts of the corpus")
    max_tokens: int = option(128, "tokens of a text")
    tiny: bool = option(False, "500 texts and one pair")


def run(config: DemoConfig) -> dict[str, float]:
    """Compare, map, classify, report; see the module docstring."""
    if config.tiny:
        config = dataclasses.replace(config, limit=500, max_tokens=64)
    if not config.workdir:
        raise RunError("demo: --workdir is required.")
    directory = open_run(config.workdir, config)
    report = directory.folder / "report.md"
    if is_done(directory):
        summary = read_summary(directory)
        print(f"{report.read_text()}\nreport: {report.with_suffix('.html')}")
        return summary
    began = time.perf_counter()
    names = assets.NAMES
    shared = {
        "data": config.data,
        "limit": config.limit,
        "max_tokens": config.max_tokens,
        "stores": str(directory.folder / "stores"),
    }
    alike = similarity.run(
        similarity.SimilarityConfig(
            workdir=str(directory.folder / "similarity"),
            models=tuple(str(assets.model_path(name)) for name in names),
            **shared,
        )
    )
    pairs = list(itertools.permutations(names, 2))[: 1 if config.tiny else None]
    results = {}
    for source, target in pairs:
        results[source, target] = classify.run(
            classify.ClassifyConfig(
                workdir=str(directory.folder / f"{source}-to-{target}"),
                source=str(assets.model_path(source)),
                target=str(assets.model_path(target)),
                resamples=1000,
                seeds=1,
                **shared,
            )
        )
    hidden = {}
    if importlib.util.find_spec("Pyfhel"):
        source, target = pairs[0]
        flags = shared | {
            "source": str(assets.model_path(source)),
            "target": str(assets.model_path(target)),
        }
        place = str(directory.folder / "encrypted")
        hidden = encrypted.run(
            encrypted.EncryptedConfig(workdir=place, queries=100, **flags)
        )
        place = str(directory.folder / "private_fit")
        hidden = hidden | private_fit.run(
            private_fit.PrivateFitConfig(
                workdir=place, rank=64 if config.tiny else 0, **flags
            )
        )
    summary = dict(alike) | hidden
    for (source, target), numbers in results.items():
        summary |= {f"{source}/{target}/{k}": v for k, v in numbers.items()}
    blocks = accuracy_blocks(alike, results) + hidden_blocks(pairs[0], hidden)
    save_blocks(directory.folder, blocks)
    facts = _facts(config, next(iter(results.values())))
    sections = [Section("The embedded models", facts, blocks)]
    write_page(directory.folder / "report.html", TITLE, sections)
    write_markdown(report, TITLE, sections)
    summary["demo/seconds"] = time.perf_counter() - began
    print(f"\n{report.read_text()}\nreport: {report.with_suffix('.html')}")
    return finish_run(directory, summary)


def accuracy_blocks(alike, results) -> list[Block]:
    """The models, how alike they are, and every pair's accuracy with its controls."""
    names = assets.NAMES
    cka = np.eye(len(names))
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        cka[i, j] = cka[j, i] = alike[f"similarity/{a}/{b}/unbiased_cka"]
    rows = [
        [
            f"{source} to {target}",
            one["similarity/linear_cka"],
            one["fit/r2"],
            *(format_interval(one, f"test/{arm}_accuracy") for arm in SHOWN),
        ]
        for (source, target), one in results.items()
    ]
    return [
        Table(
            "The models",
            ["model", "family", "parameters", "perplexity", "trigram"],
            [assets.describe(name) for name in names],
            note="Perplexity is on held-out documents, per token of each model's own "
            "tokenizer, beside a Kneser-Ney trigram trained on the same tokens.",
        ),
        Table(
            "Accuracy of the target's classifier, % [95% interval over documents]",
            ["pair", "CKA", "map R2", *SHOWN],
            rows,
            note="target: the classifier on its own model's states, the ceiling of a "
            "map; mapped: on the source's states after the affine map, the result; "
            "source: a classifier trained on the source's own states; shuffled, "
            "random, majority: controls that know nothing of the pairing.",
        ),
        Bars(
            "Accuracy of the target's classifier, with controls",
            "accuracy, %",
            [f"{source}\nto {target}" for source, target in results],
            {
                classify.ARMS[arm]: [_bar(one, arm) for one in results.values()]
                for arm in SHOWN
            },
        ),
        Matrix("Unbiased linear CKA of last states", "CKA", names, names, cka.tolist()),
    ]


def hidden_blocks(pair: tuple[str, str], numbers: dict[str, float]) -> list[Block]:
    """The part of the report on encryption."""
    title = f"Under encryption, {pair[0]} to {pair[1]}"
    if not numbers:
        note = "Pyfhel is not installed (make crypto), so nothing ran encrypted."
        return [Table(title, ["", "value"], [], note=note)]
    value = {name.split("/")[1]: number for name, number in numbers.items()}
    online = 1e3 * value["online_seconds"]
    plain, private = (
        format_interval(numbers, f"private_fit/{name}test_accuracy")
        for name in ("plain_", "")
    )
    rows = [
        ["map fitted in the clear, accuracy", plain],
        ["map fitted under encryption, accuracy", private],
        ["relative error of the encrypted map", value["map_error"]],
        ["fit: client, provider, s",
         f"{value['client_seconds']:.1f}, {value['provider_seconds']:.1f}"],
        ["fit: up, down, MB", f"{value['upload_bytes'] / 1e6:.1f}, "
         f"{value['download_bytes'] / 1e6:.1f}"],
        ["one encrypted query, online, ms", f"{online:.1f}"],
        ["query, answer, kB", f"{value['query_bytes'] / 1e3:.0f}, "
         f"{value['answer_bytes'] / 1e3:.0f}"],
        ["largest error of a logit", value["max_error"]],
        ["same answer as in the clear", f"{value['argmax_agreement']:.1%} of "
         f"{value['queries']:.0f}"],
    ]  # fmt: skip
    note = (
        "One party holds the source's states, the other the target's and its "
        "classifier; neither shows them (profile guarded, docs/private.md). The map's "
        "penalty is chosen by generalised cross-validation here, which needs no "
        "further texts."
    )
    return [Table(title, ["", "value"], rows, note=note)]


def _facts(config: DemoConfig, first: dict[str, float]) -> dict[str, object]:
    """What the numbers were measured on."""
    return {
        "corpus": f"{config.data}, split by document",
        "classes": first["data/classes"],
        "texts to fit on": first["data/fit_texts"],
        "texts to choose the penalty on": first["data/select_texts"],
        "texts to test on": first["data/test_texts"],
    }


def _bar(summary: dict[str, float], arm: str) -> tuple[float, float, float]:
    """Accuracy of an arm and its interval, in percent."""
    return tuple(
        100 * summary[f"test/{arm}_accuracy{end}"] for end in ("", "_low", "_high")
    )


if __name__ == "__main__":
    start_program(DemoConfig, run)
