r"""Text written with a head that never leaves its owner, token by token on ciphertexts.

    python -m experiments.encrypted_generation --workdir=runs/encrypted_generation \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

The client runs the source and the map and encrypts the mapped state; the provider
applies the target's output head to the ciphertext; the client decrypts the logits and
picks the token. The same texts are generated in the clear, to count the tokens that
differ and measure the error of the logits. --sizes adds single steps of synthetic
heads, to show what a model of that width and vocabulary would take; they are measured,
not extrapolated.

Cost: two cores, embedded models, guarded: about 20 ms per token; more in the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.shared.about import about_tokens
from experiments.shared.token_options import TokenMapOptions
from helix_jax.errors import RunError
from helix_jax.private.packing import MAX_CLASSES, MAX_WIDTH
from helix_jax.private.profiles import PROFILES
from helix_jax.private.stages import STAGES
from helix_jax.reports import Samples, Table
from helix_jax.runs import Report, Run, Specs, experiment, log_metrics, option

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.sides import open_corpus
    from experiments.shared.token_maps import check_cuts, fit_map
    from experiments.shared.token_sides import load_token_sides
    from helix_jax.generation import stitch
    from helix_jax.generation.rehearsal import StepCosts, rehearse_steps, rehearse_texts
    from helix_jax.generation.token_sides import first_words
    from helix_jax.models import resolve_layers

HEADER = [
    "what",
    "width",
    "vocabulary",
    "profile",
    *(f"{title}, ms" for title in STAGES.values()),
    "up, kB",
    "down, kB",
    "tokens a second",
]


@dataclasses.dataclass(frozen=True)
class EncryptedGenerationConfig(TokenMapOptions):
    """Flags of the experiment."""

    profile: str = option(
        "guarded", "profile of the parameters", choices=tuple(PROFILES)
    )
    pairs: int = option(200_000, "token pairs to fit on", least=1)
    prompts: int = option(
        8, "texts of the test split whose beginnings are prompts", least=1
    )
    prompt_words: int = option(12, "words of a prompt", least=1)
    max_new_tokens: int = option(32, "tokens per text, at most", least=1)
    minimise: str = option(
        "time", "what the packing minimises", choices=("time", "traffic")
    )
    sizes: tuple[str, ...] = option((), "WIDTHxVOCABULARY of synthetic heads to time")
    repeats: int = option(5, "steps of a synthetic head", least=1)
    tiny: bool = option(False, "300 texts, two prompts, four tokens")


def check(config: EncryptedGenerationConfig, specs: Specs) -> None:
    """Refuse malformed sizes, and states that the encrypted head does not read.

    Raises:
      RunError: says which.
    """
    for size in config.sizes:
        parse_size(size)
    check_cuts(config, specs)
    target = specs[config.target]
    (layer,) = resolve_layers(target, (config.target_layer,))
    if layer < target.num_layers or not config.target_norm:
        raise RunError(
            "the encrypted head reads the target's last states after its final norm: "
            "leave out --target_layer and --target_norm."
        )


@experiment(
    tiny={
        "limit": 300,
        "pairs": 3000,
        "select_pairs": 1000,
        "prompts": 2,
        "max_new_tokens": 4,
        "max_tokens": 64,
        "sizes": ("32x500",),
        "repeats": 1,
    },
    check=check,
    needs=("Pyfhel",),
)
def compute(config: EncryptedGenerationConfig, run: Run) -> Report:
    """Write texts both ways and compare; see the module docstring."""
    corpus, sides = open_corpus(config), load_token_sides(config)
    fitted = fit_map(sides, corpus, config)
    parts = stitch(*sides.models, fitted.map, **config.cuts)
    prompts = [
        first_words(text.text, config.prompt_words)
        for _, text in zip(range(config.prompts), corpus.read("test"))
    ]
    settings = {"profile": config.profile, "minimise": config.minimise}
    target = sides.models[1]
    texts = rehearse_texts(
        parts,
        target,
        sides.tokenizers,
        prompts,
        max_new_tokens=config.max_new_tokens,
        **settings,
    )
    of_texts = texts.numbers
    numbers = fitted.numbers | _named("encrypted_generation", of_texts)
    size = (target.spec.width, target.spec.vocab_size, config.profile)
    speed = of_texts["tokens_per_second"]
    rows = [["the texts", *size, *cost_cells(texts.costs), speed]]
    for number, (width, vocabulary) in enumerate(map(parse_size, config.sizes)):
        costs = rehearse_steps(
            width, vocabulary, repeats=config.repeats, seed=config.seed, **settings
        )
        of_size = _named(f"size_{width}x{vocabulary}", costs.numbers)
        log_metrics(run, number, of_size)
        numbers |= of_size
        size = (width, vocabulary, config.profile)
        speed = 1 / sum(costs.seconds.values())
        rows.append(["one step, synthetic", *size, *cost_cells(costs), speed])
    note = (
        "Milliseconds are medians. The texts: source and map included. "
        f"{of_texts['token_agreement']:.1%} of {of_texts['tokens']} tokens equal those "
        f"in the clear; largest error of a logit {texts.costs.max_error:.1e}."
    )
    arms = ("on ciphertexts", "in the clear", "target alone")
    samples = [
        {"prompt": prompt} | {arm: text.text for arm, text in zip(arms, of_prompt)}
        for prompt, *of_prompt in zip(prompts, texts.written, texts.clear, texts.target)
    ]
    blocks = [
        Table("A token on ciphertexts", HEADER, rows, note=note),
        Samples("Texts written on ciphertexts", samples),
    ]
    about = about_tokens(config, numbers, f"{len(prompts):,} prompts")
    answer = (
        f"{of_texts['tokens_per_second']:.3g} tokens a second on ciphertexts; "
        f"{of_texts['token_agreement']:.1%} of {of_texts['tokens']} tokens equal those "
        "in the clear."
    )
    return Report(numbers, blocks, about, answer=answer)


def cost_cells(costs: StepCosts) -> list[float]:
    """Milliseconds of every stage, kilobytes both ways."""
    milliseconds = [1e3 * median for median in costs.seconds.values()]
    return [*milliseconds, costs.query_bytes / 1e3, costs.answer_bytes / 1e3]


def parse_size(text: str) -> tuple[int, int]:
    """Width and vocabulary of a synthetic head.

    Raises:
      RunError: it is not WIDTHxVOCABULARY, or larger than a layer can be.
    """
    try:
        width, vocabulary = map(int, text.split("x"))
    except ValueError as error:
        raise RunError(f"--sizes takes WIDTHxVOCABULARY, got {text!r}.") from error
    if not (1 <= width <= MAX_WIDTH and 1 <= vocabulary <= MAX_CLASSES):
        raise RunError(
            f"--sizes takes widths of 1 to {MAX_WIDTH:,} and vocabularies of 1 to "
            f"{MAX_CLASSES:,}, got {text!r}."
        )
    return width, vocabulary


def _named(start: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{start}/{name}": value for name, value in numbers.items()}


run = compute.run

if __name__ == "__main__":
    compute.main()
