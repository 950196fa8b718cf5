r"""Text written with a head that never leaves its owner, token by token on ciphertexts.

    python -m experiments.encrypted_generation --workdir=runs/encrypted_generation \
      --source=DIR_OR_ID --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

The client runs the source and the map, encrypts the mapped state, the provider applies
the target's output head to the ciphertext, the client decrypts the logits and picks the
token. Beside it the same texts in the clear: tokens that differ, error of the logits.
--sizes adds single steps of made-up heads, so that one sees what a model of that width
and vocabulary would take; they are measured, not extrapolated.

Two cores, embedded models, guarded: about 20 ms a token; see the table for the rest.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.states import open_corpus
from experiments.token_maps import fit_token_map
from experiments.token_sides import TokenMapOptions, TokenSides, load_token_sides
from helix_jax.errors import RunError
from helix_jax.generation import native, stitch
from helix_jax.generation.encrypted import (
    HeadWeights,
    generate_encrypted,
    head_weights,
)
from helix_jax.generation.generate import generate
from helix_jax.generation.stitch import Stitch
from helix_jax.private import Client, Provider
from helix_jax.private.provider import PREPARED
from helix_jax.reports import Samples, Table, markdown_table, save_blocks
from helix_jax.runs import (
    finish_run,
    is_done,
    log_metrics,
    open_run,
    option,
    read_summary,
)
from helix_jax.runs.program import start_program

STAGES = ("prepare", "client_encrypt", "provider", "client_decrypt")
SIZE_HEADER = ["d", "k", "profile", *(f"{stage}, ms" for stage in STAGES), "up, kB",
               "down, kB", "tokens/s"]  # fmt: skip
WARMUPS = 2


@dataclasses.dataclass(frozen=True)
class EncryptedGenerationConfig(TokenMapOptions):
    """Flags of the experiment."""

    workdir: str = option("", "work directory")
    profile: str = option("guarded", "guarded, open or compact")
    pairs: int = option(200_000, "token pairs to fit on")
    prompts: int = option(8, "texts of the test split whose beginning is the prompt")
    prompt_words: int = option(12, "words of a prompt")
    max_new_tokens: int = option(32, "tokens a text")
    minimise: str = option("time", "time or traffic, what the packing is for")
    sizes: tuple[str, ...] = option((), "WIDTHxVOCABULARY of made-up heads to time")
    repeats: int = option(5, "steps of a made-up head")
    tiny: bool = option(False, "300 texts, two prompts, four tokens")


class Steps(NamedTuple):
    """What came of the steps of one head.

    Attributes:
      seconds: stage -> seconds of each step.
      query_bytes, answer_bytes: of one step.
      error: largest error of a logit.
    """

    seconds: dict[str, list[float]]
    query_bytes: int
    answer_bytes: int
    error: float


def run(config: EncryptedGenerationConfig) -> dict[str, float]:
    """Write texts both ways and compare; see the module docstring."""
    if config.tiny:
        config = dataclasses.replace(
            config, limit=300, pairs=3000, select_pairs=1000, prompts=2,
            max_new_tokens=4, max_tokens=64, sizes=("32x500",), repeats=1,
        )  # fmt: skip
    if not (config.workdir and config.source and config.target):
        raise RunError("encrypted_generation: --workdir, --source, --target needed.")
    sizes = [_size(one) for one in config.sizes]
    directory = open_run(config.workdir, config)
    if is_done(directory):
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
        steps = time_steps(width, vocabulary, config)
        numbers = _numbers(steps, f"size_{width}x{vocabulary}")
        log_metrics(directory, number, numbers)
        summary |= numbers
        rows.append(_size_row(width, vocabulary, config.profile, steps))
    blocks = [
        Table("A token on ciphertexts", SIZE_HEADER, rows, note=_note(summary)),
        Samples("Texts written on ciphertexts", samples),
    ]
    save_blocks(directory.folder, blocks)
    print(markdown_table(SIZE_HEADER, rows) + "\n\n" + _note(summary))
    return finish_run(directory, summary | fitted.numbers)


def asker(
    weights: HeadWeights, *, input_norm: float, profile: str, minimise: str = "time"
) -> tuple[Callable[[np.ndarray], np.ndarray], dict, dict]:
    """Both parties of an encrypted head in one process.

    Args:
      weights: the provider's.
      input_norm: largest norm of a state.
      profile: name of the parameters.
      minimise: "time" or "traffic".

    Returns:
      [d] state -> [V] logits; the seconds of each stage and the bytes, as they come.
    """
    provider = Provider(
        weights.kernel, weights.bias, input_norm=input_norm, profile=profile,
        minimise=minimise,
    )  # fmt: skip
    client = Client(profile)
    key = provider.register(client.public_bundle())
    layer = client.read_layer(provider.layer.to_bytes())
    # Masks of the largest answers are made with them and not ahead.
    ahead = layer.profile.guarded and layer.plan.answers <= PREPARED
    seconds = {stage: [] for stage in STAGES}
    sent = {}

    def ask(state: np.ndarray) -> np.ndarray:
        times = [time.perf_counter()]
        if ahead:
            provider.masks(key).prepare(1)
        times.append(time.perf_counter())
        query = client.encrypt(layer, state)
        times.append(time.perf_counter())
        answer = provider.answer(query)
        times.append(time.perf_counter())
        logits = client.decrypt(answer)
        times.append(time.perf_counter())
        for stage, start, stop in zip(STAGES, times, times[1:]):
            seconds[stage].append(stop - start)
        sent.update(query=len(query), answer=len(answer))
        return logits

    return ask, seconds, sent


def _texts(parts: Stitch, sides: TokenSides, prompts, config):
    """Every prompt continued on ciphertexts and in the clear."""
    weights, offer = head_weights(sides.target)
    tokenizers = sides.source_tokenizer, sides.target_tokenizer
    kernel = weights.kernel.astype(np.float64)
    bias = 0.0 if weights.bias is None else weights.bias.astype(np.float64)
    settings = {"max_new_tokens": config.max_new_tokens}
    clear = generate(parts, *tokenizers, prompts, **settings)
    own = generate(native(sides.target), *tokenizers[1:] * 2, prompts, **settings)
    states: list[np.ndarray] = []

    def remember(state):
        states.append(state)
        return state @ kernel + bias

    for prompt in prompts[:2]:  # how large states become
        generate_encrypted(
            parts.source, parts.map, offer, remember, *tokenizers, prompt, **settings
        )
    norm = 2 * max(float(np.linalg.norm(state)) for state in states)
    ask, seconds, sent = asker(
        weights, input_norm=norm, profile=config.profile, minimise=config.minimise
    )
    errors = []

    def checked(state):
        logits = ask(state)
        errors.append(float(np.abs(logits - (state @ kernel + bias)).max()))
        return logits

    for _ in range(WARMUPS):
        ask(states[0])
    for stage in STAGES:
        seconds[stage].clear()
    began, written = time.perf_counter(), []
    for prompt in tqdm(prompts, desc="texts", leave=False):
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
    steps = Steps(seconds, sent["query"], sent["answer"], max(errors))
    numbers = _numbers(steps, "encrypted_generation")
    numbers |= {
        "encrypted_generation/tokens_per_second": tokens / elapsed,
        "encrypted_generation/tokens": tokens,
        "encrypted_generation/token_agreement": same / tokens,
        "encrypted_generation/texts_equal": float(
            np.mean([x.text == y.text for x, y in zip(written, clear)])
        ),
    }
    samples = [
        {"prompt": prompt, "on ciphertexts": x.text, "in the clear": y.text,
         "target alone": z.text}
        for prompt, x, y, z in zip(prompts, written, clear, own)
    ]  # fmt: skip
    return numbers, samples


def time_steps(width: int, vocabulary: int, config: EncryptedGenerationConfig) -> Steps:
    """Steps of a made-up Gaussian head, logits of order 10."""
    generator = np.random.default_rng(config.seed)
    kernel = generator.standard_normal((width, vocabulary), np.float32)
    kernel *= 10 / np.sqrt(width)
    states = generator.standard_normal((WARMUPS + config.repeats, width))
    norm = 1.01 * float(np.linalg.norm(states, axis=1).max())
    weights = HeadWeights(kernel, None)
    ask, seconds, sent = asker(
        weights, input_norm=norm, profile=config.profile, minimise=config.minimise
    )
    error = 0.0
    checked = generator.choice(vocabulary, min(vocabulary, 512), replace=False)
    for number, state in enumerate(tqdm(states, desc=f"{width}x{vocabulary}")):
        if number == WARMUPS:
            for stage in STAGES:
                seconds[stage].clear()
        logits = ask(state)
        wanted = state @ kernel[:, checked].astype(np.float64)
        error = max(error, float(np.abs(logits[checked] - wanted).max()))
    return Steps(seconds, sent["query"], sent["answer"], error)


def _numbers(steps: Steps, start: str) -> dict[str, float]:
    numbers = {
        f"{start}/{stage}_seconds": float(np.median(steps.seconds[stage]))
        for stage in STAGES
    }
    return numbers | {
        f"{start}/query_bytes": steps.query_bytes,
        f"{start}/answer_bytes": steps.answer_bytes,
        f"{start}/max_error": steps.error,
    }


def _size_row(width: int, vocabulary: int, profile: str, steps: Steps) -> list[object]:
    medians = [float(np.median(steps.seconds[stage])) for stage in STAGES]
    return [
        width, vocabulary, profile, *(1e3 * one for one in medians),
        steps.query_bytes / 1e3, steps.answer_bytes / 1e3, 1 / sum(medians),
    ]  # fmt: skip


def _row(profile: str, spec, summary) -> list[object]:
    value = {name.split("/")[1]: one for name, one in summary.items()}
    return [
        spec.width, spec.vocab_size, profile,
        *(1e3 * value[f"{stage}_seconds"] for stage in STAGES),
        value["query_bytes"] / 1e3, value["answer_bytes"] / 1e3,
        value["tokens_per_second"],
    ]  # fmt: skip


def _note(summary) -> str:
    value = {name.split("/")[1]: one for name, one in summary.items()}
    return (
        "First row: the texts themselves, source and map included. "
        f"{value['token_agreement']:.1%} of {value['tokens']} tokens equal those in "
        f"the clear; largest error of a logit {value['max_error']:.1e}. Other rows: "
        "single steps of made-up heads."
    )


def _size(text: str) -> tuple[int, int]:
    try:
        width, vocabulary = map(int, text.split("x"))
    except ValueError as error:
        raise RunError(
            f"encrypted_generation: --sizes takes WIDTHxVOCABULARY, got {text!r}."
        ) from error
    return width, vocabulary


if __name__ == "__main__":
    start_program(EncryptedGenerationConfig, run)
