r"""The main job on the embedded default: offline, from checkpoints to a report.

    make demo            (or: python -m experiments.demo --workdir=runs/demo)

Three small language models that were trained apart (other families, seeds and text; two
share a tokenizer) read docstrings of the installed Python packages. For every ordered
pair: how alike their states are, the ridge map between them, and the accuracy of the
target's classifier (which package is a docstring from?) on the source's states,
beside its controls. For one pair, text by the source's blocks and the target's head.
For the first pair, where Pyfhel is installed, the classification under encryption: the
map fitted between two parties, the classifier asked on ciphertexts.
Writes WORKDIR/report.html (one file) and WORKDIR/report.md with plots.

Cost: two cores, about four minutes.
"""

import dataclasses
import importlib.util
import itertools
import time
from pathlib import Path

import numpy as np

from experiments import encrypted, generate, pairs, private_fit, similarity
from experiments.shared.about import BRACKETS
from helix_jax import assets
from helix_jax.reports import (
    Block,
    Matrix,
    Section,
    Table,
    format_interval,
    load_blocks,
    save_blocks,
    write_markdown,
    write_page,
)
from helix_jax.reports.terminal import with_about
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

TITLE = "One affine map between independently trained language models"


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


def run(config: DemoConfig) -> dict[str, float]:
    """Compare, map, classify, report; see the module docstring."""
    config = prepare_config(config, tiny={"limit": 500, "max_tokens": 64})
    check_inputs(config)
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
            measures=("linear_cka", "unbiased_cka"),
            **shared,
        )
    )
    results = pairs.run_pairs(
        pairs.PairsConfig(
            workdir=str(directory.folder),
            models=tuple(str(assets.model_path(name)) for name in names),
            resamples=1000,
            seeds=1,
            max_pairs=int(config.tiny),
            **shared,
        )
    )
    first = next(iter(results))
    hidden = {}
    if importlib.util.find_spec("Pyfhel"):
        source, target = first
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
    written = generate.GenerateConfig(
        workdir=str(directory.folder / "generate"),
        source=str(assets.model_path("pebble-llama")),
        target=str(assets.model_path("pebble-qwen3")),
        data=config.data,
        map="kl",
        max_tokens=config.max_tokens,
        pairs=5000 if config.tiny else 60_000,
        epochs=1,
        select_pairs=2000 if config.tiny else 8000,
        test_pairs=2000 if config.tiny else 20_000,
        prompts=2 if config.tiny else 16,
        max_new_tokens=32,
    )
    spoken = generate.run(written)
    summary = dict(alike) | hidden | pairs.flatten(results) | spoken
    told = pairs.about_pairs(config, results)
    blocks = with_about(model_blocks(alike) + pairs.result_blocks(results), told)
    blocks += load_blocks(Path(written.workdir))
    blocks += with_about(hidden_blocks(first, hidden), told)
    save_blocks(directory.folder, blocks)
    facts = _facts(config, results[first])
    sections = [Section("The embedded models", facts, blocks)]
    write_page(directory.folder / "report.html", TITLE, sections)
    write_markdown(report, TITLE, sections)
    summary["demo/seconds"] = time.perf_counter() - began
    print(f"\n{report.read_text()}\nreport: {report.with_suffix('.html')}")
    return finish_run(directory, summary)


def model_blocks(alike: dict[str, float]) -> list[Block]:
    """The models, and how alike they are."""
    names = assets.NAMES
    cka = np.eye(len(names))
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        cka[i, j] = cka[j, i] = alike[f"similarity/{a}/{b}/unbiased_cka"]
    return [
        Table(
            "The models",
            ["model", "family", "parameters", "perplexity", "trigram"],
            [assets.describe(name) for name in names],
            note="Perplexity is on held-out documents, per token of each model's own "
            "tokenizer, beside a Kneser-Ney trigram trained on the same tokens.",
        ),
        Matrix("Unbiased linear CKA of last states", "CKA", names, names, cka.tolist()),
    ]


def hidden_blocks(pair: tuple[str, str], numbers: dict[str, float]) -> list[Block]:
    """The part of the report on encryption."""
    title = f"Under encryption, {pair[0]} -> {pair[1]}"
    if not numbers:
        note = "Pyfhel is not installed (make crypto), so nothing ran encrypted."
        return [Table(title, ["measure", "value"], [], note=note)]
    value = {name.split("/")[1]: number for name, number in numbers.items()}
    online = 1e3 * value["online_seconds"]
    plain, private = (
        format_interval(numbers, f"private_fit/{name}test_accuracy")
        for name in ("plain_", "")
    )
    rows = [
        ["map fitted in the clear, accuracy, %", plain],
        ["map fitted under encryption, accuracy, %", private],
        ["relative error of the encrypted map", value["map_error"]],
        [
            "fit: client, provider, s",
            f"{value['client_seconds']:.1f}, {value['provider_seconds']:.1f}",
        ],
        [
            "fit: up, down, MB",
            f"{value['upload_bytes'] / 1e6:.1f}, {value['download_bytes'] / 1e6:.1f}",
        ],
        ["one encrypted query, online, ms", f"{online:.1f}"],
        [
            "query, answer, kB",
            f"{value['query_bytes'] / 1e3:.0f}, {value['answer_bytes'] / 1e3:.0f}",
        ],
        ["largest error of a logit", value["max_error"]],
        [
            "same answer as in the clear",
            f"{value['argmax_agreement']:.1%} of {value['queries']:.0f}",
        ],
    ]
    note = (
        "One party holds the source's states, the other the target's and its "
        "classifier; neither shows them (profile guarded, docs/private.md). The map's "
        "penalty is chosen by generalised cross-validation here, which needs no "
        f"further texts. {BRACKETS}"
    )
    return [Table(title, ["measure", "value"], rows, note=note)]


def _facts(config: DemoConfig, first: dict[str, float]) -> dict[str, object]:
    """What the numbers were measured on."""
    return {
        "corpus": f"{config.data}, split by document",
        "classes": first["data/classes"],
        "texts to fit on": first["data/fit_texts"],
        "texts to choose the penalty on": first["data/select_texts"],
        "texts to test on": first["data/test_texts"],
    }


if __name__ == "__main__":
    start_program(DemoConfig, run)
