"""Products of float32 matrices from narrow ones, for backends without wide products.

A float32 number is a sum of limbs: h + m + l of bfloat16, eight bits each, or seven-bit
integers with one scale per column. Of u'v = (h + m + l)'(h + m + l) only the products
of places i + j < limbs are computed; the others are below the precision kept:

    limbs  products  bits of bfloat16  of int8
      1       1             8              7
      2       3            16             14
      3       6            24             21

bfloat16 products add up in float32, int8 products in int32, which is exact for fewer
than 2^17 rows. Results of row blocks are summed with compensation (two-sum), so the
error does not grow with their number.

Error against float64 of states of smollm2-135m -> gemma3-270m on TREC (2,400 rows, the
last layers, float32 records, solved in float64):

    products        each    CKA     R2      ridge's kernel, relative
    float32           -     2e-08   3e-08   4e-06
    bfloat16 x1       1     3e-05   3e-05   3e-03
    bfloat16 x2       3     1.5e-06 4e-06   3e-05
    bfloat16 x3       6     2e-07   5e-07   3e-06
    int8 x1           1     1e-04   6e-04   4e-02
    int8 x2           3     3e-04   5e-04   5e-03
    int8 x3           6     5e-08   1e-08   2e-05

So three products of bfloat16 keep CKA and R2 within 1e-5, and six keep ridge too; six
is what XLA itself uses on a TPU for float32 at the highest precision. One scale per
column costs int8 the bits by which the largest row exceeds the others. A second limb of
int8 helps u'v (error 4e-03 to 8e-05) but not CKA: what is left out of u'u, squares of
second limbs, adds up on its diagonal (4e-04).

Reference: Henry, Tang, Heinecke 2019, arXiv 1904.06376 (limbs of bfloat16); Ootomo,
  Ozaki, Yokota 2024, arXiv 2306.11975 (of int8); Knuth 1997, section 4.2.2 (two-sum).
"""

from functools import partial

import jax
import jax.numpy as jnp

from helix_jax.types import Array

KINDS = ("bfloat16", "int8")
LIMBS_OF = {"bfloat16x2": 2, "bfloat16x3": 3}  # as a `product_dtype`
INT8_BITS = 7
MOST_INT8_ROWS = 1 << 17  # 2^14 each: their sum must stay within int32


def split_bfloat16(x: Array, limbs: int) -> list[Array]:
    """Limbs of x, largest first, whose sum is x but for rounding."""
    parts, rest = [], x.astype(jnp.float32)
    for _ in range(limbs):
        parts.append(rest.astype(jnp.bfloat16))
        rest = rest - parts[-1].astype(jnp.float32)
    return parts


def split_int8(x: Array, limbs: int) -> tuple[list[Array], Array]:
    """Limbs of x [N, D], largest first, and the scale [D] of the first.

    x = scale (limb_0 + limb_1 / 2^7 + limb_2 / 2^14 ...), but for rounding.
    """
    largest = jnp.max(jnp.abs(x), axis=0)
    # A power of two, so that scaling rounds nothing.
    exponent = jnp.ceil(jnp.log2(jnp.where(largest > 0, largest, 1)))
    scale = jnp.exp2(exponent - (INT8_BITS - 1))
    parts, rest = [], x.astype(jnp.float32) / scale
    for _ in range(limbs):
        limb = jnp.round(rest)
        parts.append(limb.astype(jnp.int8))
        rest = (rest - limb) * 2.0**INT8_BITS
    return parts, scale


@partial(jax.jit, static_argnames=("kind", "limbs"))
def limb_product(
    u: Array, v: Array, *, kind: str = "bfloat16", limbs: int = 3
) -> Array:
    """u'v of [N, dx] and [N, dy] float32, from products of limbs: [dx, dy] float32.

    Args:
      u, v: of the same rows, at most MOST_INT8_ROWS of them for int8.
      kind: "bfloat16" or "int8".
      limbs: of each number, 1 to 3.

    Raises:
      ValueError: another kind or number, or too many rows.
    """
    if kind not in KINDS or limbs not in (1, 2, 3):
        raise ValueError(
            f"limb_product: kind must be one of {KINDS} and limbs 1 to 3, got {kind!r} "
            f"and {limbs}."
        )
    if kind == "bfloat16":
        left, right = split_bfloat16(u, limbs), split_bfloat16(v, limbs)
        return _sum_of_products(left, right, jnp.float32, 0)
    if u.shape[0] >= MOST_INT8_ROWS:
        raise ValueError(
            f"limb_product: {u.shape[0]} rows of int8 may overflow int32; give fewer "
            f"than {MOST_INT8_ROWS} at once."
        )
    (left, scale_u), (right, scale_v) = split_int8(u, limbs), split_int8(v, limbs)
    total = _sum_of_products(left, right, jnp.int32, INT8_BITS)
    return total * scale_u[:, None] * scale_v[None, :]


def _sum_of_products(
    left: list[Array], right: list[Array], sums: jnp.dtype, bits: int
) -> Array:
    """Products of places i + j < limbs, the smallest first, shifted by their place."""
    limbs, total = len(left), jnp.zeros((), jnp.float32)
    for place in reversed(range(limbs)):
        own = [
            jnp.matmul(left[i].T, right[place - i], preferred_element_type=sums)
            for i in range(place + 1)
        ]
        total = total + sum(own).astype(jnp.float32) * 2.0 ** (-bits * place)
    return total


def two_sum(total: Array, rest: Array, term: Array) -> tuple[Array, Array]:
    """total + term, and `rest` plus what that addition lost."""
    added = total + term
    back = added - total
    lost = (total - (added - back)) + (term - back)
    return added, rest + lost


@partial(jax.jit, static_argnames=("kind", "limbs", "block_rows"))
def limb_gram(
    u: Array, v: Array, *, kind: str, limbs: int, block_rows: int = 2048
) -> Array:
    """`limb_product` of any number of rows, block by block, with compensated sums."""
    blocks = -(-u.shape[0] // block_rows)
    missing = ((0, blocks * block_rows - u.shape[0]), (0, 0))
    parts = [jnp.pad(z, missing).reshape(blocks, block_rows, -1) for z in (u, v)]

    def add(
        sums: tuple[Array, Array], block: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        term = limb_product(*block, kind=kind, limbs=limbs)
        return two_sum(sums[0], sums[1], term), None

    zero = jnp.zeros((u.shape[1], v.shape[1]), jnp.float32)
    (total, rest), _ = jax.lax.scan(add, (zero, zero), tuple(parts))
    return total + rest
