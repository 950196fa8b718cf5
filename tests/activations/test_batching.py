import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.activations.batching import (
    Batch,
    batch_capacity,
    batch_shapes,
    length_ladder,
    pad_batch,
    plan_batches,
)


def test_ladder_grows_to_the_longest():
    ladder = length_ladder(512)
    assert ladder[0] == 8
    assert ladder[-1] == 512
    assert len(ladder) == 19
    steps = np.array(ladder[1:]) / np.array(ladder[:-1])
    assert (steps > 1).all()
    assert (steps[4:] <= 1.34).all()
    assert length_ladder(5) == (5,)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 100), max_size=300),
    budget=st.integers(1, 3000),
    multiple=st.integers(1, 4),
)
def test_every_text_once_in_a_shape_of_the_list(lengths, budget, multiple):
    ladder = length_ladder(100)
    batches = plan_batches(
        lengths, ladder=ladder, token_budget=budget, multiple=multiple
    )
    rows = [row for batch in batches for row in batch.rows]
    assert sorted(rows) == list(range(len(lengths)))
    shapes = batch_shapes(ladder, budget, multiple=multiple)
    assert len(shapes) <= 2 * len(ladder)
    for batch in batches:
        assert (batch.capacity, batch.length) in shapes
        assert 0 < len(batch.rows) <= batch.capacity
        assert batch.capacity % multiple == 0
        assert max(lengths[row] for row in batch.rows) <= batch.length
    partly = [batch for batch in batches if len(batch.rows) < batch.capacity]
    assert len(partly) <= 1  # only the last batch of a window may be partly empty
    for batch in partly:  # and of the two sizes it has the smaller one that suffices
        quarter = batch_capacity(batch.length, budget // 4, multiple=multiple)
        few = len(batch.rows) <= quarter
        assert (
            batch.capacity == min(c for c, t in shapes if t == batch.length) or not few
        )


def test_batches_depend_on_nothing_but_the_lengths():
    lengths = np.random.default_rng(0).integers(1, 65, 500)
    plans = [
        plan_batches(list(lengths), ladder=length_ladder(64), token_budget=512)
        for _ in range(2)
    ]
    for left, right in zip(*plans):
        np.testing.assert_array_equal(left.rows, right.rows)
        assert left[1:] == right[1:]


def test_padding_stays_small():
    lengths = np.random.default_rng(1).gamma(2.0, 16.0, 4096).astype(int) + 1
    lengths = np.minimum(lengths, 512)
    batches = plan_batches(lengths, ladder=length_ladder(512), token_budget=2048)
    computed = sum(batch.capacity * batch.length for batch in batches)
    assert computed / lengths.sum() < 1.2


def test_pad_batch():
    tokens = [[5, 6, 7], [8], [9, 9]]
    batch = Batch(np.array([1, 2, 0]), capacity=4, length=4)
    padded, lengths = pad_batch(tokens, batch)
    assert padded.dtype == lengths.dtype == np.int32
    np.testing.assert_array_equal(
        padded, [[8, 8, 8, 8], [9, 9, 9, 9], [5, 6, 7, 7], [8, 8, 8, 8]]
    )
    np.testing.assert_array_equal(lengths, [1, 2, 3, 1])


def test_capacity():
    assert batch_capacity(10, 100) == 10
    assert batch_capacity(10, 100, multiple=4) == 8
    assert batch_capacity(200, 100, multiple=4) == 4


@pytest.mark.parametrize("lengths", [[0, 1], [1, 9]])
def test_lengths_outside_the_ladder(lengths):
    with pytest.raises(ValueError, match=r"lengths must be 1\.\.8, got"):
        plan_batches(lengths, ladder=(4, 8), token_budget=16)


def test_bad_ladder():
    with pytest.raises(ValueError, match="growth > 1"):
        length_ladder(64, growth=1.0)
