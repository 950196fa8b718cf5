"""One state per text and layer: the mean of the raw residual stream over its tokens.

The first token is left out. In most decoders its state is the same whatever it is, and
hundreds of times as long as all others, so that a mean would hold little else.

Reference: Xiao et al. 2023 (attention sinks), arXiv 2309.17453; Sun et al. 2024
  (massive activations), arXiv 2402.17762.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.activations.gather import text_starts
from helix_jax.activations.token_states import LayerStates, token_states
from helix_jax.errors import CorpusError
from helix_jax.models import Model, resolve_layers
from helix_jax.progress import bar
from helix_jax.text.tokens import encode_texts, private_tokenizer
from helix_jax.types import Text

SKIPPED = 1  # tokens at the beginning of a text
TEXTS_AT_ONCE = 1024


class TextStates(NamedTuple):
    """States of N texts at n layers.

    Attributes:
      rows: [n, N, D] float32, means over the tokens of each text.
      scale: [n] float64, the median length of a token's state.
    """

    rows: np.ndarray
    scale: np.ndarray


def read_text_states(
    model: Model,
    tokenizer: Any,
    texts: Sequence[Text],
    layers: Sequence[int],
    *,
    max_tokens: int,
    token_budget: int = 1024,
) -> TextStates:
    """States of some texts at some layers, in one pass.

    Args:
      model, tokenizer: that read them.
      texts: N texts.
      layers: n layers, 0 the embedding, -1 the last.
      max_tokens: longer texts are truncated.
      token_budget: tokens per forward pass, padding included.

    Returns:
      TextStates.

    Raises:
      CorpusError: no texts, or one without tokens.
      ValueError: a layer that does not exist.
    """
    if not texts:
        raise CorpusError("read_text_states: needs one text or more, got none.")
    layers = resolve_layers(model.spec, layers)
    states = LayerStates(model.params, model.spec, layers, normed=False)
    limit = min(max_tokens, model.spec.max_tokens)
    backend = private_tokenizer(tokenizer, max_tokens=limit)
    rows, lengths = [], []
    starts = range(0, len(texts), TEXTS_AT_ONCE)
    for start in bar(starts, "states of texts", total=len(starts)):
        some = texts[start : start + TEXTS_AT_ONCE]
        ids = encode_texts(backend, [text.text for text in some]).ids
        for text, own in zip(some, ids):
            if not own:
                raise CorpusError(f"the text {text.id!r} has no tokens; leave it out.")
        found = token_states(states, ids, token_budget)
        ends = text_starts(ids)
        # A text of one token has no other state than that.
        begins = np.minimum(ends[:-1] + SKIPPED, ends[1:] - 1)
        for begin, end in zip(begins, ends[1:]):
            part = found[:, begin:end]
            rows.append(part.mean(axis=1))
            lengths.append(np.linalg.norm(part, axis=-1))
    scale = np.median(np.concatenate(lengths, axis=1), axis=1)
    return TextStates(np.stack(rows, axis=1), scale.astype(np.float64))
