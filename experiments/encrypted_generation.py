r"""Text written with a head that never leaves its owner, token by token on ciphertexts.

    python -m experiments.encrypted_generation --workdir=runs/encrypted_generation \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

The client runs the source and the map, encrypts the mapped state, the provider applies
the target's output head to the ciphertext, the client decrypts the logits and picks the
token. Beside it the same texts in the clear: tokens that differ, error of the logits.
--sizes adds single steps of made-up heads, so that one sees what a model of that width
and vocabulary would take; they are measured, not extrapolated.

Cost: two cores, embedded models, guarded: about 20 ms a token; more in the table.
"""

import dataclasses
import time

import numpy as np

from experiments.shared.about import about_tokens, show, show_saved
from experiments.shared.options import workdir_option
from experiments.shared.sides import open_corpus
from experiments.shared.token_maps import check_cuts, fit_token_map
from experiments.shared.token_sides import TokenMapOptions, TokenSides, load_token_sides
from helix_jax.errors import RunError
from helix_jax.generation import native, stitch
from helix_jax.generation.encrypted import HeadWeights, generate_encrypted, head_weights
from helix_jax.generation.generate import generate
from helix_jax.generation.stitch import Stitch
from helix_jax.private import Client, Provider
from helix_jax.private.packing import MAX_CLASSES, MAX_WIDTH
from helix_jax.private.profiles import PROFILES
from helix_jax.private.rehearsal import STAGES, WARMUPS, Conversation
from helix_jax.progress import bar, stage
from helix_jax.reports import Samples, Table
from helix_jax.runs import (
    finish_run,
    is_done,
    log_metrics,
    open_run,
    option,
    prepare_config,
    read_summary,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program

SIZE_HEADER = [
    "what",
    "width",
    "vocabulary",
    "profile",
    *(f"{said}, ms" for said in STAGES.values()),
    "up, kB",
    "down, kB",
    "tokens a second",
]


@dataclasses.dataclass(frozen=True)
class EncryptedGenerationConfig(TokenMapOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    profile: str = option("guarded", "of the parameters", choices=tuple(PROFILES))
    pairs: int = option(200_000, "token pairs to fit on", least=1)
    prompts: int = option(
        8, "texts of the test split whose beginning is the prompt", least=1
    )
    prompt_words: int = option(12, "words of a prompt", least=1)
    max_new_tokens: int = option(32, "tokens a text", least=1)
    minimise: str = option(
        "time", "what the packing is for", choices=("time", "traffic")
    )
    sizes: tuple[str, ...] = option((), "WIDTHxVOCABULARY of made-up heads to time")
    repeats: int = option(5, "steps of a made-up head", least=1)
    tiny: bool = option(False, "300 texts, two prompts, four tokens")


def run(config: EncryptedGenerationConfig) -> dict[str, float]:
    """Write texts both ways and compare; see the module docstring."""
    config = prepare_config(
        config,
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
    )
    sizes = [_size(one) for one in config.sizes]
    check_cuts(config, check_inputs(config)[config.target])
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    corpus = open_corpus(config)
    sides = load_token_sides(config)
    fitted = fit_token_map(sides, corpus, config)
    parts = stitch(sides.source, sides.target, fitted.map)
    prompts = [
        " ".join(text.text.split()[: config.prompt_words])
        for _, text in zip(range(config.prompts), corpus.read("test"))
    ]
    summary, samples = _texts(parts, sides, prompts, config)
    rows = [_row(config.profile, sides.target.spec, summary)]
    for number, (width, vocabulary) in enumerate(sizes):
        talk, error = time_steps(width, vocabulary, config)
        numbers = _numbers(talk, error, f"size_{width}x{vocabulary}")
        log_metrics(directory, number, numbers)
        summary |= numbers
        rows.append(_size_row(width, vocabulary, config.profile, talk))
    blocks = [
        Table("A token on ciphertexts", SIZE_HEADER, rows, note=_note(summary)),
        Samples("Texts written on ciphertexts", samples),
    ]
    summary |= fitted.numbers
    show(directory, blocks, about_tokens(config, summary, f"{len(prompts):,} prompts"))
    return finish_run(directory, summary)


def converse(
    weights: HeadWeights, norm: float, config: EncryptedGenerationConfig
) -> Conversation:
    """Both parties of an encrypted head; states of norm at most `norm`."""
    with stage("encoding the head"):
        provider = Provider(
            weights.kernel,
            weights.bias,
            input_norm=norm,
            profile=config.profile,
            minimise=config.minimise,
        )
        return Conversation(Client(config.profile), provider)


def _texts(parts: Stitch, sides: TokenSides, prompts, config):
    """Every prompt continued on ciphertexts and in the clear."""
    weights, offer = head_weights(sides.target)
    tokenizers = sides.source_tokenizer, sides.target_tokenizer
    kernel = weights.kernel.astype(np.float64)
    bias = 0.0 if weights.bias is None else weights.bias.astype(np.float64)
    settings = {"max_new_tokens": config.max_new_tokens}
    with stage("the same texts in the clear"):
        clear = generate(parts, *tokenizers, prompts, **settings)
        own = generate(native(sides.target), *tokenizers[1:] * 2, prompts, **settings)
    states: list[np.ndarray] = []

    def remember(state):
        states.append(state)
        return state @ kernel + bias

    for prompt in bar(prompts[:2], "texts that show how large states become"):
        generate_encrypted(
            parts.source, parts.map, offer, remember, *tokenizers, prompt, **settings
        )
    norm = 2 * max(float(np.linalg.norm(state)) for state in states)
    talk = converse(weights, norm, config)
    errors = []

    def checked(state):
        logits = talk.ask(state)
        errors.append(float(np.abs(logits - (state @ kernel + bias)).max()))
        return logits

    with stage("first tokens, which compile"):
        for _ in range(WARMUPS):
            talk.ask(states[0])
    talk.forget_times()
    began, written = time.perf_counter(), []
    for prompt in bar(prompts, "texts on ciphertexts"):
        written.append(
            generate_encrypted(
                parts.source, parts.map, offer, checked, *tokenizers, prompt, **settings
            )
        )
    elapsed = time.perf_counter() - began
    tokens = sum(len(one.tokens) for one in written)
    same = sum(
        a == b for x, y in zip(written, clear) for a, b in zip(x.tokens, y.tokens)
    )
    numbers = _numbers(talk, max(errors), "encrypted_generation")
    numbers |= {
        "encrypted_generation/tokens_per_second": tokens / elapsed,
        "encrypted_generation/tokens": tokens,
        "encrypted_generation/token_agreement": same / tokens,
        "encrypted_generation/texts_equal": float(
            np.mean([x.text == y.text for x, y in zip(written, clear)])
        ),
    }
    samples = [
        {
            "prompt": prompt,
            "on ciphertexts": x.text,
            "in the clear": y.text,
            "target alone": z.text,
        }
        for prompt, x, y, z in zip(prompts, written, clear, own)
    ]
    return numbers, samples


def time_steps(
    width: int, vocabulary: int, config: EncryptedGenerationConfig
) -> tuple[Conversation, float]:
    """Steps of a made-up Gaussian head, logits of order 10; the largest error."""
    generator = np.random.default_rng(config.seed)
    kernel = generator.standard_normal((width, vocabulary), np.float32)
    kernel *= 10 / np.sqrt(width)
    states = generator.standard_normal((WARMUPS + config.repeats, width))
    norm = 1.01 * float(np.linalg.norm(states, axis=1).max())
    weights = HeadWeights(kernel, None)
    talk = converse(weights, norm, config)
    error = 0.0
    checked = generator.choice(vocabulary, min(vocabulary, 512), replace=False)
    for number, state in enumerate(
        bar(states, f"steps of a head {width}x{vocabulary}")
    ):
        if number == WARMUPS:
            talk.forget_times()
        logits = talk.ask(state)
        wanted = state @ kernel[:, checked].astype(np.float64)
        error = max(error, float(np.abs(logits[checked] - wanted).max()))
    return talk, error


def _numbers(talk: Conversation, error: float, start: str) -> dict[str, float]:
    numbers = {
        f"{start}/{stage}_seconds": float(np.median(talk.seconds[stage]))
        for stage in STAGES
    }
    return numbers | {
        f"{start}/query_bytes": talk.query_bytes,
        f"{start}/answer_bytes": talk.answer_bytes,
        f"{start}/max_error": error,
    }


def _size_row(
    width: int, vocabulary: int, profile: str, talk: Conversation
) -> list[object]:
    medians = [float(np.median(talk.seconds[stage])) for stage in STAGES]
    return [
        "one step, made up",
        width,
        vocabulary,
        profile,
        *(1e3 * one for one in medians),
        talk.query_bytes / 1e3,
        talk.answer_bytes / 1e3,
        1 / sum(medians),
    ]


def _row(profile: str, spec, summary) -> list[object]:
    value = {name.split("/")[1]: one for name, one in summary.items()}
    return [
        "the texts",
        spec.width,
        spec.vocab_size,
        profile,
        *(1e3 * value[f"{stage}_seconds"] for stage in STAGES),
        value["query_bytes"] / 1e3,
        value["answer_bytes"] / 1e3,
        value["tokens_per_second"],
    ]


def _note(summary) -> str:
    value = {name.split("/")[1]: one for name, one in summary.items()}
    return (
        "Milliseconds are medians. The texts: source and map included. "
        f"{value['token_agreement']:.1%} of {value['tokens']} tokens equal those in "
        f"the clear; largest error of a logit {value['max_error']:.1e}."
    )


def _size(text: str) -> tuple[int, int]:
    try:
        width, vocabulary = map(int, text.split("x"))
    except ValueError as error:
        raise RunError(
            f"encrypted_generation: --sizes takes WIDTHxVOCABULARY, got {text!r}."
        ) from error
    if not (1 <= width <= MAX_WIDTH and 1 <= vocabulary <= MAX_CLASSES):
        raise RunError(
            f"encrypted_generation: --sizes takes widths of 1 to {MAX_WIDTH:,} and "
            f"vocabularies of 1 to {MAX_CLASSES:,}, got {text!r}."
        )
    return width, vocabulary


if __name__ == "__main__":
    start_program(EncryptedGenerationConfig, run)
