"""Noisy sums over silos against those of one holder of all rows."""

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation.int128 import add, zeros
from helix_jax.private.aggregation.private_sums import (
    PrivateFormat,
    decode_private,
    encode_private,
)
from helix_jax.private.aggregation.rehearsal import rehearse
from helix_jax.private.aggregation.session import new_identity, new_session
from helix_jax.private.unit_rows import unit_rows

SILOS, ROWS = 5, 300


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SILOS * ROWS, 6)) - 1
    y = x @ generator.normal(size=(6, 4)) + 0.1 * generator.normal(size=(len(x), 4))
    return unit_rows(x[:200], rank=6).apply(x), unit_rows(y[:200]).apply(y)


def parts(rows):
    return [(x, y) for x, y in zip(*(np.split(side, SILOS) for side in rows))]


def test_the_total_of_little_noise_is_the_plain_one_without_who_left(rows):
    layout = PrivateFormat(6, 4, least=2, epsilon=1e5, delta=1e-6)
    vectors = [encode_private(*part, layout) for part in parts(rows)]
    done = rehearse(vectors, content=layout.content, leaves={5: "mask"})
    found, noise = decode_private(done.total, layout, parties=len(done.survivors))
    x, y = (side[: 4 * ROWS] for side in rows)
    joint = np.cov(np.column_stack([x, y]).T, bias=True)
    assert float(found.count) == 4 * ROWS
    assert noise.max() < 1e-4
    np.testing.assert_allclose(found.cov_xx, joint[:6, :6], atol=3e-4)
    np.testing.assert_allclose(found.cov_xy, joint[:6, 6:], atol=3e-4)
    np.testing.assert_allclose(found.mean_y, y.mean(0), atol=3e-4)
    trace = np.trace(np.asarray(found.cov_yy))
    assert trace == pytest.approx(np.trace(joint[6:, 6:]), abs=1e-3)


@pytest.mark.parametrize("least", [1, 3])
def test_the_silos_that_count_have_the_noise_of_the_epsilon(rows, least):
    """Of `least` silos: what one holder would need; of all five, that much more."""
    layout = PrivateFormat(6, 4, least=least, epsilon=2.0, delta=1e-6)
    alone = PrivateFormat(6, 4, least=1, epsilon=2.0, delta=1e-6)
    exact = PrivateFormat(6, 4, least=1, epsilon=1e5, delta=1e-6)

    def total(layout, count):
        words = zeros(layout.length)
        for part in parts(rows)[:count]:
            add(words, encode_private(*part, layout))
        return decode_private(words, layout, parties=count)

    one = total(alone, 1).noise.max()
    found, noise = total(layout, least)
    assert noise.max() * least == pytest.approx(one, rel=0.01)  # of more rows
    off = np.asarray(found.cov_xy) - np.asarray(total(exact, least).moments.cov_xy)
    assert 0.5 < np.sqrt(np.mean((off / noise) ** 2)) < 1.7  # of 24
    more = total(layout, SILOS).noise.max() * SILOS
    assert more == pytest.approx(one * np.sqrt(SILOS / least), rel=0.01)


def test_noise_of_more_silos_than_the_session_counts_on_is_refused(rows):
    public = [new_identity()[1] for _ in range(6)]
    (x, y), *_ = parts(rows)

    def encoded(least, content=None):
        layout = PrivateFormat(6, 4, least=least, epsilon=1.0, delta=1e-6)
        session = new_session(
            public[0],
            public[1:],
            length=layout.length,
            content=content or layout.content,
            threshold=4,
            colluders=1,
        )
        return encode_private(x, y, layout, session)

    assert encoded(3).shape[0] == 2
    with pytest.raises(ValueError, match="noise of 4 silos, but in the session only 3"):
        encoded(4)
    with pytest.raises(ValueError, match="the session is for the format b"):
        encoded(3, content=b"another")


def test_what_is_no_sum_of_rows_is_refused(rows):
    layout = PrivateFormat(6, 4, least=2, epsilon=1.0, delta=1e-6)
    (x, y), *_ = parts(rows)
    with pytest.raises(ValueError, match="width 6 as of 4"):
        encode_private(y, x, layout)
    with pytest.raises(ValueError, match="norm 1 at most"):
        encode_private(2 * x, y, layout)
    with pytest.raises(ValueError, match="revealed completely"):
        encode_private(x, y, PrivateFormat(6, 4, least=2, epsilon=1.0, delta=0.01))
    with pytest.raises(ValueError, match="no moments have"):
        PrivateFormat(6, 4, least=0, epsilon=1.0, delta=1e-6)
    with pytest.raises(ValueError, match="epsilon above 0"):
        PrivateFormat(6, 4, least=1, epsilon=0.0, delta=1e-6)
    words = encode_private(x, y, layout)
    words[:, 0] = 0
    with pytest.raises(ProtocolError, match="0 rows"):
        decode_private(words, layout, parties=2)
