"""An encrypted head and its client in one process: the cost of a token on ciphertexts.

    rehearse_texts   texts on ciphertexts beside the same texts in the clear
    rehearse_steps   single steps of a synthetic head of any size

`private.rehearsal` does the same for a single layer.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.generation.encrypted import HeadWeights, generate_encrypted, head_weights
from helix_jax.generation.generate import Generated, generate
from helix_jax.generation.stitch import Stitch, native
from helix_jax.models import Model
from helix_jax.private import Client, Provider
from helix_jax.private.rehearsal import WARMUPS, Conversation
from helix_jax.private.stages import STAGES
from helix_jax.progress import bar, stage

CHECKED = 512  # logits of a synthetic head that are compared with those in the clear


class StepCosts(NamedTuple):
    """The cost of one token on ciphertexts.

    Attributes:
      seconds: stage of `STAGES` -> median.
      query_bytes, answer_bytes: of the last query.
      max_error: of a logit, against the product in float64, over all queries.
    """

    seconds: dict[str, float]
    query_bytes: int
    answer_bytes: int
    max_error: float

    @property
    def numbers(self) -> dict[str, float]:
        """The costs by name, with the unit in the name."""
        return {f"{name}_seconds": median for name, median in self.seconds.items()} | {
            "query_bytes": self.query_bytes,
            "answer_bytes": self.answer_bytes,
            "max_error": self.max_error,
        }


class EncryptedTexts(NamedTuple):
    """Texts written for the same prompts.

    Attributes:
      written: on ciphertexts.
      clear: by the same stitch in the clear.
      target: by the target alone.
      costs: of a token.
      seconds: of all texts on ciphertexts, source and map included.
    """

    written: list[Generated]
    clear: list[Generated]
    target: list[Generated]
    costs: StepCosts
    seconds: float

    @property
    def numbers(self) -> dict[str, float]:
        """The costs, and how far the texts agree with those in the clear."""
        pairs = list(zip(self.written, self.clear))
        tokens = sum(len(written.tokens) for written in self.written)
        same = sum(
            token == in_clear
            for written, clear in pairs
            for token, in_clear in zip(written.tokens, clear.tokens)
        )
        equal = [written.text == clear.text for written, clear in pairs]
        return self.costs.numbers | {
            "tokens_per_second": tokens / self.seconds,
            "tokens": tokens,
            "token_agreement": same / tokens,
            "texts_equal": float(np.mean(equal)),
        }


def rehearse_texts(
    parts: Stitch,
    target: Model,
    tokenizers: tuple[Any, Any],
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    **settings: str,
) -> EncryptedTexts:
    """Continue prompts greedily on ciphertexts and in the clear.

    Args:
      parts: a stitch that enters the target at its normed last states.
      target: the model whose head is applied to ciphertexts.
      tokenizers: of the source and of the target.
      prompts: texts; the first two are also continued in the clear, to bound the norm
        of states.
      max_new_tokens: target tokens for each.
      **settings: profile and minimise, of the provider.
    """
    weights, offer = head_weights(target)
    length = max_new_tokens
    with stage("the same texts in the clear"):
        clear = generate(parts, *tokenizers, prompts, max_new_tokens=length)
        own = native(target), tokenizers[1], tokenizers[1]
        alone = generate(*own, prompts, max_new_tokens=length)
    states: list[np.ndarray] = []

    def remember(state: np.ndarray) -> np.ndarray:
        states.append(state)
        return _logits(weights, state)

    def write(ask: Callable[[np.ndarray], np.ndarray], prompt: str) -> Generated:
        return generate_encrypted(
            parts.source,
            parts.map,
            offer,
            ask,
            *tokenizers,
            prompt,
            max_new_tokens=length,
        )

    for prompt in bar(prompts[:2], "texts that show how large states become"):
        write(remember, prompt)
    norm = 2 * max(float(np.linalg.norm(state)) for state in states)
    conversation = _conversation(weights, norm, **settings)
    with stage("first tokens, which compile"):
        for _ in range(WARMUPS):
            conversation.ask(states[0])
    conversation.forget_times()
    errors: list[float] = []

    def ask(state: np.ndarray) -> np.ndarray:
        logits = conversation.ask(state)
        errors.append(float(np.abs(logits - _logits(weights, state)).max()))
        return logits

    began = time.perf_counter()
    written = [write(ask, prompt) for prompt in bar(prompts, "texts on ciphertexts")]
    seconds = time.perf_counter() - began
    return EncryptedTexts(written, clear, alone, _costs(conversation, errors), seconds)


def rehearse_steps(
    width: int, vocabulary: int, *, repeats: int, seed: int, **settings: str
) -> StepCosts:
    """Single steps of a synthetic Gaussian head, with logits of order 10.

    Args:
      width: dy.
      vocabulary: V.
      repeats: timed steps, after the warm-up.
      seed: of the head and of the states.
      **settings: profile and minimise, of the provider.
    """
    generator = np.random.default_rng(seed)
    kernel = generator.standard_normal((width, vocabulary), np.float32)
    kernel *= 10 / np.sqrt(width)
    states = generator.standard_normal((WARMUPS + repeats, width))
    norm = 1.01 * float(np.linalg.norm(states, axis=1).max())
    checked = generator.choice(vocabulary, min(vocabulary, CHECKED), replace=False)
    conversation = _conversation(HeadWeights(kernel, None), norm, **settings)
    some, errors = HeadWeights(kernel[:, checked], None), []
    for number, state in enumerate(
        bar(states, f"steps of a head {width}x{vocabulary}")
    ):
        if number == WARMUPS:
            conversation.forget_times()
        logits = conversation.ask(state)[checked]
        errors.append(float(np.abs(logits - _logits(some, state)).max()))
    return _costs(conversation, errors)


def _conversation(
    weights: HeadWeights, norm: float, *, profile: str, minimise: str
) -> Conversation:
    """Both parties of an encrypted head, for states of norm at most `norm`."""
    with stage("encoding the head"):
        provider = Provider(
            weights.kernel,
            weights.bias,
            input_norm=norm,
            profile=profile,
            policy="logits",  # so that tokens equal those in the clear
            minimise=minimise,
        )
        return Conversation(Client(profile), provider)


def _logits(weights: HeadWeights, state: np.ndarray) -> np.ndarray:
    """[V] float64 in the clear."""
    bias = 0.0 if weights.bias is None else weights.bias.astype(np.float64)
    return state @ weights.kernel.astype(np.float64) + bias


def _costs(conversation: Conversation, errors: Iterable[float]) -> StepCosts:
    medians = {name: float(np.median(conversation.seconds[name])) for name in STAGES}
    return StepCosts(
        medians, conversation.query_bytes, conversation.answer_bytes, max(errors)
    )
