"""The slow reference: the whole text encoded anew, the whole model run, at each step.

It shares the forward pass and the sampling steps with what it checks, nothing else: the
rule for bytes is written down here a second time, the encoding is transformers'.
"""

import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.generation import Sampling, read_head, run_stitch
from helix_jax.generation.sampling import choose_tokens, process_logits, uniform_draws
from helix_jax.text.token_bytes import token_bytes

ENDS = [
    bytes(end)
    for size in (1, 2, 3)
    for end in itertools.product((0x80, 0x90, 0xA0), repeat=size)
]


def split_bytes(data: bytes) -> tuple[str, bytes]:
    """Whole characters, and the bytes at the end that may yet become one."""
    for size in (3, 2, 1):
        head, tail = data[:-size], data[-size:]
        if len(tail) == size and any(_is_character(tail + end) for end in ENDS):
            return head.decode("utf-8", "replace"), tail
    return data.decode("utf-8", "replace"), b""


@cache
def byte_ids(tokenizer) -> list[int]:
    return token_bytes(tokenizer).byte_ids.tolist()


def source_ids(tokenizer, data: bytes) -> list[int]:
    text, tail = split_bytes(data)
    single = [byte_ids(tokenizer)[byte] for byte in tail]
    if min(single, default=0) < 0:
        text, single = text + "\ufffd", []
    return tokenizer(text, split_special_tokens=True)["input_ids"] + single


@partial(jax.jit, static_argnames="sampling")
def _pick(parts, tokens, length, suppressed, seen, draw, *, sampling):
    mask = jnp.arange(tokens.shape[1])[None] < length
    states, _ = run_stitch(parts, tokens, mask)
    logits = read_head(parts, states[:, length - 1])
    return choose_tokens(
        process_logits(logits, suppressed, seen, sampling), draw, sampling
    )


def slow_generate(
    parts,
    source,
    target,
    prompt,
    *,
    row=0,
    max_new_tokens=20,
    sampling=None,
    key=None,
    slots=128,
):
    """Target ids, as `generate` gives them for prompt number `row`."""
    sampling, key = sampling or Sampling(), jax.random.key(0) if key is None else key
    pieces = token_bytes(target).pieces
    size = parts.target.spec.vocab_size
    stops = [target.eos_token_id, target.bos_token_id]
    silent = np.ones(size, bool)
    silent[: len(pieces)] = [piece is None for piece in pieces]
    silent[stops] = False
    data, chosen = prompt.encode(), []
    seen = np.zeros((1, size), bool)
    seen[0, target(prompt)["input_ids"]] = True
    ids = source_ids(source, data)
    while len(chosen) < max_new_tokens and len(ids) <= slots:
        tokens = np.zeros((1, slots), np.int32)
        tokens[0, : len(ids)] = ids
        draw = uniform_draws(key, jnp.array([row]), jnp.array([len(chosen)]))
        token = int(
            _pick(parts, tokens, len(ids), silent, seen, draw, sampling=sampling)[0]
        )
        chosen.append(token)
        seen[0, token] = True
        if token in stops:
            break
        data += pieces[token]
        ids = source_ids(source, data)
    return chosen


def _is_character(data: bytes) -> bool:
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False
