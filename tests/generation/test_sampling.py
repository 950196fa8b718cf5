"""Every step against transformers' logits processors; the draw against its law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from helix_jax.generation import Sampling
from helix_jax.generation.sampling import choose_tokens, process_logits, uniform_draws

LOGITS = np.random.default_rng(0).normal(size=(5, 300)).astype(np.float32) * 4
PROMPT = np.random.default_rng(1).integers(0, 300, (5, 40))
NONE = jnp.zeros(300, bool)


def seen():
    table = np.zeros((5, 300), bool)
    table[np.arange(5)[:, None], PROMPT] = True
    return jnp.asarray(table)


@pytest.mark.parametrize("temperature", [0.7, 1.9])
@pytest.mark.parametrize("top_k", [0, 1, 17, 300, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 1e-6])
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_equal_to_transformers(temperature, top_k, top_p, penalty):
    sampling = Sampling(temperature, top_k, top_p, penalty)
    steps = [TemperatureLogitsWarper(temperature)]
    if penalty != 1:
        steps.insert(0, RepetitionPenaltyLogitsProcessor(penalty))
    if top_k:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        steps.append(TopPLogitsWarper(top_p))
    theirs = torch.tensor(LOGITS)
    for step in steps:
        theirs = step(torch.tensor(PROMPT), theirs)
    run = jax.jit(process_logits, static_argnums=3)
    ours = np.asarray(run(LOGITS, NONE, seen(), sampling))
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs.numpy()))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


def test_draws_follow_the_distribution():
    """100,000 draws: frequencies within five standard errors, nothing ruled out."""
    sampling = Sampling(temperature=1.0)
    logits = jnp.asarray(LOGITS[:1] / 4).at[0, 7].set(-jnp.inf)
    count = 100_000
    draws = uniform_draws(jax.random.key(0), jnp.zeros(count, int), jnp.arange(count))
    chosen = jax.lax.map(lambda u: choose_tokens(logits, u[None], sampling)[0], draws)
    found = np.bincount(np.asarray(chosen), minlength=300) / count
    law = np.asarray(jax.nn.softmax(logits[0]))
    assert found[7] == 0
    assert (np.abs(found - law) < 5 * np.sqrt(law / count) + 1e-9).all()


def test_every_row_and_step_has_a_draw_of_its_own():
    rows, steps = np.divmod(np.arange(64), 8)
    draws = np.asarray(uniform_draws(jax.random.key(0), rows, steps))
    assert len(np.unique(draws)) == 64
    again = np.asarray(uniform_draws(jax.random.key(0), rows[::-1], steps[::-1]))
    np.testing.assert_array_equal(again[::-1], draws)
    assert not np.isin(uniform_draws(jax.random.key(1), rows, steps), draws).any()


def test_the_ends_of_the_unit_interval():
    logits = jnp.asarray([[-jnp.inf, 0.0, -jnp.inf, 1.0, -jnp.inf]])
    for draw, expected in ((0.0, 1), (np.nextafter(np.float32(1), 0), 3)):
        token = choose_tokens(logits, jnp.array([draw], jnp.float32), Sampling(1.0))
        assert token[0] == expected


def test_greedy_takes_the_first_of_equals():
    logits = jnp.asarray([[0.0, 2.0, 2.0], [5.0, 5.0, 1.0]])
    processed = process_logits(logits, jnp.array([0, 0, 0], bool), None, Sampling())
    assert choose_tokens(processed, None, Sampling()).tolist() == [1, 0]
    processed = process_logits(logits, jnp.array([1, 0, 0], bool), None, Sampling())
    assert choose_tokens(processed, None, Sampling()).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        Sampling(**{name: value})
