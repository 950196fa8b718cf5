"""-log p of a text after another text; no state has seen what it predicts.

The source reads a text; the target's head predicts each of its own tokens from the last
source token that ends at or before the beginning of that token. If both share a
tokenizer, this is the token before it, and everything follows lm-evaluation-harness:

* White space at the end of a prompt is moved to the ending. Prompt + ending is encoded
  as one text; its first tokens, as many as the prompt alone has, are not scored. They
  are replaced by those of the prompt alone, which differ where a token spans prompt and
  ending.
* A text begins with the special tokens that its tokenizer puts there. If there are
  none, the first scored token follows a prefix: the beginning-of-text token, or else
  the end-of-text token. If the tokenizer names neither, the text is refused.
* A text that is too long is cut at its beginning, special tokens included.
* A rolling text is scored whole, in windows that share one token of context (the
  last window is as long as it can be).

Special tokens that a tokenizer puts after a text are left out. Between two tokenizers
the source reads prompt + ending as one text, and a source token inside a character
counts as having read the whole of it.

Reference: Gao et al., lm-evaluation-harness 0.4.13 (`_encode_pair`, `loglikelihood`,
  `get_rolling_token_windows`), https://github.com/EleutherAI/lm-evaluation-harness.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from helix_jax.activations.gather import text_starts
from helix_jax.activations.token_states import token_states
from helix_jax.generation.heads import ArmStates, Head, head_of
from helix_jax.generation.metrics import ENTRIES_AT_ONCE, negative_log_p
from helix_jax.generation.prompt import leading_tokens
from helix_jax.generation.stitch import Stitch
from helix_jax.text.tokens import private_tokenizer, tokenizer_fingerprint
from helix_jax.types import Array

UNBOUNDED = 1 << 20


class Asked(NamedTuple):
    """Tokens of one text that are scored.

    Attributes:
      ids: source tokens of the text and of what precedes it.
      places: [M] int, the index in `ids` whose state predicts each of them.
      labels: [M] int, the target tokens.
    """

    ids: list[int]
    places: np.ndarray
    labels: np.ndarray


def continuation_nats(
    parts: Stitch,
    source_tokenizer: Any,
    target_tokenizer: Any,
    prompts: Sequence[str],
    endings: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each ending after its prompt; see the top of this file.

    Args:
      parts: a stitch, or `native(model)` with the model's tokenizer twice.
      source_tokenizer, target_tokenizer: of its two models.
      prompts, endings: N strings each; a prompt may be empty.

    Returns:
      [N] float64, nats; [N] bool, whether every token of the ending is the likeliest.

    Raises:
      ValueError: an ending has no token of its own or exceeds the models' context, or
        there is nothing to put before the first token of a text.
    """
    moved = [_move_spaces(prompt, end) for prompt, end in zip(prompts, endings)]
    contexts = _Texts.of(target_tokenizer, [prompt for prompt, _ in moved])
    whole = ["".join(pair) for pair in moved]
    room, asked = _room(parts), []
    for number, request in enumerate(
        _asked(source_tokenizer, target_tokenizer, whole, contexts.ids)
    ):
        end = int(request.places.max(initial=-1)) + 1
        start = max(0, end - room)
        if not end or request.places.min() < start:
            fault = "has no separate token in the target's tokenizer; give it text, "
            fault += "and cut the two between words."
            if end:
                fault = (
                    f"needs {end - request.places.min()} tokens, and the models read "
                )
                fault += f"{room}; shorten it."
            raise ValueError(
                f"the ending {endings[number]!r} after the prompt "
                f"{prompts[number][-80:]!r} {fault}"
            )
        asked.append(
            Asked(request.ids[start:end], request.places - start, request.labels)
        )
    return _score(parts, asked)


def rolling_nats(
    parts: Stitch, source_tokenizer: Any, target_tokenizer: Any, texts: Sequence[str]
) -> np.ndarray:
    """-log p of whole texts, each token scored once; see the top of this file.

    Args:
      parts, source_tokenizer, target_tokenizer: as for `continuation_nats`.
      texts: N strings; an empty one has 0 nats.

    Returns:
      [N] float64, nats.

    Raises:
      ValueError: there is nothing to put before the first token of a text.
    """
    room, windows, owners = _room(parts), [], []
    nothing: list[list[int]] = [[]] * len(texts)
    for number, request in enumerate(
        _asked(source_tokenizer, target_tokenizer, texts, nothing)
    ):
        total = int(request.places.max(initial=-1)) + 1
        for start in range(0, total, room):
            inside = (request.places >= start) & (request.places < start + room)
            end = min(start + room, total)
            first = max(0, end - room)
            windows.append(
                Asked(
                    request.ids[first:end],
                    request.places[inside] - first,
                    request.labels[inside],
                )
            )
            owners.append(number)
    nats = _score(parts, windows)[0] if windows else np.zeros(0)
    return np.bincount(np.array(owners, int), nats, len(texts))


