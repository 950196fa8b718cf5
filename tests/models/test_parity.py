"""Every family against its transformers twin: states of every layer, logits, cache.

Tolerance: 1e-4 absolute, on states of order one to ten. Observed: below 1e-5; nemotron,
whose squared relu makes states of up to 32, 3e-5.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.models import apply_model, empty_cache, load_model, rewind
from helix_jax.models.layers import normalise

from ..conftest import cases, slow_but
from .twins import (
    DECODERS,
    FROM_PADDING,
    QUICK,
    TWINS,
    VOCABULARY,
    build_twin,
    twin_states,
)

TOLERANCE = 1e-4
LENGTHS = (12, 7, 1, 4)
forward = jax.jit(
    apply_model, static_argnames=("spec", "layers", "final_norm", "logits")
)


def padded(side: str, lengths=LENGTHS) -> np.ndarray:
    """[B, T] bool; T is the longest length."""
    slots = np.arange(max(lengths))[None, :]
    count = np.asarray(lengths)[:, None]
    return {
        "none": np.ones((len(lengths), max(lengths)), bool),
        "right": slots < count,
        "left": slots >= max(lengths) - count,
    }[side]


def random_tokens(model, mask: np.ndarray, seed: int) -> np.ndarray:
    tokens = np.random.default_rng(seed).integers(3, VOCABULARY, mask.shape)
    # Roberta and its kin find their padding by id.
    return np.where(mask, tokens, 1 if model.spec.family in FROM_PADDING else 0)


def all_states(model, tokens, mask, cache=None):
    """Raw states of every layer, logits where there are any, cache."""
    layers = tuple(range(model.spec.num_layers + 1))
    return forward(
        model.params,
        model.spec,
        jnp.asarray(tokens),
        jnp.asarray(mask),
        layers=layers,
        final_norm=False,
        logits=model.spec.head is not None,
        cache=cache,
    )


def normed_last(model, raw):
    """The last of all raw states behind the final norm."""
    spec = model.spec
    if not spec.final_norm:
        return raw[-1]
    return normalise(model.params.get("final_norm", {}), raw[-1], spec)


def worst(ours, theirs, mask) -> float:
    """Largest difference at tokens."""
    return float(np.abs(np.asarray(ours)[mask] - np.asarray(theirs)[mask]).max())


@pytest.mark.parametrize("name", slow_but(QUICK, TWINS))
def test_states_and_logits_equal_the_twin(twin, name):
    theirs, model = twin(name)
    for side in ("none", "right", "left"):
        mask = padded(side)
        tokens = random_tokens(model, mask, seed=len(side))
        states, logits = twin_states(theirs, tokens, mask)
        out = all_states(model, tokens, mask)
        ours = [*out.hidden[:-1], normed_last(model, out.hidden)]
        assert len(states) == len(ours) == model.spec.num_layers + 1
        for layer, (own, other) in enumerate(zip(ours, states)):
            assert worst(own, other, mask) < TOLERANCE, f"{side}, layer {layer}"
        assert (out.logits is None) == (logits is None)
        if logits is not None:
            assert worst(out.logits, logits, mask) < TOLERANCE, f"{side}, logits"


@pytest.mark.parametrize("name", ["llama", "gpt2", "olmo", "bert"])
def test_states_behind_the_final_norm_by_default(twin, name):
    _, model = twin(name)
    mask = padded("right")
    tokens = random_tokens(model, mask, seed=1)
    raw = all_states(model, tokens, mask).hidden
    last = forward(model.params, model.spec, jnp.asarray(tokens), jnp.asarray(mask))
    assert worst(last.hidden[0], normed_last(model, raw), mask) < TOLERANCE


@pytest.mark.parametrize("side", cases(["left"], "right"))
@pytest.mark.parametrize("name", slow_but(QUICK, DECODERS))
def test_cached_equals_uncached(twin, name, side):
    """Padded prompts, then token by token, then rewound and on with other tokens."""
    _, model = twin(name)
    # Long-rope prompts are beyond the switch already: keys keep the table that they
    # were made with.
    lengths = (6, 3, 5, 4) if name == "phi3_long" else (6, 2, 1, 4)
    prompts, steps = padded(side, lengths), 6
    mask = np.concatenate([prompts, np.ones((4, steps), bool)], axis=1)
    tokens = random_tokens(model, mask, seed=5)
    whole = all_states(model, tokens, mask)
    cache = empty_cache(model.spec, 4, mask.shape[1])
    pieces = [all_states(model, tokens[:, :6], mask[:, :6], cache)]
    for step in range(6, 12):
        one = slice(step, step + 1)
        pieces.append(all_states(model, tokens[:, one], mask[:, one], pieces[-1].cache))
    hidden = np.concatenate([piece.hidden for piece in pieces], axis=2)
    logits = np.concatenate([piece.logits for piece in pieces], axis=1)
    assert worst(np.moveaxis(hidden, 0, 2), np.moveaxis(whole.hidden, 0, 2), mask) < (
        TOLERANCE
    )
    assert worst(logits, whole.logits, mask) < TOLERANCE

    # Each row goes back to its own slot; what it held after that is forgotten.
    back = np.asarray([6, 9, 7, 11])
    cache = rewind(pieces[-1].cache, back)
    other = random_tokens(model, np.ones((4, 1), bool), seed=6)
    again = all_states(model, other, np.ones((4, 1), bool), cache)
    for row, slot in enumerate(back):
        fresh_tokens = np.concatenate([tokens[row, :slot], other[row]])
        fresh_mask = np.concatenate([mask[row, :slot], [True]])
        # Padded on the right to the width of the batch that is already compiled.
        short = mask.shape[1] - slot - 1
        fresh = all_states(
            model,
            np.tile(np.pad(fresh_tokens, (0, short)), (4, 1)),
            np.tile(np.pad(fresh_mask, (0, short)), (4, 1)),
        )
        assert np.abs(again.logits[row, 0] - fresh.logits[0, slot]).max() < TOLERANCE


@pytest.mark.parametrize("name", ["llama3", "mistral", "gemma3", "gpt2", "bert"])
def test_a_row_does_not_depend_on_its_batch(twin, name):
    _, model = twin(name)
    mask = padded("left")
    tokens = random_tokens(model, mask, seed=7)
    batch = all_states(model, tokens, mask)
    alone = all_states(model, tokens[1:2, -7:], mask[1:2, -7:])
    assert np.abs(batch.hidden[:, 1, -7:] - alone.hidden[:, 0]).max() < TOLERANCE


def test_longrope_switches_row_by_row(twin):
    """Each row as transformers gives it alone: 12 tokens are long here, 2 are not."""
    theirs, model = twin("phi3_long")
    mask = padded("right", (12, 2))
    tokens = random_tokens(model, mask, seed=8)
    out = all_states(model, tokens, mask)
    for row, length in enumerate((12, 2)):
        one = slice(row, row + 1), slice(0, length)
        states, _ = twin_states(theirs, tokens[one], mask[one])
        assert np.abs(out.hidden[1][one] - states[1]).max() < TOLERANCE


@pytest.mark.parametrize("changes", [{}, {"factor": 1.5, "rope_theta": 1e4}])
@pytest.mark.slow
def test_dynamic_rope_row_by_row(tmp_path, changes):
    """Short texts as without it; longer ones by their length, as each is alone."""
    dynamic = {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 4.0} | changes
    settings = {"rope_parameters": dynamic, "max_position_embeddings": 8}
    theirs = build_twin("llama3", **settings)
    theirs.save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    lengths = (30, 5, 8, 9)
    mask = padded("right", lengths)
    tokens = random_tokens(model, mask, seed=9)
    out = all_states(model, tokens, mask)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1), slice(0, length)
        # Its frequencies depend on what it has read before, so each row has its own.
        states, _ = twin_states(
            build_twin("llama3", **settings), tokens[one], mask[one]
        )
        assert np.abs(out.hidden[1][one] - states[1]).max() < TOLERANCE
        plain = build_twin(
            "llama3", rope_parameters={"rope_theta": dynamic["rope_theta"]}
        )
        undone = np.abs(twin_states(plain, tokens[one], mask[one])[0][1] - states[1])
        assert (undone.max() > 10 * TOLERANCE) == (length > 8)
