r"""Can one model continue a text that another has read, from the other's mapped cache?

    python -m experiments.caches --workdir=runs/caches --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER [--layers=1,4,0] [--train_rank=16]

One pass through both models gives the moments of all keys and values; each target layer
takes its keys and values from a few source layers that are chosen on the select split,
by ridge. The source reads whole prompts of the test split, the target only their first
and last tokens; the target's predictions of the true continuation are scored against
those after reading the prompt itself.

| arm          | the target continues from                                      |
|--------------|----------------------------------------------------------------|
| native       | its own cache of the prompt                                    |
| mapped       | the source's, mapped; from 1, 4 or all source layers           |
| trained      | likewise, the map trained on the target's own predictions      |
| unchanged    | the source's, without a map, if both have the same shape       |
| residual     | likewise, with a change of low rank (--residual_rank)          |
| none         | nothing but special tokens: control                            |
| shuffled     | the mapped cache of another prompt: control                    |
| mean         | the mean keys and values at every token: control               |

A gate predicts how near the mapped cache of each test prompt is to the native one (from
the map's confidence, the source's loss, ...); its decisions are scored.

Retention is 1 - (bits_arm - bits_native) / (bits_none - bits_native), in bits per
character of the continuation. The map of --keep source layers is in WORKDIR/map.

Cost: two busy cores, embedded models, --pairs=8000: 5 minutes.

With --pairs=8000 --prompt=64 --continuation=32 --prompts=48 --layers=1,2,0 on
docstrings, retention from 1, 2 and all source layers is 73, 78 and 83 % for
pebble-llama -> pebble-qwen3, which share a tokenizer; across tokenizers it is 81, 86
and 88 % for pebble-neox -> pebble-llama and 56, 61 and 63 % for pebble-llama ->
pebble-neox; from another prompt's cache it is 2, 16 and 18 %. docs/caches.md has the
intervals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from experiments.shared.about import about_tokens
from experiments.shared.cache_options import TINY_CACHES, CacheOptions, check_caches
from helix_jax.progress import Progress
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus, require_labels

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.shared.cache_blocks import (
        MEASURES,
        arm_figures,
        arm_of,
        arm_titles,
        arms_table,
        calibration_table,
        layer_matrices,
    )
    from experiments.shared.cache_maps import fit_caches
    from experiments.shared.prompt_gates import judge_prompts, prompt_signals
    from experiments.shared.sides import open_corpus
    from experiments.shared.token_sides import load_token_sides
    from helix_jax.alignment import Descent
    from helix_jax.caches import (
        CacheMap,
        cache_form,
        identity_map,
        make_choices,
        make_prompts,
        mean_map,
        save_cache_map,
    )
    from helix_jax.caches.arms import ArmRows, answer_choices, measure_arms
    from helix_jax.caches.choices import choice_numbers
    from helix_jax.caches.distil import make_lessons, train_map
    from helix_jax.caches.gate import arm_numbers, calibration_numbers
    from helix_jax.caches.prompts import Prompts
    from helix_jax.generation.token_sides import TokenSides, sample_texts
    from helix_jax.text.corpora import load_corpus
ANSWER = (
    "With the source's mapped cache the target keeps {{{kept}}} of what the prompt is "
    "worth to it; with another prompt's cache, {{caches/retention_shuffled}}."
)


@dataclasses.dataclass(frozen=True)
class CachesConfig(CacheOptions):
    """Flags of the experiment."""

    tiny: bool = option(False, "3,000 token pairs, eight prompts")


@experiment(tiny=TINY_CACHES, check=check_caches)
def compute(config: CachesConfig, run: Run) -> Report:
    """Moments, maps, arms; see the module docstring."""
    corpus, sides = open_corpus(config), load_token_sides(config)
    fits = fit_caches(config, run, sides, corpus)
    kept = fits.fitted[arm_of(config.keep)]
    maps = {arm: one.map for arm, one in fits.fitted.items()}
    prompts = {
        split: read_prompts(sides, corpus, split, count, config)
        for split, count in (
            ("select", config.select_prompts),
            ("test", config.prompts),
        )
    }
    if config.train_rank:
        fit = read_prompts(sides, corpus, "fit", config.train_prompts, config)
        snapshot = run.folder / "training.safetensors"
        maps["trained"] = train(
            kept.map, sides, fit, prompts["select"], snapshot, config
        )
    forms = [cache_form(model.spec) for model in sides.models]
    if (plain := identity_map(*forms)) is not None:
        maps["as_is"] = plain
    maps["mean"] = mean_map(kept.map, fits.means)
    scored = {split: score(sides, own, maps, config) for split, own in prompts.items()}
    numbers = {
        "fit/pairs": fits.pairs,
        "caches/source_layers": forms[0].layers,
        "caches/target_layers": forms[1].layers,
    }
    numbers |= arm_numbers(scored["test"], resamples=config.resamples)
    numbers |= calibration_numbers(fits.fitted, scored["select"])
    if config.choices:
        numbers |= ask(sides, maps, config)
    record = {
        "text": {**corpus.fingerprint, "split": "fit"},
        "pairs": numbers["fit/pairs"],
        "max_tokens": config.max_tokens,
        "rule": config.rule,
        "trained": bool(config.train_rank),
    }
    best = maps.get("trained", kept.map)
    chosen = "trained" if config.train_rank else arm_of(config.keep)
    known = prompt_signals(config, sides, prompts, best, fits.directions)
    judged, gate_blocks = judge_prompts(known, scored, chosen, config.resamples)
    numbers |= judged
    arms = arm_titles(numbers, config.layers, config.rank, config.residual_rank)
    note = (
        f"{config.continuation} tokens after prompts of {config.prompt}, teacher-"
        f"forced; the target reads the first {config.opening} and the last "
        f"{config.closing} itself."
    )
    blocks = [
        arms_table(numbers, arms, note=note),
        calibration_table(numbers, arms),
        *gate_blocks,
        *arm_figures(numbers, arms, scored["test"].cosines),
        *layer_matrices(fits.choice),
    ]
    told = about_tokens(
        config, numbers, f"{numbers['caches/prompts']:,} prompts to test on"
    )
    files = {"map": partial(write_map, best, sides, record)}
    sentence = ANSWER.format(kept=f"caches/retention_{chosen}")
    answer = MEASURES["caches/retention"].fill(sentence, numbers)
    return Report(numbers, blocks, told, files, answer=answer)


def read_prompts(
    sides: TokenSides, corpus: Corpus, split: str, count: int, config: CachesConfig
) -> Prompts:
    """`count` prompts of a split."""
    length = config.prompt + config.continuation
    texts = sample_texts(corpus, split, 16 * length * count, max_tokens=length)
    return make_prompts(texts, sides.tokenizers, config.shape, count=count)


def train(
    start: CacheMap,
    sides: TokenSides,
    fit: Prompts,
    select: Prompts,
    snapshot: Path,
    config: CachesConfig,
) -> CacheMap:
    """The kept map, trained on the target's own predictions."""
    batch = min(config.batch, len(fit.ids), len(select.ids))
    lessons = [make_lessons(sides.models, own, batch=batch) for own in (fit, select)]
    settings = Descent(config.learning_rate, batch, config.epochs, warmup_steps=10)
    with Progress("training the map", unit="steps") as shown:
        trained, _ = train_map(
            start,
            sides.models[1],
            *lessons,
            rank=config.train_rank,
            key=jax.random.split(jax.random.key(config.seed)),
            settings=settings,
            snapshot=snapshot,
            on_step=shown.at,
        )
    return trained