class _Texts(NamedTuple):
    """Tokens of some texts, without special tokens around them.

    Attributes:
      ids: of each text.
      ends: [tokens] int for each text, the character up to which a token has read.
      begins: [tokens] int for each text, the character at which a token begins.
    """

    ids: list[list[int]]
    ends: list[np.ndarray]
    begins: list[np.ndarray]

    @classmethod
    def of(cls, tokenizer: Any, texts: Sequence[str]) -> "_Texts":
        backend = private_tokenizer(tokenizer, max_tokens=UNBOUNDED)
        backend.no_truncation()
        ids, ends, begins = [], [], []
        for encoding in backend.encode_batch(list(texts), add_special_tokens=False):
            spans = np.array(encoding.offsets, int).reshape(-1, 2)
            read = np.maximum.accumulate(spans[:, 1])
            ids.append(encoding.ids)
            ends.append(read)
            # A token inside a character begins before it, not where the last one ended.
            begins.append(np.minimum(np.append(0, read)[: len(read)], spans[:, 0]))
        return cls(ids, ends, begins)


def _asked(
    source_tokenizer: Any,
    target_tokenizer: Any,
    texts: Sequence[str],
    contexts: Sequence[list[int]],
) -> list[Asked]:
    """The scored tokens of each text: those after the tokens of its context."""
    x = _Texts.of(source_tokenizer, texts)
    y = x
    fingerprints = map(tokenizer_fingerprint, (source_tokenizer, target_tokenizer))
    equal = len(set(fingerprints)) == 1
    if not equal:
        y = _Texts.of(target_tokenizer, texts)
    requests = []
    for number, context in enumerate(contexts):
        ids, labels = x.ids[number], np.array(y.ids[number], int)
        first = len(context)
        if equal:
            ids = [*context, *ids[first:]]
        front = list(leading_tokens(source_tokenizer))
        spelled = [front or _prefix(source_tokenizer), _prefix(target_tokenizer)]
        # A prefix that the text itself spells is neither repeated nor scored.
        front = [] if spelled[0] and ids[: len(spelled[0])] == spelled[0] else front
        if not first and spelled[1] and labels[:1].tolist() == spelled[1]:
            first = 1
        asked = np.arange(first, len(labels))
        if equal:
            places = asked - 1
        else:
            begins = y.begins[number][asked]
            places = np.searchsorted(x.ends[number], begins, side="right") - 1
        if not front and places.min(initial=0) < 0:
            front = spelled[0]
            if not front:
                raise ValueError(
                    f"the first token of {texts[number]!r} has nothing before it: the "
                    "source's tokenizer names neither a beginning nor an end of text. "
                    "Give a prompt, or set bos_token."
                )
        requests.append(Asked([*front, *ids], places + len(front), labels[asked]))
    return requests


def _prefix(tokenizer: Any) -> list[int]:
    """The beginning-of-text token, or else the end-of-text token, if one is named."""
    names = (tokenizer.bos_token, tokenizer.eos_token)
    name = next((name for name in names if name is not None), None)
    index = None if name is None else tokenizer.backend_tokenizer.token_to_id(name)
    return [] if index is None else [index]


def _move_spaces(prompt: str, ending: str) -> tuple[str, str]:
    kept = prompt.rstrip()
    return kept, prompt[len(kept) :] + ending


def _room(parts: Stitch) -> int:
    return min(part.spec.max_tokens for part in (parts.source, parts.target))


def _score(parts: Stitch, asked: Sequence[Asked]) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each text, and whether all its tokens are the likeliest."""
    for request in asked:
        both = ((parts.source, request.ids), (parts.target, request.labels))
        for side, tokens in both:
            if max(tokens, default=0) >= side.spec.vocab_size:
                raise ValueError(
                    f"a text holds token {max(tokens)} of a model that embeds "
                    f"{side.spec.vocab_size}; remove it from the text."
                )
    ids = [request.ids for request in asked]
    states = token_states(ArmStates(parts, (parts.map,)), ids, 4096)[0]
    starts = text_starts(ids)
    rows = np.concatenate([at + request.places for at, request in zip(starts, asked)])
    labels = np.concatenate([request.labels for request in asked])
    owners = np.repeat(
        np.arange(len(asked)), [len(request.labels) for request in asked]
    )
    head, scores = head_of(parts.target), []
    at_once = max(1, ENTRIES_AT_ONCE // parts.target.spec.vocab_size)
    for first in range(0, len(rows), at_once):
        part = slice(first, first + at_once)
        short = at_once - len(rows[part])
        taken, following = (
            np.pad(column[part], (0, short)) for column in (rows, labels)
        )
        scored = _scored(head, states[taken], following)
        scores.append([np.asarray(column)[: at_once - short] for column in scored])
    nats, likeliest = (np.concatenate(column) for column in zip(*scores))
    misses = np.bincount(owners, ~likeliest, len(asked))
    return np.bincount(owners, nats, len(asked)), misses == 0


@jax.jit
def _scored(head: Head, states: Array, following: Array) -> tuple[Array, Array]:
    """-log p of the following tokens, and whether they are the likeliest."""
    logits = head(states)
    return negative_log_p(logits, following), logits.argmax(-1) == following
