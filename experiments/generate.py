r"""Text that one model's blocks read and another's head writes.

    python -m experiments.generate --workdir=runs/generate --source=DIR_OR_ID \
      --target=DIR_OR_ID --map=FOLDER_OR_METHOD --prompt="Once upon a time"

--map is the folder of a map between token states (`experiments.fit_tokens`), or how to
fit one on the fit split of --data: ridge, kl or mlp. Without --target the source writes
by itself. Without --prompt the first --prompt_words words of texts of the test split of
--data are continued. WORKDIR/samples.jsonl has one line a prompt: prompt, text, why it
ended, how often the source's tokens had to be taken back, and what both models alone
and the controls (maps of shuffled pairs, a random rotation) write to it.

| measure                                    | of                                      |
|--------------------------------------------|-----------------------------------------|
| generation/agreement_top1, kl_nats,        | the mapped head on held-out text,       |
| perplexity_mapped, .. (where it is fitted) | teacher-forced, beside native models    |
| generation/cosine_source, cosine_target,   | texts against what the models alone     |
| repetition, distinct_2, words              | write; needs --encoder                  |
| generation/tokens_per_second               | target tokens, all rows together        |

Controls have their names as suffix.
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.shared.about import (
    BRACKETS,
    LEAST_DOCUMENTS,
    about,
    about_tokens,
    short_model,
)
from experiments.shared.options import workdir_option
from experiments.shared.sides import open_corpus
from experiments.shared.token_maps import (
    CONTROLS,
    arm_cells,
    check_cuts,
    fit_and_score,
    read_controls,
    read_scores,
)
from experiments.shared.token_sides import (
    METHODS,
    MODEL,
    TokenMapOptions,
    load_token_sides,
    sample_texts,
)
from helix_jax import assets
from helix_jax.artefacts import holds_artefact
from helix_jax.atomic import append_lines
from helix_jax.errors import RunError
from helix_jax.generation import Sampling
from helix_jax.generation.arms import Writer, alone, arms_of
from helix_jax.generation.stitch_files import load_stitch
from helix_jax.generation.text_metrics import text_scores
from helix_jax.models import load_model, load_tokenizer
from helix_jax.progress import bar, stage
from helix_jax.reports import Block, Samples, Table
from helix_jax.runs import Run, log_metrics, option, truncate_metrics
from helix_jax.runs.experiment import Report, Specs, experiment
from helix_jax.runs.workdir import write_atomically
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus
from helix_jax.textfile import read_jsonl

SHOWN = 8  # prompts in a report
TITLES = {  # of texts: in a line of samples.jsonl -> in a report
    "prompt": "prompt",
    "text": "mapped",
    "native_source": "source alone",
    "native_target": "target alone",
    "shuffled": "control: shuffled map",
}
MEASURES = {  # name -> title, scale, digits
    "perplexity_mapped": ("perplexity", 1, 1),
    "kl_nats": ("KL, nats", 1, 3),
    "agreement_top1": ("top-1 agreement, %", 100, 1),
    "cosine_source": ("cosine to source", 1, 3),
    "cosine_target": ("cosine to target", 1, 3),
    "repetition": ("repetition", 1, 3),
}


@dataclasses.dataclass(frozen=True)
class GenerateConfig(TokenMapOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option("work directory; texts are in WORKDIR/samples.jsonl")
    target: str = option(
        "",
        f"{MODEL}; empty: the source writes by itself",
        names="model",
        tiny="pebble-qwen3",
    )
    map: str = option("ridge", "ridge, kl or mlp, or the folder of a map", names="path")
    prompt: str = option("", "one prompt; empty: those of --data")
    prompts: int = option(100, "how many texts of --data are continued", least=1)
    prompt_words: int = option(12, "words of each text that make its prompt", least=1)
    chat: bool = option(False, "prompts are a user's turn in the chat templates")
    max_new_tokens: int = option(128, "of each text", least=1)
    rows: int = option(16, "prompts that are continued at a time", least=1)
    temperature: float = option(0.0, "0: greedy", least=0)
    top_k: int = option(0, "0: all", least=0)
    top_p: float = option(1.0, "1: all", above=0, most=1)
    repetition_penalty: float = option(1.0, "1: none", above=0)
    stop_strings: tuple[str, ...] = option(
        (), "end a text where one appears", verbatim=True
    )
    encoder: str = option(
        "", "sentence encoder for cosines; empty: the installed one", names="model"
    )
    resamples: int = option(1000, "bootstrap resamples of prompts", least=1)
    tiny: bool = option(False, "8,000 token pairs, 4 prompts, 16 tokens")


def check(config: GenerateConfig, specs: Specs) -> None:
    """Refuse a --map that is neither a method nor a folder, or that nothing reads.

    Raises:
      RunError: says which.
    """
    if config.map not in METHODS and not (Path(config.map) / "config.json").is_file():
        raise RunError(
            f"--map={config.map} must be {', '.join(METHODS)}, or the folder of a map "
            "(with config.json, as experiments.fit_tokens writes to WORKDIR/map)."
        )
    if config.target:
        check_cuts(config, specs)
    elif config.map != "ridge":
        raise RunError(
            f"--map={config.map} is given and --target is not: a map goes to another "
            "model; name it, or leave --map out to let the source write by itself."
        )


@experiment(
    tiny={
        "pairs": 8000,
        "select_pairs": 2000,
        "max_tokens": 64,
        "epochs": 1,
        "hidden": 32,
        "batch": 64,
        "prompts": 4,
        "max_new_tokens": 16,
        "rows": 2,
    },
    check=check,
)
def compute(config: GenerateConfig, run: Run) -> Report:
    """Continue every prompt; see the module docstring."""
    fits = bool(config.target) and config.map in METHODS
    corpus = open_corpus(config) if fits or not config.prompt else None
    sides = load_token_sides(config)
    source, target = map(alone, *sides)
    writers = {"text": source}
    if config.target:
        folder = run.folder / "map" if fits else Path(config.map)
        if fits and not holds_artefact(folder):
            fit_and_score(run.folder, sides, corpus, config)
        parts = load_stitch(folder, *sides.models)
        writers = arms_of(parts, source, target, read_controls(run.folder))
    samples = write_samples(writers, choose_prompts(config, corpus), config, run)
    numbers = speed_numbers(samples, run) | read_scores(run.folder)
    encoder = config.encoder or assets.installed_encoder()
    if encoder and config.target and len(samples) > 1:
        numbers |= compare_texts(samples, encoder, resamples=config.resamples)
    print(f"{len(samples)} texts: {run.folder / 'samples.jsonl'}", flush=True)
    said = (
        about_tokens(config, numbers, _count(samples))
        if config.target
        else about(f"{short_model(config.source)} alone", "", _count(samples))
    )
    return Report(numbers, text_blocks(samples, numbers), said)


def choose_prompts(
    config: GenerateConfig, corpus: Corpus | None
) -> list[tuple[str, str]]:
    """(id, prompt) of each text to continue."""
    if config.prompt:
        return [("prompt", config.prompt)]
    texts = sample_texts(corpus, "test", 100 * config.prompts, max_tokens=100)
    prompts = [
        (text.id, " ".join(text.text.split()[: config.prompt_words])) for text in texts
    ]
    return [(name, prompt) for name, prompt in prompts if prompt][: config.prompts]


def write_samples(
    writers: Mapping[str, Writer],
    prompts: list[tuple[str, str]],
    config: GenerateConfig,
    run: Run,
) -> list[dict[str, Any]]:
    """The lines of samples.jsonl, written batch by batch where they are missing."""
    path = run.folder / "samples.jsonl"
    key = jax.random.key(config.seed)
    settings = {
        "max_new_tokens": config.max_new_tokens,
        "sampling": Sampling(
            config.temperature, config.top_k, config.top_p, config.repetition_penalty
        ),
        "chat": config.chat,
        "stop_strings": config.stop_strings,
    }
    batches = range(resume_samples(run, config.rows), len(prompts), config.rows)
    for first in bar(batches, "batches of prompts continued"):
        batch = prompts[first : first + config.rows]
        texts = [text for _, text in batch]
        if config.chat:
            texts = [[{"role": "user", "content": text}] for text in texts]
        settings["key"] = jax.random.fold_in(key, first)
        begun = time.perf_counter()
        mapped = writers["text"].write(texts, **settings)
        seconds = time.perf_counter() - begun
        lines = [
            {"id": name, "prompt": text, **generated._asdict()}
            for (name, text), generated in zip(batch, mapped)
        ]
        for arm, writer in list(writers.items())[1:]:
            for line, generated in zip(lines, writer.write(texts, **settings)):
                line[arm] = generated.text
        steps = sum(generated.steps for generated in mapped)
        log_metrics(
            run, first, {"generation/tokens": steps, "generation/seconds": seconds}
        )
        # Last: metrics without samples are dropped.
        append_lines(path, map(json.dumps, lines), raises=RunError)
    return _records(path)


def resume_samples(run: Run, rows: int) -> int:
    """How many prompts are done, in whole batches; drops what was half written."""
    path = run.folder / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    done = len(whole) // rows * rows
    write_atomically(path, "".join(whole[:done]))
    truncate_metrics(run, done - 1)
    return done


def speed_numbers(samples: list[dict[str, Any]], run: Run) -> dict[str, float]:
    """Numbers of the writing itself, from the files of the whole run."""
    metrics = _records(run.folder / "metrics.jsonl")
    seconds = sum(batch["generation/seconds"] for batch in metrics)
    steps = sum(sample["steps"] for sample in samples)
    repairs = sum(sample["repairs"] for sample in samples)
    stopped = sum(sample["reason"].startswith("stop") for sample in samples)
    return {
        "generation/prompts": len(samples),
        "generation/written_tokens": steps,
        "generation/tokens_per_second": steps / seconds,
        "generation/repairs_per_token": repairs / steps,
        "generation/stopped_fraction": stopped / len(samples),
    }


def compare_texts(
    samples: list[dict[str, Any]], encoder: str, *, resamples: int
) -> dict[str, float | Interval]:
    """Every arm's texts against both native ones; see `text_scores`.

    Args:
      samples: lines of samples.jsonl with all arms.
      encoder: folder or hub id of a sentence encoder.
      resamples: of the bootstrap.
    """
    with stage("loading the sentence encoder"):
        model, tokenizer = load_model(encoder), load_tokenizer(encoder)
    names = {"text": "mapped"} | {
        name: name for name in ("native_source", "native_target", *CONTROLS)
    }
    arms = {
        arm: [sample[name] for sample in samples]
        for name, arm in names.items()
        if name in samples[0]
    }
    with stage("comparing the arms' texts"):
        return text_scores(
            arms, encoder=model, encoder_tokenizer=tokenizer, resamples=resamples
        )


def text_blocks(
    samples: list[dict[str, Any]], numbers: Mapping[str, float | Interval]
) -> list[Block]:
    """A table of what was measured of each arm, if anything was; the first samples."""
    items = [
        {title: sample[name] for name, title in TITLES.items() if name in sample}
        for sample in samples[:SHOWN]
    ]
    suffixes = {"mapped": ""}
    suffixes |= {f"control: {arm}": f"_{arm}" for arm in CONTROLS if arm in samples[0]}
    suffixes |= {f"native {side}": f"_native_{side}" for side in ("target", "source")}
    rows = [
        [title, *arm_cells(numbers, suffix, MEASURES)]
        for title, suffix in suffixes.items()
    ]
    rows = [row for row in rows if any(row[1:])]
    if not rows:
        return [Samples("Texts", items)]
    header = ["map", *(title for title, _, _ in MEASURES.values())]
    held = [place for place, column in enumerate(zip(*rows)) if any(column)]
    header, *rows = ([row[place] for place in held] for row in (header, *rows))
    note = (
        "Perplexity, KL and agreement are teacher-forced on held-out text, cosines "
        "those of a sentence encoder between what both write to the same prompts. "
        f"{BRACKETS} Of cosines and repetition over prompts."
    )
    table = Table("Text by the mapped head", header, rows, note=note)
    return [table, Samples("Texts", items)]


def _count(samples: list[dict[str, Any]]) -> str:
    count = len(samples)
    few = " (WARNING: too few for intervals over prompts to say much)"
    said = f"{count:,} prompts" if count > 1 else "1 prompt"
    return said + (few if count < LEAST_DOCUMENTS else "")


def _records(path: Path) -> list[dict[str, Any]]:
    return [record for _, record in read_jsonl(path, raises=RunError)]


run = compute.run

if __name__ == "__main__":
    compute.main()
