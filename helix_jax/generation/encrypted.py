"""Text by an output head that stays with its owner, who sees neither text nor states.

    client:   h = map(source(text));  message = encrypt(h)
    provider: answer = message head + bias        (on ciphertexts, helix_jax.private)
    client:   token = choose(softcap(decrypt(answer)))

The client holds the source, the map and both tokenizers; of the target it knows what
`HeadOffer` says. Each side learns as much as in the encrypted layer (docs/private.md):
the client learns the logits that it asks for, so that d + 1 of its tokens determine the
kernel; a policy or a budget of the provider limits this.

Reference: ours; the layer: arXiv 2603.18908, section on inference.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.generation.generate import (
    GREEDY,
    Generated,
    generated_from,
    reader_tables,
)
from helix_jax.generation.guesses import make_rules
from helix_jax.generation.prompt import read_prompt, stop_ids
from helix_jax.generation.rows import Row, absorb, bounds_of, check_lengths, kept_tokens
from helix_jax.generation.sampling import (
    Sampling,
    choose_tokens,
    process_logits,
    uniform_draws,
)
from helix_jax.generation.stitch import Part, Stitch, run_source
from helix_jax.models import Model, empty_cache, rewind
from helix_jax.models.cache import KeyValueCache
from helix_jax.models.layers import softcap
from helix_jax.types import Array

LADDER = (1, 4, 16, 64, 256)  # widths of chunks: few, so that little is compiled


class HeadWeights(NamedTuple):
    """The provider's secret.

    Attributes:
      kernel: [dy, V] float32.
      bias: [V] float32, or None.
    """

    kernel: np.ndarray
    bias: np.ndarray | None


class HeadOffer(NamedTuple):
    """The public description of a head.

    Attributes:
      vocabulary: V.
      softcap: c in c tanh(x / c), which the client applies; None: no soft cap.
    """

    vocabulary: int
    softcap: float | None


def head_weights(target: Model) -> tuple[HeadWeights, HeadOffer]:
    """The output head of a model as a linear layer on its normed last states.

    The layer's results are the logits before the soft cap; it includes `logit_scale`.

    Raises:
      ValueError: the model has no head, or one that is not linear.
    """
    spec, params = target.spec, target.params
    if spec.head != "linear":
        raise ValueError(
            f"head_weights: the head of this {spec.family} is {spec.head}; a linear "
            "one is needed."
        )
    kernel = params["embed"].T if spec.tied else params["head"]["kernel"]
    kernel = np.asarray(kernel, np.float32)
    if spec.embed_width is not None:
        out = params["embed_out"]
        if "bias" in out:
            raise ValueError("head_weights: a projection with a bias is not supported.")
        kernel = np.asarray(out["kernel"], np.float32) @ kernel
    bias = np.asarray(params["head"]["bias"], np.float32) if spec.head_bias else None
    scale = np.float32(1.0 if spec.logit_scale is None else spec.logit_scale)
    weights = HeadWeights(kernel * scale, None if bias is None else bias * scale)
    return weights, HeadOffer(spec.vocab_size, spec.logit_softcap)


def generate_encrypted(
    source: Part,
    map: Any,
    offer: HeadOffer,
    ask: Callable[[np.ndarray], np.ndarray],
    source_tokenizer: Any,
    target_tokenizer: Any,
    prompt: str,
    *,
    max_new_tokens: int = 128,
    sampling: Sampling = GREEDY,
    key: Array | None = None,
    stop_tokens: Sequence[int | str] = (),
    stop_strings: Sequence[str] = (),
) -> Generated:
    """Continue a prompt; equal to `generate` up to the error of the encrypted logits.

    Args:
      source: the part of a stitch that reads the text.
      map: to the target's normed last states.
      offer: from the provider.
      ask: [dy] float64 state -> [V] logits, by encryption and the provider.
      source_tokenizer, target_tokenizer: of the two models.
      prompt: a text.
      max_new_tokens, sampling, key, stop_tokens, stop_strings: as in `generate`.

    Returns:
      Generated.

    Raises:
      ValueError: as `generate`; a repetition penalty, which is not supported.
    """
    if sampling.repetition_penalty != 1:
        raise ValueError("generate_encrypted: a repetition penalty is not supported.")
    key = jax.random.key(0) if key is None else key
    size = offer.vocabulary
    sizes = source.spec.vocab_size, size
    tokenizers = source_tokenizer, target_tokenizer
    reader, guesses = reader_tables(*tokenizers, sizes, native=False)
    reading = read_prompt(
        reader,
        source_tokenizer,
        prompt,
        chat=False,
        special_tokens=False,
        where="prompt",
    )
    row = Row(reading, begin=len(reading.text))
    bounds = bounds_of(Stitch(source, source, None), max_new_tokens, stop_strings)
    check_lengths([row], bounds)
    stops = stop_ids(*tokenizers, size, extra=stop_tokens, chat=False)
    rules = make_rules(guesses, stops=stops)
    cache = empty_cache(
        source.spec,
        1,
        _slots(len(reading.ids), max_new_tokens, bounds.context),
        source.params["embed"].dtype,
    )
    fed: list[int] = []
    while row.reason is None:
        keep = kept_tokens(fed, row.reading.ids, bounds)
        row.repairs += keep < len(fed)
        if len(row.reading.ids) > cache.mask.shape[1]:
            raise ValueError(
                f"generate_encrypted: the text has {len(row.reading.ids)} source "
                f"tokens, room was made for {cache.mask.shape[1]}."
            )
        state, cache = _feed(source, map, cache, keep, row.reading.ids[keep:])
        fed = list(row.reading.ids)
        logits = softcap(jnp.asarray(ask(state), jnp.float32), offer.softcap)[None]
        draws = None
        if sampling.temperature > 0:
            draws = uniform_draws(key, np.array([0]), np.array([len(row.tokens)]))
        token = _choose(logits, rules.suppressed, draws, sampling)
        absorb(row, token, reader, rules.stops[token], bounds)
    return generated_from(row)


def _slots(prompt: int, new: int, context: int) -> int:
    """Slots of the cache: four source tokens for each target token, which suffice for
    every pair of real tokenizers; the worst case is one for each byte."""
    slots = 64
    while slots < min(prompt + 4 * new, context):
        slots *= 2
    return min(slots, context)


def _feed(
    source: Part, map: Any, cache: KeyValueCache, keep: int, ids: Sequence[int]
) -> tuple[np.ndarray, KeyValueCache]:
    """Rewind to `keep` tokens and feed `ids`; the mapped state [dy] of the last one."""
    state = None
    for begin in range(0, len(ids), LADDER[-1]):
        part = ids[begin : begin + LADDER[-1]]
        width = next(size for size in LADDER if size >= len(part))
        chunk = np.zeros((1, width), np.int32)
        chunk[0, : len(part)] = part
        state, cache = _fed(
            source, map, cache, np.int32(keep + begin), chunk, np.int32(len(part))
        )
    return np.asarray(state, np.float64), cache


@partial(jax.jit, donate_argnames="cache")
def _fed(
    source: Part,
    map: Any,
    cache: KeyValueCache,
    keep: Array,
    chunk: Array,
    count: Array,
) -> tuple[Array, KeyValueCache]:
    cache = rewind(cache, keep[None])
    mask = jnp.arange(chunk.shape[1])[None] < count
    h, cache = run_source(source, map, chunk, mask, cache)
    return h[0, count - 1], rewind(cache, (keep + count)[None])


def _choose(
    logits: Array, suppressed: Array, draws: Array | None, sampling: Sampling
) -> int:
    processed = process_logits(logits, suppressed, None, sampling)
    return int(choose_tokens(processed, draws, sampling)[0])
