"""Gradient fits: planted truths, the closed form, resuming, maps of every kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.alignment import (
    AffineMap,
    Descent,
    LowRankMap,
    MlpMap,
    ResidualMap,
    affine_rates,
    apply_map,
    cosine_rows,
    fit_gradient,
    fit_least_squares,
    from_batch,
    huber_rows,
    kl_loss,
    kl_of_logits,
    load_map,
    losses,
    mse_rows,
    residual_affine,
    residual_low_rank,
    residual_mlp,
    save_map,
    to_affine,
)
from helix_jax.alignment.gradient import init, mean_loss, step
from helix_jax.errors import FingerprintError

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def rows(make_planted):
    made = make_planted(3000, 6, 4, noise=0.3, dtype="float32")
    return (made.x[:2000], made.y[:2000]), (made.x[2000:], made.y[2000:])


def zero(dx=6, dy=4):
    return AffineMap(jnp.zeros((dx, dy)), jnp.zeros(dy))


def train(start, rows, **kwargs):
    settings = Descent(learning_rate=0.05, batch=100, epochs=30, patience=30)
    kwargs = {"loss": mse_rows, "key": KEY, "settings": settings} | kwargs
    return fit_gradient(start, *rows, **kwargs)


@pytest.mark.parametrize("start", ["full", "residual"])
def test_mse_finds_the_least_squares_map(rows, start):
    best = fit_least_squares(from_batch(*rows[0])).map
    half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32) / 2, best)
    found = train(zero() if start == "full" else residual_affine(half), rows)
    np.testing.assert_allclose(to_affine(found.map).kernel, best.kernel, atol=0.02)
    np.testing.assert_allclose(to_affine(found.map).bias, best.bias, atol=0.02)
    if start == "residual":
        np.testing.assert_array_equal(found.map.base.kernel, half.kernel)


def test_rates_make_a_descent_the_same_in_any_units(rows):
    """One dimension of the source in thousandths, the target in hundreds."""
    ((x, y), (x_select, y_select)), unit = rows, np.float32([1e3, 1, 1, 1, 1, 1])
    own = np.float32(0.01)
    others = (x * unit, y * own), (x_select * unit, y_select * own)
    short = Descent(learning_rate=1.0, batch=100, epochs=2)

    def descend(rows, **given):
        moments = from_batch(*rows[0])
        start = residual_affine(jax.tree.map(jnp.zeros_like, zero()))
        given = given or {"rates": affine_rates(moments)}
        loss = jax.tree_util.Partial(relative_error, np.float32(rows[0][1].std()))
        return to_affine(train(start, rows, settings=short, loss=loss, **given).map)

    plain, other = descend(rows), descend(others)
    back = np.asarray(other.kernel) * unit[:, None] / own
    np.testing.assert_allclose(back, plain.kernel, atol=1e-3)
    np.testing.assert_allclose(other.bias / own, plain.bias, atol=1e-3)
    assert np.abs(plain.kernel).max() > 0.1
    without = descend(others, rates=None)
    assert np.abs(np.asarray(without.kernel) * unit[:, None] / own - back).max() > 0.1


def relative_error(spread, y_hat, y):
    return mse_rows(y_hat / spread, y / spread)


def test_rates_shrink_with_the_width_and_leave_constants_alone():
    x = np.random.default_rng(1).normal(size=(400, 256)).astype(np.float32)
    x[:, 3] = 7.0
    rates = affine_rates(from_batch(x, 2 * x[:, :5].copy()))
    assert rates.kernel[3] == 0
    spread = np.sqrt(np.mean(np.var(2 * x[:, :5], axis=0)))
    want = 128 / 256 * spread / x[:, 8].std()
    assert float(rates.kernel[8, 0]) == pytest.approx(want, rel=1e-3)
    assert float(rates.bias[0]) == pytest.approx(spread, rel=1e-3)


@pytest.mark.parametrize(
    ("start", "rates"),
    [
        (residual_low_rank(KEY, zero(), rank=1), zero()),
        (residual_affine(zero()), zero(5)),
        (residual_affine(zero()), AffineMap(jnp.ones(4), jnp.ones(4))),
    ],
    ids=["of another kind", "of another width", "of fewer axes"],
)
def test_rates_of_other_parameters_are_refused(rows, start, rates):
    with pytest.raises(ValueError, match=r"rates must be a \w+Map that .* got a"):
        train(start, rows, rates=rates)


@pytest.mark.parametrize("loss", [cosine_rows, huber_rows])
def test_every_loss_falls(rows, loss):
    start = AffineMap(jax.random.normal(KEY, (6, 4)), jnp.zeros(4))
    before = mean_loss(start, rows[1], jax.tree_util.Partial(loss), 100)
    assert float(train(start, rows, loss=loss).loss) < 0.3 * float(before)


def test_low_rank_is_that_of_the_truth(rows):
    (x, _), (x_select, _) = rows
    kernel = np.outer(np.arange(1, 7), [1, -1, 2, 0.5]).astype(np.float32) / 4
    made = ((x, x @ kernel), (x_select, x_select @ kernel))
    found = train(residual_low_rank(KEY, zero(), rank=1), made)
    np.testing.assert_allclose(to_affine(found.map).kernel, kernel, atol=0.01)


def test_a_network_learns_what_no_affine_map_can(rows):
    (x, _), (x_select, _) = rows
    made = tuple((z, np.abs(z[:, :2])) for z in (x, x_select))
    best = fit_least_squares(from_batch(*made[0])).map
    start = residual_mlp(KEY, from_batch(*made[0]), best, hidden=32)
    affine_error = mean_loss(start, made[1], jax.tree_util.Partial(mse_rows), 100)
    assert float(train(start, made).loss) < 0.1 * float(affine_error)


def head_of(kernel, states):
    return states @ kernel


def test_kl_through_a_head_ignores_what_the_head_ignores(rows, monkeypatch):
    """The head reads two of four dimensions: the map must match those alone."""
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(4, 50)), jnp.float32)
    kernel = kernel.at[2:].set(0)
    loss = kl_loss(jax.tree_util.Partial(head_of, kernel))
    (x, y), select = rows
    want = optax_kl(y @ kernel, (y + 1) @ kernel)
    np.testing.assert_allclose(loss(y + 1, y), want, atol=1e-4)
    monkeypatch.setattr(losses, "ENTRIES_AT_ONCE", 50 * 64)
    np.testing.assert_allclose(jax.jit(loss)(y + 1, y), want, atol=1e-4)
    found = train(zero(), rows, loss=loss)
    best = fit_least_squares(from_batch(x, y)).map
    got, ridge = (float(mean_loss(m, select, loss, 100)) for m in (found.map, best))
    assert got < ridge * 1.02
    untouched = np.abs(to_affine(found.map).kernel[:, 2:])
    assert untouched.max() < 1e-6


@pytest.mark.parametrize("at_once", [8, 100])
def test_its_gradient_is_that_of_the_plain_loss(at_once, monkeypatch):
    """By the map alone: head and target states are given; weights of rows count."""
    rng = np.random.default_rng(3)
    kernel, y_hat, y = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((4, 50), (30, 4), (30, 4))
    )
    weights = jnp.arange(30.0)
    monkeypatch.setattr(losses, "ENTRIES_AT_ONCE", 50 * at_once)

    def ours(kernel, y_hat, y):
        loss = kl_loss(jax.tree_util.Partial(head_of, kernel))
        return jnp.sum(weights * loss(y_hat, y))

    def plain(y_hat):
        return jnp.sum(weights * optax_kl(y @ kernel, y_hat @ kernel))

    of_head, found, of_y = jax.jit(jax.grad(ours, (0, 1, 2)))(kernel, y_hat, y)
    np.testing.assert_allclose(found, jax.grad(plain)(y_hat), rtol=1e-4, atol=1e-4)
    assert not of_head.any()
    assert not of_y.any()


def optax_kl(reference, other):
    p = jax.nn.softmax(reference)
    return jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax(other)), axis=-1)


def test_kl_of_logits_is_zero_at_itself_and_ignores_shifts():
    logits = jax.random.normal(KEY, (7, 30)) * 9
    np.testing.assert_allclose(kl_of_logits(logits, logits + 3), 0, atol=1e-5)


def test_it_is_the_same_stopped_and_resumed(rows):
    settings = Descent(learning_rate=0.05, batch=100, epochs=4, patience=9)
    kept = []
    whole = train(
        zero(), rows, settings=settings, on_epoch=lambda now, numbers: kept.append(now)
    )
    assert [int(now.epoch) for now in kept] == [1, 2, 3, 4]
    again = train(zero(), rows, settings=settings, resume=kept[1])
    jax.tree.map(np.testing.assert_array_equal, whole, again)


def test_it_stops_where_the_select_rows_gain_nothing(rows):
    _, select = rows
    best = fit_least_squares(from_batch(*select)).map
    wrong = Descent(learning_rate=1.0, batch=100, epochs=20, patience=2)
    found = train(best, rows, settings=wrong)
    assert int(found.epoch) == 2
    np.testing.assert_allclose(found.map.kernel, best.kernel, atol=1e-6)


def test_steps_compile_once(rows):
    (x, y), _ = rows
    optimizer = Descent(batch=100).optimizer(2000)
    state = init(zero(), optimizer)
    loss = jax.tree_util.Partial(huber_rows)
    before = step._cache_size()
    for first in range(0, 500, 100):
        part = slice(first, first + 100)
        state, info = step(state, x[part], y[part], loss, optimizer=optimizer)
    assert step._cache_size() == before + 1
    assert int(state.step) == 5
    assert np.isfinite(info["gradient_norm"])


def test_what_does_not_fit_is_refused(rows):
    with pytest.raises(ValueError, match="fit x needs width 5, got 6"):
        train(zero(dx=5), rows)
    with pytest.raises(ValueError, match="needs at least 5000 rows"):
        train(zero(), rows, settings=Descent(batch=5000))
    with pytest.raises(ValueError, match="smaller learning rate"):
        train(zero(), rows, settings=Descent(learning_rate=1e30, batch=100))


@functools.cache
def every_map():
    random = lambda *shape: np.random.default_rng(0).normal(size=shape)  # noqa: E731
    affine = AffineMap(random(5, 3), random(3))
    low_rank = LowRankMap(random(5, 2), random(2, 3), random(3))
    mlp = MlpMap(random(5, 7), random(7), random(7, 3), random(3))
    return (
        affine,
        low_rank,
        mlp,
        ResidualMap(affine, mlp),
        ResidualMap(ResidualMap(affine, low_rank), mlp),
    )


@pytest.mark.parametrize("number", range(5))
def test_maps_of_every_kind_round_trip_and_refuse_other_models(number, tmp_path):
    made = every_map()[number]
    save_map(
        tmp_path / "map",
        made,
        source={"model": "a"},
        target={"model": "b"},
        penalty=None,
        split="fit",
    )
    back, made_of = load_map(tmp_path / "map", target={"model": "b"})
    assert type(back) is type(made)
    assert made_of["source"] == {"model": "a"}
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_array_equal(apply_map(back, x), apply_map(made, x))
    with pytest.raises(FingerprintError, match="model"):
        load_map(tmp_path / "map", source={"model": "b"})


def test_affine_maps_become_one():
    affine, low_rank, mlp, *_ = every_map()
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    both = ResidualMap(affine, low_rank)
    np.testing.assert_allclose(
        apply_map(to_affine(both), x), apply_map(both, x), atol=1e-5
    )
    with pytest.raises(TypeError, match="MlpMap is not affine"):
        to_affine(mlp)
