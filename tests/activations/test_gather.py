"""Batches put together again, against one text at a time."""

import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.activations.batching import length_ladder, plan_batches
from helix_jax.activations.gather import gather_states, text_starts


@pytest.fixture
def ids():
    rng = np.random.default_rng(0)
    return [rng.integers(1, 99, size=size).tolist() for size in [3, 31, 1, 8, 30] * 9]


def batches_of(ids):
    lengths = np.array(list(map(len, ids)))
    return plan_batches(lengths, ladder=length_ladder(32), token_budget=96)


def powers(tokens):
    """[n = 2, .., D = 3] of tokens [..]."""
    tokens = jnp.asarray(tokens, jnp.float32)
    return jnp.stack([jnp.stack([k * tokens**p for p in range(3)], -1) for k in (1, 2)])


def test_rows_of_tokens_are_those_of_one_text_at_a_time(ids):
    found = gather_states(
        lambda tokens, lengths: powers(tokens), ids, batches_of(ids), token_rows=True
    )
    np.testing.assert_array_equal(found, powers(np.concatenate(ids)))
    assert text_starts(ids).tolist() == [0, *np.cumsum(list(map(len, ids)))]


def test_rows_of_texts_know_nothing_of_padding(ids):
    def total(tokens, lengths):
        held = np.arange(tokens.shape[1]) < lengths[:, None]
        return jnp.sum(powers(tokens) * held[None, ..., None], axis=2)

    assert len(batches_of(ids)) > 4  # more than are in flight
    found = gather_states(total, ids, batches_of(ids))
    want = np.stack([powers(np.array(own)).sum(1) for own in ids], axis=1)
    np.testing.assert_array_equal(found, want)
