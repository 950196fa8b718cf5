r"""Text read by one model's blocks and written by another's head.

    python -m experiments.generate --workdir=runs/generate --source=DIR_OR_ID \
      --target=DIR_OR_ID --map=FOLDER_OR_METHOD --prompt="Once upon a time"

--map is the folder of a map between token states (`experiments.fit_tokens`), or how to
fit one on the fit split of --data: ridge, kl or mlp. Without --target the source writes
by itself. Without --prompt, prompts are the first --prompt_words words of test texts of
--data. WORKDIR/samples.jsonl has one line per prompt: prompt, text, why it ended, how
often the source's tokens had to be taken back, and what both models alone and the
controls (maps of shuffled pairs, a random rotation) write. All of them also answer the
multiple-choice questions of --questions, a file with one {"question", "choices",
"answer"} per line as in MMLU: by the likeliest letter, and by the likeliest choice.

| measure                                    | of                                      |
|--------------------------------------------|-----------------------------------------|
| generation/agreement_top1, kl_nats,        | the mapped head on held-out text,       |
| perplexity_mapped, .. (where it is fitted) | teacher-forced, beside native models    |
| generation/cosine_source, cosine_target,   | texts against what the models alone     |
| repetition, distinct_2, words              | write; needs --encoder                  |
| generation/tokens_per_second               | target tokens, all rows together        |
| choices/letter_accuracy, text_accuracy     | questions answered right; needs them    |

Numbers of controls end in the control's name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.shared.about import LEAST_DOCUMENTS, about, about_tokens, short_model
from experiments.shared.answers import HELD_OUT_PERPLEXITY, head_answer
from experiments.shared.options import workdir_option
from experiments.shared.token_options import MODEL, TINY_MAP, TokenMapOptions
from helix_jax import assets
from helix_jax.artefacts import holds_artefact
from helix_jax.choices import TOKEN_MAPS
from helix_jax.errors import RunError
from helix_jax.mirrored import public_name
from helix_jax.progress import bar
from helix_jax.reports import Block, Quantity, Samples
from helix_jax.runs import Report, Run, Specs, experiment, flat_numbers, option
from helix_jax.runs.records import Records
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.sides import open_corpus
    from experiments.shared.token_maps import (
        check_cuts,
        fit_map,
        map_file,
        measure_table,
        score_map,
    )
    from experiments.shared.token_sides import load_token_sides
    from helix_jax.generation import Sampling
    from helix_jax.generation.arms import Writer, alone, arms_of
    from helix_jax.generation.choices import read_questions, score_choices
    from helix_jax.generation.continuations import continue_prompts, writing_numbers
    from helix_jax.generation.stitch_files import (
        load_controls,
        load_scores,
        load_stitch,
        save_measured_map,
    )
    from helix_jax.generation.text_metrics import compare_samples
    from helix_jax.generation.token_sides import sample_prompts
    from helix_jax.models.tokenizer_place import find_tokenizer

SHOWN = 8  # prompts in a report
CONTROLS = ("shuffled", "random")  # that write texts too
TITLES = {  # of texts: in a line of samples.jsonl -> in a report
    "prompt": "prompt",
    "text": "mapped",
    "native_source": "source alone",
    "native_target": "target alone",
    "shuffled": "control: shuffled map",
}
MEASURES = {
    "perplexity_mapped": HELD_OUT_PERPLEXITY,
    "kl_nats": Quantity("KL, nats", 1, 3),
    "agreement_top1": Quantity("top-1 agreement, %", 100, 1),
    "cosine_source": Quantity("cosine to source", 1, 3),
    "cosine_target": Quantity("cosine to target", 1, 3),
    "repetition": Quantity("repetition", 1, 3),
}
ANSWERS = {
    "letter_accuracy": Quantity("right by the most likely letter, %", 100, 1),
    "text_accuracy": Quantity("right by the most likely choice, %", 100, 1),
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
    map: str = option(
        "ridge", "ridge, kl or mlp, or the folder of a map", names="folder"
    )
    prompt: str = option("", "one prompt; empty: those of --data")
    prompts: int = option(100, "texts of --data to continue", least=1)
    prompt_words: int = option(12, "words of each text in its prompt", least=1)
    chat: bool = option(False, "prompts are a user's turn in the chat templates")
    max_new_tokens: int = option(128, "new tokens per text, at most", least=1)
    rows: int = option(16, "prompts to continue at a time", least=1)
    temperature: float = option(0.0, "of sampling; 0: greedy", least=0)
    top_k: int = option(0, "likeliest tokens to sample from; 0: all", least=0)
    top_p: float = option(1.0, "probability to sample from; 1: all", above=0, most=1)
    repetition_penalty: float = option(1.0, "for repeated tokens; 1: none", above=0)
    stop_strings: tuple[str, ...] = option((), "strings that end a text", verbatim=True)
    encoder: str = option(
        "", "sentence encoder for cosines; empty: the installed one", names="model"
    )
    questions: str = option(
        "", "JSONL of multiple-choice questions to answer too", names="path"
    )
    resamples: int = option(1000, "bootstrap resamples of prompts", least=1)
    tiny: bool = option(False, "8,000 token pairs, 4 prompts, 16 tokens")


def check(config: GenerateConfig, specs: Specs) -> None:
    """Refuse a --map that is neither a method nor a folder, or that nothing reads, and
    --chat with a model that has no chat template.

    Raises:
      RunError: says which.
    """
    if config.questions:
        read_questions(config.questions)
    for flag in ("source", "target") if config.chat else ():
        name = getattr(config, flag)
        if name and find_tokenizer(name).files.chat_template is None:
            raise RunError(
                f"--chat: the tokenizer of --{flag}={name} has no chat template; leave "
                "--chat out, or name a model that was trained on chats."
            )
    own = Path(config.map) / "config.json"
    if config.map not in TOKEN_MAPS and not own.is_file():
        raise RunError(
            f"--map={config.map} must be {', '.join(TOKEN_MAPS)}, or the folder of a "
            "map (with config.json, as experiments.fit_tokens writes to WORKDIR/map)."
        )
    if config.target:
        check_cuts(config, specs)
    elif config.map != "ridge":
        raise RunError(
            f"--map={config.map} is given and --target is not: a map goes to another "
            "model; name it, or leave --map out to let the source write by itself."
        )


@experiment(
    tiny=TINY_MAP | {"prompts": 4, "max_new_tokens": 16, "rows": 2}, check=check
)
def compute(config: GenerateConfig, run: Run) -> Report:
    """Continue every prompt; see the module docstring."""
    fits = bool(config.target) and config.map in TOKEN_MAPS
    corpus = open_corpus(config) if fits or not config.prompt else None
    sides = load_token_sides(config)
    source, target = map(alone, *sides)
    writers = {"text": source}
    if config.target:
        folder = run.folder / "map" if fits else Path(config.map)
        if fits and not holds_artefact(folder):
            snapshot = run.folder / "fit.safetensors"
            fitted = fit_map(sides, corpus, config, snapshot=snapshot)
            save_measured_map(
                run.folder,
                map_file(fitted, sides, corpus, config),
                fitted.map,
                {name: fitted.controls[name] for name in CONTROLS},
                flat_numbers(score_map(sides, fitted, corpus, config)),
            )
        parts = load_stitch(folder, *sides.models)
        controls = load_controls(run.folder, CONTROLS)
        writers = arms_of(parts, source, target, controls)
    samples, seconds = write_samples(
        writers, choose_prompts(config, corpus), config, run
    )
    numbers = writing_numbers(samples, seconds) | load_scores(run.folder)
    encoder = config.encoder or assets.installed_encoder()
    if encoder and config.target and len(samples) > 1:
        numbers |= compare_samples(
            samples, encoder, list(writers), resamples=config.resamples
        )
    if config.questions:
        numbers |= score_choices(
            writers, read_questions(config.questions), resamples=config.resamples
        )
    place = public_name(str(run.folder / "samples.jsonl"))
    print(f"{len(samples)} texts: {place}", flush=True)
    prompts = f"{len(samples):,} prompts" if len(samples) > 1 else "1 prompt"
    if len(samples) < LEAST_DOCUMENTS:
        prompts += " (WARNING: too few for intervals over prompts to say much)"
    told = (
        about_tokens(config, numbers, prompts)
        if config.target
        else about(f"{short_model(config.source)} alone", "", prompts)
    )
    answer = head_answer(numbers, config.data)
    return Report(numbers, text_blocks(samples, numbers), told, answer=answer)


def choose_prompts(
    config: GenerateConfig, corpus: Corpus | None
) -> list[tuple[str, str]]:
    """(id, prompt) of each text to continue."""
    if config.prompt:
        return [("prompt", config.prompt)]
    return sample_prompts(corpus, config.prompts, words=config.prompt_words)


def write_samples(
    writers: Mapping[str, Writer],
    prompts: list[tuple[str, str]],
    config: GenerateConfig,
    run: Run,
) -> tuple[list[dict[str, Any]], float]:
    """All lines of samples.jsonl, with missing ones written; the seconds they took."""
    records = Records(run, "samples.jsonl", config.rows)
    first = records.resume()
    batches = continue_prompts(
        writers,
        prompts,
        rows=config.rows,
        key=jax.random.key(config.seed),
        first=first,
        max_new_tokens=config.max_new_tokens,
        sampling=Sampling(
            config.temperature, config.top_k, config.top_p, config.repetition_penalty
        ),
        chat=config.chat,
        stop_strings=config.stop_strings,
    )
    left = len(range(first, len(prompts), config.rows))
    for batch in bar(batches, "batches of prompts continued", total=left):
        spent = {"tokens": batch.steps, "seconds": batch.seconds}
        metrics = {f"generation/{name}": value for name, value in spent.items()}
        records.append(batch.first, batch.samples, metrics)
    return records.read(), records.total("generation/seconds")


def text_blocks(
    samples: list[dict[str, Any]], numbers: Mapping[str, float | Interval]
) -> list[Block]:
    """A table of what was measured of each arm, if anything was; the first samples."""
    items = [
        {title: sample[name] for name, title in TITLES.items() if name in sample}
        for sample in samples[:SHOWN]
    ]
    arms = {"": "mapped"}
    arms |= {f"_{arm}": f"control: {arm}" for arm in CONTROLS if arm in samples[0]}
    arms |= {f"_native_{side}": f"native {side}" for side in ("target", "source")}
    note = (
        "Perplexity, KL and agreement are teacher-forced on held-out text; cosines "
        "compare the texts for the same prompts by a sentence encoder."
    )
    table = measure_table("Text by the mapped head", numbers, arms, MEASURES, note)
    table = dataclasses.replace(
        table, note=f"{table.note} For cosines and repetition: over prompts."
    )
    answers = measure_table(
        "Multiple-choice questions",
        numbers,
        arms,
        ANSWERS,
        f"{numbers.get('choices/questions', 0):,} questions, "
        f"{numbers.get('choices/chance', 0):.1%} right by chance.",
        room="choices",
    )
    tables = [shown for shown in (table, answers) if shown.rows]
    return [*tables, Samples("Texts", items)]


run = compute.run

if __name__ == "__main__":
    compute.main()
