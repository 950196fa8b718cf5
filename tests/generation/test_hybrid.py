"""Hybrid text equals the slow reference, token for token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.generation import Sampling, generate, state
from helix_jax.generation.generate import reader_tables
from helix_jax.generation.pace import Pace
from helix_jax.text.token_bytes import token_bytes

from ..conftest import cases
from .conftest import wild
from .slow import slow_generate

PROMPTS = [
    "Once upon a time",
    "def f(x):\n    return  x  # naïve café — 日本",
    "Hi",
    "  two spaces, then 🙂",
]
PAIRS = [("neox", "llama"), ("llama", "qwen3")]


def check(parts, source, target, *, tokens=16, prompts=PROMPTS, sampling=None, key=3):
    sampling, key = sampling or Sampling(), jax.random.key(key)
    found = generate(
        parts,
        source,
        target,
        prompts,
        max_new_tokens=tokens,
        sampling=sampling,
        key=key,
    )
    pieces = token_bytes(target).pieces
    for row, (prompt, one) in enumerate(zip(prompts, found)):
        expected = slow_generate(
            parts,
            source,
            target,
            prompt,
            row=row,
            max_new_tokens=tokens,
            sampling=sampling,
            key=key,
        )
        assert one.tokens == expected, f"row {row}: {one}"
        written = b"".join(pieces[token] or b"" for token in one.tokens)
        assert one.text == written.decode("utf-8", "replace")
        assert one.steps == len(one.tokens)
    return found


@pytest.mark.parametrize("seed", cases([0], 1))
@pytest.mark.parametrize("names", cases(PAIRS[:1], PAIRS[1], ("llama", "neox")))
@pytest.mark.slow
def test_wild_maps(pebble, names, seed):
    (a, source), (b, target) = map(pebble, names)
    check(wild(a, b, seed), source, target)


@pytest.mark.parametrize("names", cases(PAIRS[1:], PAIRS[0]))
@pytest.mark.slow
def test_wild_maps_sampled(pebble, names):
    (a, source), (b, target) = map(pebble, names)
    found = check(
        wild(a, b), source, target, sampling=Sampling(temperature=3.0, top_p=0.99)
    )
    assert sum(one.repairs for one in found) > 0


@pytest.mark.parametrize("plan", cases([(1, 1), (5, 2)], (3, 1), (1, 2)))
@pytest.mark.slow
def test_blocks_of_any_length(pebble, monkeypatch, plan):
    """A block may end within the tokens that are fed for one; the next goes on."""
    monkeypatch.setattr(Pace, "plan", lambda self, guesses, most: plan)
    (a, source), (b, target) = map(pebble, PAIRS[0])
    reader_tables.cache_clear()  # as if nothing were learnt
    check(wild(a, b), source, target)


@pytest.mark.slow
def test_a_large_head_is_left_out_where_no_row_chooses(pebble, monkeypatch):
    monkeypatch.setattr(state, "LARGE_HEAD", 0)
    (a, source), (b, target) = map(pebble, PAIRS[0])
    parts = wild(a, b, source_layer=3)  # no other test has compiled this one
    check(parts, source, target)
    empty = state.begin_state(parts, 64, 8, np.zeros((2, 0)), np.zeros(2))
    ids, ones = jnp.full((2, 1), 300), jnp.ones(2, int)
    for wanted in ([False, False], [False, True]):
        fed = state.feed(parts, empty, ids, ones, wanted=jnp.array(wanted))
        assert fed.cache.source.next_slot.tolist() == [1, 1]
        assert bool(jnp.any(fed.logits != 0)) == any(wanted)


@pytest.mark.slow
def test_a_middle_layer_of_the_target(pebble):
    (a, source), (b, target) = map(pebble, PAIRS[0])
    parts = wild(a, b, source_layer=3, target_layer=2, target_norm=False)
    sampling = Sampling(temperature=1.5, top_k=50, repetition_penalty=1.3)
    check(parts, source, target, sampling=sampling)


SMALL, LARGE = "stories260K", "babyllama-tok361"  # vocabularies


@pytest.mark.parametrize(
    ("names", "temperature"),
    cases(
        [((LARGE, SMALL), 0.0), ((SMALL, LARGE), 2.0)],
        ((LARGE, SMALL), 2.0),
        ((SMALL, LARGE), 0.0),
        (("babyllama-tok105", SMALL), 0.0),
        (("babyllama-tok105", SMALL), 2.0),
    ),
)
@pytest.mark.slow
def test_pretrained_pairs(pretrained, names, temperature):
    (a, source), (b, target) = map(pretrained, names)
    check(wild(a, b), source, target, sampling=Sampling(temperature=temperature))


@pytest.mark.slow
def test_batch_and_block_change_nothing(pebble):
    """One row alone, or with a watcher, which makes blocks shorter."""
    (a, source), (b, target) = map(pebble, PAIRS[0])
    parts, sampling = wild(a, b), Sampling(temperature=1.0)
    options = {"max_new_tokens": 24, "sampling": sampling, "key": jax.random.key(1)}
    together = generate(parts, source, target, PROMPTS, **options)
    alone = generate(parts, source, target, PROMPTS[:1], **options)[0]
    pieces = {}
    watched = generate(
        parts,
        source,
        target,
        PROMPTS,
        **options,
        on_text=lambda row, piece: pieces.setdefault(row, []).append(piece),
    )
    assert alone.tokens == together[0].tokens
    assert [one.tokens for one in watched] == [one.tokens for one in together]
    assert ["".join(pieces[row]) for row in range(4)] == [one.text for one in watched]
    assert len(pieces[0]) > 2
