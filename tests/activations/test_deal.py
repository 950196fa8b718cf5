"""Rows dealt to two sides."""

import numpy as np

from helix_jax.activations.deal import deal_rows
from helix_jax.text.hashing import unit_hash


def test_no_text_is_dealt_to_both_sides():
    ids = [f"d{i // 3}#{i}" for i in range(300)]
    rows = np.arange(300.0)[:, None], -np.arange(300.0)[:, None]
    dealt, again = (deal_rows(ids, rows, seed=seed) for seed in (0, 1))
    assert len(dealt.x) + len(dealt.y) == 300
    np.testing.assert_array_equal(dealt.paired, -dealt.x)
    documents = {int(x) // 3 for x in dealt.x[:, 0]}
    assert not documents & {int(-y) // 3 for y in dealt.y[:, 0]}
    assert not np.array_equal(again.x, dealt.x)
    heads = [unit_hash(f"d{i // 3}", salt="deal 1") < 0.5 for i in range(300)]
    np.testing.assert_array_equal(again.x[:, 0], np.flatnonzero(heads))


def test_other_rows_stand_for_the_half_that_is_not_dealt():
    ids, rows, others = list("abcdefgh"), (np.eye(8), np.eye(8)), np.ones((3, 8))
    alone, beside = (
        deal_rows(ids, rows, seed=0),
        deal_rows(ids, rows, seed=0, others=others),
    )
    assert beside.y is others
    np.testing.assert_array_equal(beside.x, alone.x)
