"""The slopes of heads with linear biases."""

import math

STEEPEST = 8  # the slopes fall to 2^-STEEPEST


def alibi_slopes(heads: int) -> tuple[float, ...]:
    """The slope of each head, 2^(-8 i / n) for heads i = 1..n.

    If `heads` is not a power of two, the slopes of n heads come first, where n is the
    next lower power, and then those of the slopes of 2 n heads that lie between them.

    Reference: Press et al. 2021, arXiv 2108.12409, section 3.
    """
    count = 2 ** math.ceil(math.log2(heads))
    slopes = [2.0 ** (-STEEPEST * i / count) for i in range(1, count + 1)]
    if count != heads:
        slopes = slopes[1::2] + slopes[::2]
    return tuple(slopes[:heads])