def score(
    sides: TokenSides,
    prompts: Prompts,
    maps: Mapping[str, CacheMap],
    config: CachesConfig,
) -> ArmRows:
    """Every arm on some prompts."""
    return measure_arms(
        sides.models,
        sides.tokenizers[1],
        prompts,
        maps,
        shuffled=arm_of(config.keep),
        batch=min(config.batch, len(prompts.ids)),
    )


def ask(
    sides: TokenSides, maps: Mapping[str, CacheMap], config: CachesConfig
) -> dict[str, float | Interval]:
    """How often each arm answers correctly on the test texts of --choices."""
    corpus = load_corpus(config.choices)
    require_labels(corpus)
    endings = config.endings or [f" {name}" for name in corpus.classes]
    choices = make_choices(
        corpus.read("test"),
        sides.tokenizers,
        question=config.question,
        endings=[f" {ending.strip()}" for ending in endings],
        tokens=config.question_tokens,
        count=config.questions,
        opening=config.opening,
        closing=config.closing,
        rule=config.rule,
    )
    right = answer_choices(
        sides.models,
        sides.tokenizers[1],
        choices,
        maps,
        shuffled=arm_of(config.keep),
        batch=min(config.batch, len(choices.answers)),
    )
    return choice_numbers(right, choices, resamples=config.resamples)


def write_map(best: CacheMap, sides: TokenSides, record: dict, folder: Path) -> None:
    """Write the kept map with a record of what it was made from."""
    save_cache_map(folder, best, *sides.models, made_of=record)


run = compute.run

if __name__ == "__main__":
    compute.main()
