"""Moments as integers: a twin in rationals, exact sums, accuracy, refusals."""

from fractions import Fraction

import numpy as np
import pytest

from helix_jax.alignment import Moments, empty, from_batch, merge_all
from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation import MomentsFormat, decode, encode
from helix_jax.private.aggregation import int128 as w
from tests.private.aggregation.stage import MODULUS, to_ints, to_words


def silo_moments(silos, dx=5, dy=4, *, offset=0.0, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(silos):
        x = scale * rng.normal(size=(int(rng.choice([7, 20, 60])), dx)) + offset
        x += scale * rng.normal(size=dx)
        y = x @ rng.normal(size=(dx, dy)) / np.sqrt(dx) + rng.normal(size=dy)
        made.append(from_batch(x, y))
    return made


def numpy_of(moments):
    return Moments(*(np.asarray(value, np.float64) for value in moments))


def twin(moments, layout):
    """The integers, one by one, in rationals rounded where encode rounds."""
    m = numpy_of(moments)
    rows, a = int(m.count), layout.fraction_bits
    scaled = [float(v) * 2.0**a for v in (*m.mean_x, *m.mean_y)]
    whole = [round(v) for v in scaled]
    rest = [float(Fraction(v) - k) for v, k in zip(scaled, whole)]
    covariance = np.block([[m.cov_xx, m.cov_xy], [m.cov_xy.T, m.cov_yy]]).tolist()
    numbers = [rows]
    numbers += [rows * k * 2**a + round(rows * d * 2.0**a) for k, d in zip(whole, rest)]
    for j in range(len(whole)):
        for k in range(j, len(whole)):
            small = covariance[j][k] * 4.0**a
            small += whole[j] * rest[k] + rest[j] * scaled[k]
            numbers.append(rows * whole[j] * whole[k] + round(rows * small))
    return [v % MODULUS for v in numbers]


def merged_exactly(parts):
    """Count, mean and covariance of all rows in rationals, from the silos' floats."""
    parts = [numpy_of(p) for p in parts]
    count = sum(int(p.count) for p in parts)
    means = [[Fraction(v) for v in (*p.mean_x, *p.mean_y)] for p in parts]
    width = len(means[0])
    mean = [
        sum(int(p.count) * m[j] for p, m in zip(parts, means)) / count
        for j in range(width)
    ]
    covariance = np.empty((width, width))
    for j in range(width):
        for k in range(width):
            total = 0
            for p, m in zip(parts, means):
                full = np.block([[p.cov_xx, p.cov_xy], [p.cov_xy.T, p.cov_yy]])
                between = (m[j] - mean[j]) * (m[k] - mean[k])
                total += int(p.count) * (Fraction(full[j, k]) + between)
            covariance[j, k] = total / count
    return np.array(mean, np.float64), covariance


def relative(got, wanted):
    got, wanted = np.asarray(got), np.asarray(wanted)
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_encode_is_its_twin(offset):
    layout = MomentsFormat(5, 4, silos=4)
    for moments in silo_moments(4, offset=offset):
        assert to_ints(encode(moments, layout)) == twin(moments, layout)


@pytest.mark.parametrize("silos", [1, 2, 5, 40])
def test_sum_decodes_to_the_merged_moments(silos):
    parts = silo_moments(silos, seed=silos)
    layout = MomentsFormat(5, 4, silos=silos)
    total = w.zeros(layout.length)
    for part in parts:
        w.add(total, encode(part, layout))
    assert to_ints(total) == [
        sum(column) % MODULUS for column in zip(*(twin(p, layout) for p in parts))
    ]
    for got, wanted in zip(decode(total, layout), merge_all(parts)):
        assert got.dtype == np.float64
        assert relative(got, wanted) < 1e-13


@pytest.mark.parametrize("value_bits", [10, 14])
@pytest.mark.parametrize("offset", [0.0, 30.0, 300.0])
def test_the_total_is_exact_to_the_last_places(offset, value_bits):
    parts = silo_moments(6, offset=offset, scale=1e-3, seed=1)
    mean, covariance = merged_exactly(parts)
    layout = MomentsFormat(5, 4, silos=6, value_bits=value_bits)
    total = w.zeros(layout.length)
    for part in parts:
        w.add(total, encode(part, layout))
    got = numpy_of(decode(total, layout))
    both = np.block([[got.cov_xx, got.cov_xy], [got.cov_xy.T, got.cov_yy]])
    np.testing.assert_allclose([*got.mean_x, *got.mean_y], mean, rtol=3e-16)
    np.testing.assert_allclose(both, covariance, rtol=1e-14, atol=1e-20)


def test_control_raw_second_moments_in_float64_lose_what_128_bits_keep():
    parts = silo_moments(6, offset=900.0, scale=1e-3, seed=1)
    _, covariance = merged_exactly(parts)
    m = [numpy_of(p) for p in parts]
    count = sum(p.count for p in m)
    mean = sum(p.count * p.mean_x for p in m) / count
    raw = sum(p.count * (p.cov_xx + np.outer(p.mean_x, p.mean_x)) for p in m) / count
    assert relative(raw - np.outer(mean, mean), covariance[:5, :5]) > 1e-12


def test_the_public_bounds_cannot_overflow():
    layout = MomentsFormat(2, 1, silos=64, row_bits=30, value_bits=8)
    rows, bound = 2.0**30, 2.0**8
    for sign in (1.0, -1.0):
        mean = sign * np.full(3, bound)
        worst = Moments(
            np.float64(rows),
            mean[:2],
            mean[2:],
            np.full((2, 2), bound**2),
            np.full((2, 1), bound**2),
            np.full((1, 1), bound**2),
        )
        total = w.zeros(layout.length)
        for _ in range(64):
            w.add(total, encode(worst, layout))
        exact = [64 * v for v in twin_signed(worst, layout)]
        assert all(abs(v) < 2**127 for v in exact)
        assert list(w.to_integers(total)) == exact
        assert max(abs(v) for v in exact) >= 2**125  # and the budget is used
        got = decode(total, layout)
        np.testing.assert_array_equal(np.asarray(got.mean_x), mean[:2])
        np.testing.assert_array_equal(np.asarray(got.cov_xx), worst.cov_xx)


def twin_signed(moments, layout):
    return [v - MODULUS if v >> 127 else v for v in twin(moments, layout)]


def test_a_silo_without_rows_adds_nothing():
    layout = MomentsFormat(5, 4, silos=3)
    assert not encode(empty(5, 4), layout).any()


def test_float32_moments_are_taken():
    parts = [Moments(*(np.float32(v) for v in p)) for p in silo_moments(3)]
    layout = MomentsFormat(5, 4, silos=3)
    total = w.zeros(layout.length)
    for part in parts:
        w.add(total, encode(part, layout))
    for got, wanted in zip(decode(total, layout), merge_all(map(numpy_of, parts))):
        assert relative(got, wanted) < 1e-13


def test_values_beyond_the_bounds_are_refused():
    moments = numpy_of(silo_moments(1)[0])
    layout = MomentsFormat(5, 4, silos=3, row_bits=6, value_bits=3)
    encode(moments, layout)
    with pytest.raises(ValueError, match=r"mean of this silo is 9, .* 2\^3\. Agree"):
        encode(moments._replace(mean_x=np.full(5, 9.0)), layout)
    with pytest.raises(ValueError, match=r"covariance of this silo is 65, .* 2\^6"):
        encode(moments._replace(cov_xy=np.full((5, 4), -65.0)), layout)
    with pytest.raises(ValueError, match=r"at most 2\^6, got 65"):
        encode(moments._replace(count=np.float64(65)), layout)
    with pytest.raises(ValueError, match=r"integer of at most 2\^6, got 2.5. Leave"):
        encode(moments._replace(count=np.float64(2.5)), layout)
    with pytest.raises(ValueError, match="mean of this silo is nan"):
        encode(moments._replace(mean_y=np.full(4, np.nan)), layout)
    with pytest.raises(ValueError, match="widths 4 and 5, got"):
        encode(moments, MomentsFormat(4, 5, silos=3))
    with pytest.raises(ValueError, match="leaves 13 bits after the point, needs 16"):
        MomentsFormat(5, 4, silos=3, row_bits=48, value_bits=24)
    with pytest.raises(ValueError, match="no moments have the bounds"):
        MomentsFormat(0, 4, silos=3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_at_the_bounds_are_taken(dtype):
    """Means and covariances of numbers up to 1 exceed it by rounding, sums too."""
    layout = MomentsFormat(3, 2, silos=3, row_bits=12, value_bits=0)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (999, 5)).astype(dtype)
    signs[:, 0] = 1
    covariance = (signs.T @ signs / len(signs)).astype(dtype) * dtype(1 + 1e-7)
    above = np.nextafter(signs.mean(axis=0), dtype(2))
    moments = Moments(
        np.float64(999),
        above[:3],
        above[3:],
        covariance[:3, :3],
        covariance[:3, 3:],
        covariance[3:, 3:],
    )
    assert max(above.max(), covariance.max()) > 1
    words = encode(moments, layout)
    total = words.copy()
    for _ in range(2):
        w.add(total, words)
    found = decode(total, layout)
    assert float(found.count) == 3 * 999
    np.testing.assert_allclose(found.mean_x, above[:3], rtol=1e-7)
    np.testing.assert_allclose(found.cov_yy, covariance[3:, 3:], rtol=1e-6)
    with pytest.raises(ValueError, match=r"mean of this silo is 1\.0001, .* 2\^0"):
        encode(moments._replace(mean_x=np.full(3, 1.0001)), layout)


def test_a_count_that_float32_has_rounded_is_refused():
    layout = MomentsFormat(1, 1, silos=3, row_bits=30)
    one = np.ones((1, 1))
    rows = np.float32(2**24)
    with pytest.raises(ValueError, match="float32 may have lost rows"):
        encode(Moments(rows, one[0], one[0], one, one, one), layout)


def test_a_total_that_cannot_be_is_refused():
    layout = MomentsFormat(2, 1, silos=3, row_bits=6, value_bits=3)
    good = np.zeros((2, layout.length), np.uint64)
    good[0, 0] = 10
    decode(good, layout)
    for rows in (0, 3 * 64 + 1, -1):
        bad = good.copy()
        bad[:, :1] = to_words([rows])
        with pytest.raises(ProtocolError, match=f"has {rows} rows, needs 1 to 192"):
            decode(bad, layout)
    bad = good.copy()
    bound = 10 * 2 ** (2 * layout.fraction_bits + 3)
    bad[:, 1:2] = to_words([-bound - (bound >> 15)])
    with pytest.raises(ProtocolError, match=r"mean of the total exceeds 2\^3"):
        decode(bad, layout)
    for value in (-1, 400):
        bad = good.copy()
        bad[:, 4:5] = to_words([10 * value * 4**layout.fraction_bits])
        with pytest.raises(ProtocolError, match="variance of the total"):
            decode(bad, layout)
    random = np.random.default_rng(0).integers(0, 2**64, good.shape, np.uint64)
    with pytest.raises(ProtocolError, match="rows, needs 1 to 192"):
        decode(random, layout)
    with pytest.raises(ValueError, match="words need shape"):
        decode(good[:, 1:], layout)


def test_content_names_every_public_bound():
    contents = {
        MomentsFormat(*args).content
        for args in [(5, 4, 3), (4, 5, 3), (5, 4, 4), (5, 4, 3, 20), (5, 4, 3, 24, 9)]
    }
    assert len(contents) == 5


@pytest.mark.parametrize("value_bits", [-40, -9, -1])
def test_small_bounds_leave_room_for_sums(value_bits):
    """Below 1 the largest integers are the sums, not the products."""
    layout = MomentsFormat(2, 2, silos=3, row_bits=4, value_bits=value_bits)
    largest = 2.0**value_bits
    mean, covariance = np.full(2, -largest), np.full((2, 2), largest**2)
    part = Moments(16.0, mean, mean, covariance, covariance, covariance)
    words = encode(part, layout)
    total = w.zeros(layout.length)
    for _ in range(3):
        w.add(total, words)
    got = numpy_of(decode(total, layout))
    np.testing.assert_array_equal(got.mean_x, mean)
    np.testing.assert_allclose(got.cov_xy, covariance, rtol=1e-13)


def test_a_covariance_beyond_the_bound_is_refused():
    layout = MomentsFormat(2, 2, silos=3)
    words = encode(silo_moments(1, 2, 2)[0], layout)
    place = 1 + 4 + 1  # of the covariance of the first two
    words[:, place : place + 1] = w.multiply(np.array([2**60]), 2**50)
    with pytest.raises(ProtocolError, match="or a covariance beyond"):
        decode(words, layout)


def test_many_equal_rows_have_no_covariance_below_the_last_unit_either():
    """Means between two units: their squares count, which many rows add up."""
    layout = MomentsFormat(2, 1, silos=1, row_bits=21, value_bits=36)
    unit = 2.0**-layout.fraction_bits
    mean_x, mean_y = unit * np.array([2.5, -7.25]), unit * np.array([0.5])
    zeros = (np.zeros(shape) for shape in ((2, 2), (2, 1), (1, 1)))
    moments = Moments(np.float64(2**20), mean_x, mean_y, *zeros)
    found = decode(encode(moments, layout), layout)
    for got in (found.cov_xx, found.cov_xy, found.cov_yy):
        assert np.abs(np.asarray(got)).max() < 1e-3 * unit**2
    np.testing.assert_array_equal(found.mean_x, mean_x)
