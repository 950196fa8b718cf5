"""Questions about a text, answered by the first token of each ending after its cache.

    text, truncated | question | the likeliest of the endings' first tokens

The prompt is text and question; an arm answers from its cache of it.

Reference: likelihood of the choice: Hendrycks et al. 2021, arXiv 2009.03300, section 4.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from helix_jax.caches.measures import continuation_logits, continuation_tokens
from helix_jax.caches.prompts import Prompts, PromptShape, make_prompts
from helix_jax.errors import CorpusError
from helix_jax.models import KeyValueCache, Model
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.text.hashing import document_of
from helix_jax.text.tokens import encode_texts, private_tokenizer
from helix_jax.types import Text


class Choices(NamedTuple):
    """N questions with one list of endings.

    Attributes:
      prompts: whose last tokens are the question.
      answers: [N] int, index of the right ending.
      endings: [E] int32, first target token of each ending.
    """

    prompts: Prompts
    answers: np.ndarray
    endings: np.ndarray


def make_choices(
    texts: Iterable[Text],
    tokenizers: tuple[Any, Any],
    *,
    question: str,
    endings: Sequence[str],
    tokens: int,
    count: int,
    opening: int = 4,
    closing: int = 1,
    rule: str = "after",
) -> Choices:
    """Questions about the first texts that are long enough.

    Args:
      texts: with labels, which are indices of `endings`.
      tokenizers: of the source and of the target.
      question: after each text.
      endings: after the question, one per label, such as " sports".
      tokens: target tokens that a text is truncated to, including special ones.
      count: most questions.
      opening, closing, rule: as for `PromptShape`.

    Raises:
      CorpusError: two endings have the same first token, or fewer than two texts are
        long enough.
    """
    backend = private_tokenizer(tokenizers[1], max_tokens=1 << 20)
    asked = encode_texts(backend, [f"a{question}{end}" for end in endings]).ids
    bare = encode_texts(backend, [f"a{question}"]).ids[0]
    firsts = [own[len(bare)] for own in asked if own[: len(bare)] == bare]
    if len(set(firsts)) < len(endings):
        raise CorpusError(
            f"the endings {list(endings)} do not all begin with different tokens "
            "of the target's tokenizer; give endings that do."
        )
    last = bare[-1:]
    length = len(bare) - len(encode_texts(backend, ["a"]).ids[0])
    written, labels = [], {}
    for text in texts:
        (ends,) = encode_texts(backend, [text.text], with_ends=True).known_ends
        if text.label is None or len(ends) <= tokens:
            continue
        cut = text.text[: int(ends[tokens - 1])]
        labels[text.id] = text.label
        written.append(Text(text.id, cut + question + endings[text.label]))
        if len(written) == 2 * count:
            break
    shape = PromptShape(tokens + length, 1, opening, closing, rule)
    prompts = make_prompts(written, tokenizers, shape, count=2 * count)
    answers = np.array([labels[name] for name in prompts.ids])
    # If a token spans text and question, the prompt does not end with the question.
    whole = (prompts.target[:, -1:] == last).all(1)
    whole &= prompts.continuation[:, 0] == np.array(firsts)[answers]
    rows = np.flatnonzero(whole)[:count]
    if len(rows) < 2:
        raise CorpusError(
            f"{len(rows)} texts of {tokens} tokens keep their question apart; use "
            "longer texts, or another question."
        )
    return Choices(prompts.rows(rows), answers[rows], np.array(firsts, np.int32))


def right_choices(
    model: Model, caches: Mapping[str, KeyValueCache], choices: Choices
) -> dict[str, np.ndarray]:
    """arm -> [B] bool, whether the target chooses correctly after each cache.

    Args:
      model: the target.
      caches: arm -> its cache of the prompts.
      choices: B questions.
    """
    read, _ = continuation_tokens(choices.prompts)
    right = {}
    for arm, cache in caches.items():
        logits = continuation_logits(model.params, cache, read, spec=model.spec)
        of_endings = logits[:, -1][:, jnp.asarray(choices.endings)]
        right[arm] = np.asarray(of_endings).argmax(-1) == choices.answers
    return right


def choice_numbers(
    right: Mapping[str, np.ndarray], choices: Choices, *, resamples: int
) -> dict[str, float | Interval]:
    """caches/choice_accuracy_ARM, and that of always giving the most frequent
    answer."""
    documents = [document_of(name) for name in choices.prompts.ids]
    numbers: dict[str, float | Interval] = {
        f"caches/choice_accuracy_{arm}": bootstrap_interval(
            values, documents, resamples=resamples
        )
        for arm, values in right.items()
    }
    common = np.bincount(choices.answers).argmax()
    numbers["caches/choice_accuracy_commonest"] = float(
        np.mean(choices.answers == common)
    )
    numbers["caches/questions"] = len(documents)
    return numbers
