"""Arrays in the other byte order are read right, or refused by name.

A jitted function that was compiled for the same dtype reads their bytes as they lie.
"""

import jax
import numpy as np
import pytest

from helix_jax import alignment as al
from helix_jax import similarity as si
from helix_jax.activations import pool
from tests.boundary.dtypes import OTHERS, ROWS

MOMENTS = al.from_batch(ROWS * 0.1, OTHERS * 0.1)
SWAPPED = {
    "from_batch": lambda x: al.from_batch(x, OTHERS * 0.1),
    "norms_from_batch": lambda x: si.norms_from_batch(x, OTHERS * 0.1),
    "translate": lambda x: al.translate(MOMENTS, x[0], OTHERS[0]),
    "apply_map": lambda x: al.apply_map(al.identity_map(8, 5), x),
    "mse_rows": lambda x: al.mse_rows(x, x + 1),
    "row_cosine": lambda x: al.row_cosine(x, ROWS + 1),
    "rbf_cka": lambda x: si.rbf_cka(x, OTHERS * 0.1),
    "linear_cka_null": lambda x: si.linear_cka_null(x, OTHERS * 0.1, permutations=3),
    "relative": lambda x: al.relative_representation(x, x[:9], mean=x[3]),
    "pool": lambda x: pool(x[None], np.ones((1, len(x)), ">i4"), method="mean"),
}


@pytest.mark.parametrize("name", SWAPPED)
@pytest.mark.slow
def test_arrays_of_another_byte_order(name):
    for dtype in ("f4", "f8"):
        expected = SWAPPED[name]((ROWS * 0.1).astype(dtype))
        found = SWAPPED[name]((ROWS * 0.1).astype(f">{dtype}"))
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_streams_of_another_byte_order_are_refused():
    x = ROWS.astype(">f4")
    for call in (
        lambda: al.accumulate([(x, OTHERS * 0.1)]),
        lambda: si.gram_sums((x, OTHERS * 0.1)),
    ):
        with pytest.raises(TypeError, match=r">f4: use \w+.astype\(.*newbyteorder"):
            call()
