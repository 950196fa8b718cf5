"""Buckets of distances, against those of transformers: equal, every one of them."""

import numpy as np
import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from helix_jax.models.relative import buckets, relative_bias
from helix_jax.models.spec import RelativeBias


@pytest.mark.parametrize(
    ("rows", "most"), [(32, 128), (8, 20), (16, 64), (64, 256), (6, 17), (32, 100)]
)
def test_buckets_are_those_of_transformers(rows, most):
    spec, distance = RelativeBias(rows, most), np.arange(-300, 301)
    wanted = T5Attention._relative_position_bucket(
        torch.tensor(distance), True, rows, most
    )
    np.testing.assert_array_equal(buckets(distance, spec), wanted)
    # And of any places, beyond the largest distance too: [H, T, S].
    table = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    queries, keys = np.array([0, 7, 299]), np.array([0, 300])
    bias = relative_bias(table, queries, keys, spec)
    rows_of = wanted.numpy()[keys[None, :] - queries[:, None] + 300]
    np.testing.assert_array_equal(bias, np.moveaxis(table[rows_of], -1, 0))
