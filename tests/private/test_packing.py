"""Products of packed polynomials are inner products; plans stay within bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helix_jax.private import PROFILES, Profile, packing, plan_layer

TINY = Profile("tiny", 99, 64, (12289,), 0)


def by_packing(x: np.ndarray, kernel: np.ndarray, plan: packing.Plan) -> np.ndarray:
    """x W by convolutions, folded at N with a minus, and read at the positions."""
    query, packed = packing.pack_query(x, plan), packing.pack_kernel(kernel, plan)
    assert query.shape == (plan.tiles, plan.degree)
    assert packed.shape == (plan.answers, plan.tiles, plan.degree)
    results = []
    for answer in packed:
        long = sum(np.convolve(w, z) for w, z in zip(answer, query))
        long = np.concatenate([long, [0]]).reshape(2, plan.degree)
        results.append((long[0] - long[1])[plan.positions])
    return np.concatenate(results)[: plan.classes]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_packed_products(data):
    width = data.draw(st.integers(1, 150), "width")
    classes = data.draw(st.integers(1, 90), "classes")
    least = -(-width // TINY.degree)
    tiles = data.draw(st.integers(least, packing.max_tiles(width, TINY)), "tiles")
    plan = packing.plan_tiles(width, classes, TINY, tiles)
    generator = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    x = generator.integers(-1000, 1000, width)
    kernel = generator.integers(-1000, 1000, (width, classes))
    np.testing.assert_array_equal(by_packing(x, kernel, plan), x @ kernel)


@pytest.mark.parametrize(
    ("name", "width", "classes", "tiles"),
    [("guarded", 768, 14, 3), ("open", 4097, 3, 2), ("compact", 100, 41, 7)],
)
def test_packed_products_of_real_rings(name, width, classes, tiles):
    plan = packing.plan_tiles(width, classes, PROFILES[name], tiles)
    generator = np.random.default_rng(0)
    x = generator.integers(-1000, 1000, width)
    kernel = generator.integers(-1000, 1000, (width, classes))
    np.testing.assert_array_equal(by_packing(x, kernel, plan), x @ kernel)


@pytest.mark.parametrize("name", sorted(PROFILES))
@pytest.mark.parametrize("minimise", ["time", "traffic"])
@pytest.mark.parametrize("width", [1, 5, 768, 4096, 4097, 16_384])
@pytest.mark.parametrize("classes", [1, 2, 1000, 128_256, 200_000])
def test_plans_are_within_bounds(name, minimise, width, classes):
    profile = PROFILES[name]
    plan = plan_layer(width, classes, profile, minimise=minimise)
    assert (plan.width, plan.classes, plan.degree) == (width, classes, profile.degree)
    assert plan.tiles * plan.tile >= width > 0
    assert plan.rows * plan.tile <= profile.degree
    assert plan.answers * plan.rows >= classes > (plan.answers - 1) * plan.rows
    assert plan.positions.min() >= 0
    assert plan.positions.max() < profile.degree
    # Sums over tiles of residues stay below 2^63, and the other side accepts the plan.
    assert plan.tiles * max(profile.primes) < 2**63
    assert packing.plan_tiles(width, classes, profile, plan.tiles) == plan
    others = {1, 2, 3, 4, 8, 30, packing.max_tiles(width, profile)}
    for tiles in others:
        if -(-width // profile.degree) <= tiles <= packing.max_tiles(width, profile):
            other = packing.plan_tiles(width, classes, profile, tiles)
            if minimise == "traffic":
                own = packing.traffic_bytes(plan, profile)
                assert own <= packing.traffic_bytes(other, profile)


def test_traffic_is_what_is_sent():
    plan = packing.plan_tiles(768, 14, PROFILES["open"], 2)
    assert plan.rows == 10
    assert plan.answers == 2
    expected = 2 * 4096 * (6 + 2) + (2 * 4096 + 14) * 5
    assert packing.traffic_bytes(plan, PROFILES["open"]) == expected


def test_answer_norms():
    kernel = np.arange(12.0).reshape(2, 6) - 6
    plan = packing.plan_tiles(2, 6, Profile("tiny", 99, 8, (97,), 0), 1)
    assert (plan.rows, plan.answers) == (4, 2)
    sums = np.abs(kernel).sum(axis=0)
    expected = [sums[:4].sum()] * 4 + [sums[4:].sum()] * 2
    np.testing.assert_allclose(packing.answer_norms(sums, plan, order=1), expected)
    squares = (kernel**2).sum(axis=0)
    expected = [squares[:4].sum() ** 0.5] * 4 + [squares[4:].sum() ** 0.5] * 2
    np.testing.assert_allclose(packing.answer_norms(squares, plan, order=2), expected)


@pytest.mark.parametrize(
    "value", [2.0**-3, 0.3, 1.0, 1.5, 2.0, 2.0**60, 2.0**60 * 1.01]
)
def test_next_power(value):
    power = packing.next_power(value)
    assert 2.0 ** (power - 1) < value <= 2.0**power


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 1), "width must be from 1 to 16384, got 0"),
        ((16_385, 1, 5), "width must be from 1 to 16384, got 16385"),
        ((1, 0, 1), "classes must be from 1 to 200000, got 0"),
        ((1, 200_001, 1), "classes must be from 1 to 200000"),
        ((5000, 1, 1), "width 5000 needs 2 to 256 tiles in profile 'guarded', got 1"),
        ((3, 1, 4), "needs 1 to 3 tiles"),
        ((3, 1, 0), "needs 1 to 3 tiles"),
    ],
)
def test_sizes_out_of_bounds(sizes, message):
    width, classes, tiles = sizes
    with pytest.raises(ValueError, match=message):
        packing.plan_tiles(width, classes, PROFILES["guarded"], tiles)


def test_planner_refuses():
    profile = PROFILES["open"]
    with pytest.raises(ValueError, match="'time' or 'traffic', got 'cost'"):
        plan_layer(3, 3, profile, minimise="cost")
    for width, classes in ((0, 1), (1, 0), (20_000, 1), (1, 10**6), (-4, 2)):
        with pytest.raises(ValueError, match="must be from 1 to"):
            plan_layer(width, classes, profile)
