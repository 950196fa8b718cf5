"""Products of limbs against float64, alone and within moments."""

import numpy as np
import pytest

from helix_jax.alignment import accumulate, from_batch
from helix_jax.alignment.limbs import (
    limb_gram,
    limb_product,
    split_bfloat16,
    split_int8,
    two_sum,
)

ROWS, DX, DY = 3000, 8, 5


@pytest.fixture(scope="module")
def rows():
    """Correlated float32 rows whose columns differ in size by 1e4."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(ROWS, DX)) @ rng.normal(size=(DX, DX))
    x = (mixed * np.logspace(-2, 2, DX)).astype(np.float32)
    y = (x[:, :DY] + rng.normal(size=(ROWS, DY))).astype(np.float32)
    return x, y


def error(found, x, y):
    """The largest error of x'y, against the lengths of both columns."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    lengths = np.linalg.norm(x, axis=0)[:, None] * np.linalg.norm(y, axis=0)[None]
    return np.max(np.abs(np.asarray(found, np.float64) - x.T @ y) / lengths)


# Seen: bfloat16 1.4e-4, 2.6e-7, 1.5e-7; int8 8.1e-4, 2.6e-5, 2.6e-7.
@pytest.mark.parametrize(
    ("kind", "limbs", "most"),
    [
        ("bfloat16", 1, 1e-3),
        ("bfloat16", 2, 2e-6),
        ("bfloat16", 3, 1e-6),
        ("int8", 1, 5e-3),
        ("int8", 2, 2e-4),
        ("int8", 3, 2e-6),
    ],
)
def test_the_error_falls_with_every_limb(rows, kind, limbs, most):
    found = error(limb_gram(*rows, kind=kind, limbs=limbs), *rows)
    assert most / 1000 < found < most


def test_limbs_add_up_to_the_number(rows):
    x, _ = rows
    whole = sum(np.asarray(one, np.float64) for one in split_bfloat16(x, 3))
    assert np.max(np.abs(whole - x) / np.abs(x)) < 2.0**-23
    parts, scale = split_int8(x, 3)
    whole = sum(np.asarray(one, np.float64) / 128**i for i, one in enumerate(parts))
    limit = np.abs(x).max(0) * 2.0**-20
    assert (np.abs(whole * np.asarray(scale) - x) <= limit).all()


def test_what_an_addition_loses_is_kept():
    one, small = np.float32(1), np.float32(2**-30)
    total, rest = two_sum(one, np.float32(0), small)
    assert (float(total), float(rest)) == (1.0, 2.0**-30)


def test_moments_with_narrow_products(rows):
    x, y = rows
    whole = from_batch(x, y)
    for name, most in (("bfloat16x2", 1e-5), ("bfloat16x3", 1e-6)):  # 3e-6, 2e-7
        blocks = ((x[i : i + 1000], y[i : i + 1000]) for i in range(0, ROWS, 1000))
        found = accumulate(blocks, dtype="float32", product_dtype=name)
        for part in ("cov_xx", "cov_xy", "cov_yy"):
            got, want = (np.asarray(getattr(m, part), float) for m in (found, whole))
            assert np.linalg.norm(got - want) < most * np.linalg.norm(want)


def test_what_is_refused(rows):
    with pytest.raises(ValueError, match="limbs 1 to 3, got 'bfloat16' and 4"):
        limb_product(*rows, kind="bfloat16", limbs=4)
    with pytest.raises(ValueError, match="131072 rows of int8 may overflow"):
        limb_product(*(np.zeros((1 << 17, 1), np.float32),) * 2, kind="int8", limbs=1)
    with pytest.raises(TypeError, match="bfloat16x4"):
        from_batch(*rows, product_dtype="bfloat16x4")
