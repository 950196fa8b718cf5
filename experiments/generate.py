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
from pathlib import Path
from typing import Any

import jax

from experiments.shared.about import (
    LEAST_DOCUMENTS,
    about,
    about_tokens,
    short_model,
    show,
    show_saved,
)
from experiments.shared.options import workdir_option
from experiments.shared.sides import open_corpus
from experiments.shared.token_maps import check_cuts
from experiments.shared.token_sides import (
    METHODS,
    MODEL,
    TokenMapOptions,
    TokenSides,
    load_token_sides,
    sample_texts,
)
from experiments.shared.written import (
    SHOWN,
    arms_of,
    compare_texts,
    fit_and_score,
    installed_encoder,
    read_controls,
    read_scores,
    result_blocks,
)
from helix_jax.alignment import load_map
from helix_jax.artefacts import holds_artefact
from helix_jax.atomic import append_lines
from helix_jax.errors import RunError
from helix_jax.fingerprint import check_same
from helix_jax.generation import (
    Sampling,
    Stitch,
    declared_stops,
    generate,
    native,
    stitch,
)
from helix_jax.models import Model
from helix_jax.progress import bar
from helix_jax.runs import (
    Run,
    finish_run,
    is_done,
    log_metrics,
    open_run,
    option,
    prepare_config,
    read_summary,
    truncate_metrics,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.runs.workdir import write_atomically
from helix_jax.text.corpus import Corpus
from helix_jax.textfile import parse_json, read_lines


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


def run(config: GenerateConfig) -> dict[str, float]:
    """Continue every prompt; see the module docstring."""
    config = prepare_config(
        config,
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
    )
    alone = not config.target
    check_map(config)
    specs = check_inputs(config)
    if not alone:
        check_cuts(config, specs[config.target])
    sampling = Sampling(
        config.temperature, config.top_k, config.top_p, config.repetition_penalty
    )
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        show_samples(directory, read_samples(directory))
        return read_summary(directory)
    fits = not alone and config.map in METHODS
    corpus = open_corpus(config) if fits or not config.prompt else None
    sides = load_token_sides(
        dataclasses.replace(config, target=config.target or config.source)
    )
    parts = (
        native(sides.source) if alone else stitched(sides, corpus, config, directory)
    )
    arms = arms_of(parts, sides, read_controls(directory.folder))
    prompts = choose_prompts(config, corpus)
    start = resume_samples(directory, config.rows)
    key = jax.random.key(config.seed)
    settings = {
        "max_new_tokens": config.max_new_tokens,
        "sampling": sampling,
        "chat": config.chat,
        "stop_strings": config.stop_strings,
        "stop_tokens": declared_stops(sides.target.folder),
    }
    batches = range(start, len(prompts), config.rows)
    for first in bar(batches, "batches of prompts continued"):
        chosen = prompts[first : first + config.rows]
        texts = [text for _, text in chosen]
        if config.chat:
            texts = [[{"role": "user", "content": text}] for text in texts]
        settings["key"] = jax.random.fold_in(key, first)
        begun = time.perf_counter()
        found = generate(*arms["text"], texts, **settings)
        seconds = time.perf_counter() - begun
        lines = [
            {"id": name, "prompt": text, **one._asdict()}
            for (name, text), one in zip(chosen, found)
        ]
        for arm, who in list(arms.items())[1:]:
            if arm == "native_source":  # its own vocabulary, its own stops
                own = {"stop_tokens": declared_stops(sides.source.folder)}
            else:
                own = {}
            for line, one in zip(lines, generate(*who, texts, **{**settings, **own})):
                line[arm] = one.text
        steps = sum(one.steps for one in found)
        log_metrics(
            directory,
            first,
            {"generation/tokens": steps, "generation/seconds": seconds},
        )
        append_samples(directory, lines)  # last: metrics without samples are dropped
    samples = read_samples(directory)
    summary = sample_summary(directory, samples) | read_scores(directory.folder)
    encoder = config.encoder or installed_encoder()
    if encoder and not alone and len(samples) > 1:
        summary |= compare_texts(samples, encoder, resamples=config.resamples)
    if alone:
        said = about(f"{short_model(config.source)} alone", "", _prompts(samples))
    else:
        said = about_tokens(config, summary, _prompts(samples))
    show(directory, result_blocks(samples, summary), said)
    show_samples(directory, samples)
    return finish_run(directory, summary)


def stitched(
    sides: TokenSides, corpus: Corpus | None, config: GenerateConfig, directory: Run
) -> Stitch:
    """The two models with the map of the flags, fitted first where it is a method."""
    folder = Path(config.map)
    if config.map in METHODS:
        folder = directory.folder / "map"
        if not holds_artefact(folder):
            fit_and_score(directory.folder, sides, corpus, config)
    found, made_of = load_map(folder)
    cuts = {}
    for side, model in (("source", sides.source), ("target", sides.target)):
        check_model(folder, side, model, made_of[side])
        (layer,) = made_of[side]["layers"]
        cuts |= {f"{side}_layer": layer, f"{side}_norm": made_of[side]["final_norm"]}
    return stitch(sides.source, sides.target, found, **cuts)


def check_map(config: GenerateConfig) -> None:
    """Refuse a --map that is neither a method nor a folder, or that nothing reads.

    Raises:
      RunError: says which.
    """
    if config.map in (METHODS if config.target else ("ridge",)):
        return
    if config.map not in METHODS and not (Path(config.map) / "config.json").is_file():
        raise RunError(
            f"--map={config.map} must be {', '.join(METHODS)}, or the folder of a map "
            "(with config.json, as experiments.fit_tokens writes to WORKDIR/map)."
        )
    if not config.target:
        raise RunError(
            f"--map={config.map} is given and --target is not: a map goes to another "
            "model; name it, or leave --map out to let the source write by itself."
        )


def check_model(folder: Path, side: str, model: Model, made_of: dict[str, Any]) -> None:
    """Refuse a map that was fitted for another model.

    Raises:
      FingerprintError: names both.
    """
    check_same(
        f"the {side} of the map in {folder}",
        {name: made_of.get(name) for name in model.fingerprint},
        f"the {side} here",
        model.fingerprint,
        remedy="Fit a map for these models with experiments.fit_tokens.",
    )


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
    return [one for one in prompts if one[1]][: config.prompts]


def resume_samples(run: Run, rows: int) -> int:
    """How many prompts are done, in whole batches; drops what was half written."""
    path = run.folder / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    done = len(whole) // rows * rows
    write_atomically(path, "".join(whole[:done]))
    truncate_metrics(run, done - 1)
    return done


def append_samples(run: Run, lines: list[dict[str, Any]]) -> None:
    """Add a batch to samples.jsonl; it is on disk when this returns."""
    path = run.folder / "samples.jsonl"
    append_lines(path, map(json.dumps, lines), raises=RunError)


def show_samples(run: Run, samples: list[dict[str, Any]]) -> None:
    """Print the first texts behind their prompts, and the file that has all."""
    for one in samples[:SHOWN]:
        print(f"{one['prompt']}{one['text']}\n[{one['reason']}]\n")
    path = run.folder / "samples.jsonl"
    print(f"{min(SHOWN, len(samples))} of {len(samples)} texts; all of them: {path}")


def read_samples(run: Run) -> list[dict[str, Any]]:
    """All lines of samples.jsonl."""
    return _records(run.folder / "samples.jsonl")


def _prompts(samples: list[dict[str, Any]]) -> str:
    count = len(samples)
    few = " (WARNING: too few for intervals over prompts to say much)"
    said = f"{count:,} prompts" if count > 1 else "1 prompt"
    return said + (few if count < LEAST_DOCUMENTS else "")


def _records(path: Path) -> list[dict[str, Any]]:
    lines = enumerate(read_lines(path, raises=RunError), start=1)
    return [
        parse_json(line, f"{path}, line {number}", raises=RunError)
        for number, line in lines
    ]


def sample_summary(run: Run, samples: list[dict[str, Any]]) -> dict[str, float]:
    """Numbers of the whole run, from its files."""
    metrics = _records(run.folder / "metrics.jsonl")
    seconds = sum(one["generation/seconds"] for one in metrics)
    steps = sum(one["steps"] for one in samples)
    stopped = sum(one["reason"].startswith("stop") for one in samples)
    return {
        "generation/prompts": len(samples),
        "generation/written_tokens": steps,
        "generation/tokens_per_second": steps / seconds,
        "generation/repairs_per_token": sum(one["repairs"] for one in samples) / steps,
        "generation/stopped_fraction": stopped / len(samples),
    }


if __name__ == "__main__":
    start_program(GenerateConfig, run)
