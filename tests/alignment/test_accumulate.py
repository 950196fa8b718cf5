"""Streams: equal to the whole at once, one compilation, hard numerics, bad rows."""

import subprocess
import sys
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.alignment import (
    accumulate,
    fit_least_squares,
    fit_ridge,
    fold_rows,
    from_batch,
    ridge_at,
)
from tests.conftest import with_devices


def _batches(x, y, size):
    return ((x[i : i + size], y[i : i + size]) for i in range(0, len(x), size))


@pytest.mark.parametrize("size", [7, 50, 64, 1000])
def test_stream_equals_the_whole(make_planted, size):
    x, y, *_ = make_planted(300, 5, 3, mean_over_std=100.0, dtype="float32")
    got, want = accumulate(_batches(x, y, size)), from_batch(x, y)
    for left, right in zip(got, want):
        np.testing.assert_allclose(left, right, rtol=1e-11)


def test_batches_of_any_sizes_and_of_jax_arrays(make_planted):
    x, y, *_ = make_planted(100, 5, 3, dtype="float32")
    edges = [0, 20, 20, 21, 90, 100]  # shorter, empty, and longer than the first
    pairs = [(jnp.asarray(x[a:b]), jnp.asarray(y[a:b])) for a, b in pairwise(edges)]
    for left, right in zip(accumulate(pairs), from_batch(x, y)):
        np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-13)


def test_a_buffer_may_be_filled_again(make_planted):
    x, y, *_ = make_planted(400, 64, 64, dtype="float32")

    def refilled():
        x_buffer, y_buffer = np.empty((100, 64), "f"), np.empty((100, 64), "f")
        for start in range(0, 400, 100):
            x_buffer[:] = x[start : start + 100]
            y_buffer[:] = y[start : start + 100]
            yield x_buffer, y_buffer
            x_buffer[:] = np.nan

    for left, right in zip(accumulate(refilled()), from_batch(x, y)):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-13)


_TRACES = []


def _count_rows(state, x, y, weights):
    _TRACES.append(x.shape)
    return state + jnp.sum(weights)


def test_ragged_batches_compile_once(make_planted):
    x, y, *_ = make_planted(103, 5, 3)
    for _ in range(2):
        rows = fold_rows(_count_rows, jnp.zeros(()), _batches(x, y, 10))
        assert float(rows) == 103
    assert _TRACES == [(10, 5)]


class Hard(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    u: np.ndarray
    v: np.ndarray


@pytest.fixture(scope="module", params=[False, True], ids=["mixed", "sorted"])
def hard(request, make_planted):
    """A million float32 rows and, in float64, their deviations from the mean."""
    x, y, *_ = make_planted(
        1_000_000,
        16,
        4,
        noise=0.1,
        condition=1e6,
        mean_over_std=3e3,
        drift=request.param,
        dtype="float32",
    )
    return Hard(x, y, *(z - z.mean(0, dtype=np.float64) for z in (x, y)))


@pytest.mark.parametrize(
    ("setting", "cov", "predicted", "kernel"),
    [
        ({}, 1e-12, 1e-8, 1e-5),
        ({"product_dtype": "float32"}, 1e-6, 1e-3, None),
        ({"dtype": "float32"}, 1e-5, 3e-2, None),
    ],
)
@pytest.mark.slow
def test_million_ill_conditioned_rows_far_from_zero(
    hard, setting, cov, predicted, kernel
):
    """Float32 rows, mean/std 3e3 to 6e3, condition 1e6, against float64 numpy.

    cov bounds the error of any entry over the standard deviations, predicted that of
    the least-squares predictions, kernel that of the least-squares and ridge maps and
    of the variance along every direction. Measured on mixed rows: float64 8e-15,
    6e-13, 1e-10; float32 products 8e-8, 6e-6; float32 throughout 7e-7, 1e-3.
    """
    x, y, u, v = hard
    got = accumulate(_batches(x, y, 8192), **setting)
    got = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), got)

    cov_xx, cov_xy, cov_yy = (a.T @ b / len(x) for a, b in ((u, u), (u, v), (v, v)))
    std_x, std_y = np.sqrt(np.diag(cov_xx)), np.sqrt(np.diag(cov_yy))
    values, basis = np.linalg.eigh(cov_xx)
    assert values[-1] / values[0] > 5e5
    assert np.median(np.abs(x.mean(0, dtype=np.float64)) / std_x) > 2e3
    np.testing.assert_allclose(got.mean_x, x.mean(0, dtype=np.float64), rtol=1e-6)
    for a, b, left, right in (
        (got.cov_xx, cov_xx, std_x, std_x),
        (got.cov_xy, cov_xy, std_x, std_y),
        (got.cov_yy, cov_yy, std_y, std_y),
    ):
        assert (np.abs(a - b) / np.outer(left, right)).max() < cov

    fit = fit_least_squares(got)
    assert bool(fit.ok)
    want = np.linalg.lstsq(u, v, rcond=None)[0]
    error = np.asarray(fit.map.kernel) - want
    assert np.linalg.norm(u @ error) / np.linalg.norm(u @ want) < predicted
    if kernel is not None:
        assert np.linalg.norm(error) / np.linalg.norm(want) < kernel
        whiten = basis / np.sqrt(values)
        assert np.abs(whiten.T @ (got.cov_xx - cov_xx) @ whiten).max() < kernel
        ridge = np.asarray(ridge_at(fit_ridge(got, penalties=1e-6), 0).map.kernel)
        penalty = 1e-6 * np.trace(cov_xx) / 16
        want = np.linalg.solve(cov_xx + penalty * np.eye(16), cov_xy)
        assert np.linalg.norm(ridge - want) / np.linalg.norm(want) < kernel


def test_a_bad_row_is_named(make_planted):
    x, y, *_ = make_planted(100, 5, 3, dtype="float32")
    y[57, 1] = np.nan
    with pytest.raises(ValueError, match="y holds NaN or infinity, first in row 57"):
        accumulate(_batches(x, y, 16))
    x[3, 0] = np.inf
    with pytest.raises(ValueError, match="x holds NaN or infinity, first in row 3 "):
        accumulate(_batches(x, y, 16))


def test_bad_streams_are_refused(make_planted):
    x, y, *_ = make_planted(20, 5, 3)
    with pytest.raises(ValueError, match="at least one batch"):
        accumulate([])
    with pytest.raises(ValueError, match="y needs width 3, got 5"):
        accumulate([(x, y), (x, x)])
    with pytest.raises(ValueError, match="same rows, got 20 and 19"):
        accumulate([(x, y[1:])])


_FOUR_DEVICES = """
import contextlib, jax, numpy as np
from jax.sharding import Mesh, PartitionSpec as P
from helix_jax.alignment import (
    Descent, accumulate, all_merge, fit_gradient, from_batch, gradient, kl_loss,
    losses, mean_map, mse_rows, residual_mlp)
from helix_jax.devices import RowDevices
from helix_jax.models.collectives import collective_bytes
assert jax.device_count() == 4
rng = np.random.default_rng(0)
x = (rng.normal(size=(4000, 6)) + 1e3).astype("float32")
y = (x[:, :3] * 2 + rng.normal(size=(4000, 3))).astype("float32")
x.sort(axis=0)  # so that the devices' means differ
mesh = Mesh(np.array(jax.devices()), ("data",))
shared = jax.jit(jax.shard_map(
    lambda x, y: all_merge(from_batch(x, y), "data"),
    mesh=mesh, in_specs=(P("data"), P("data")), out_specs=P()))
got, want = shared(x, y), from_batch(x, y)
assert got.cov_xx.dtype == np.float64, got.cov_xx.dtype
for name, a, b in zip(want._fields, got, want):
    np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=name)

# A stream, whose blocks the devices share; the last is short, and no multiple of four.
stream = [(x[i:i + 510], y[i:i + 510]) for i in range(0, 3999, 510)]
want, got = accumulate(stream), accumulate(stream, devices=jax.devices())
for name, a, b in zip(want._fields, got, want):
    a, b = np.asarray(a), np.asarray(b)
    assert np.abs(a - b).max() <= 1e-10 * np.abs(b).max(), name
holed = np.where(np.arange(40)[:, None] == 7, np.nan, x[:40])
bad = [(x[:40], y[:40]), (holed, y[:40])]
with contextlib.suppress(ValueError):
    accumulate(bad, devices=jax.devices())
    raise SystemExit("NaN came through")

# A map by gradient descent, whose batches they share; through a head in four blocks.
losses.ENTRIES_AT_ONCE = 20 * 64
head = jax.tree_util.Partial(lambda w, states: states @ w, rng.normal(size=(3, 20)))
few = (x[:512], y[:512]), (x[512:700], y[512:700])
moments = from_batch(*few[0])
settings = Descent(batch=256, epochs=2)
start = residual_mlp(jax.random.key(0), moments, mean_map(moments), hidden=8)
for loss in (mse_rows, kl_loss(head)):
    maps = [fit_gradient(start, *few, loss=loss, key=jax.random.key(1),
                         settings=settings, devices=devices).map
            for devices in (None, jax.devices())]
    for a, b in zip(*map(jax.tree.leaves, maps)):
        a, b = np.asarray(a), np.asarray(b)
        assert np.abs(a - b).max() <= 1e-5 * (1 + np.abs(a).max()), np.abs(a - b).max()
# What they tell each other is the gradient of the map, and the loss.
shared, optimizer = RowDevices(), settings.optimizer(512)
state = shared.place_copies(gradient.init(start, optimizer))
pair = shared.place_rows((x[:256], y[:256]))
compiled = gradient.step.lower(state, *pair, loss, optimizer=optimizer).compile()
trained = sum(leaf.nbytes for leaf in jax.tree.leaves(state.map.delta))
sent = collective_bytes(compiled)
assert sent == {"all-reduce": trained + 4}, (sent, trained)
try:
    RowDevices().place_rows(np.zeros((6, 2)))
except ValueError as error:
    assert "6 rows cannot be shared by 4 devices" in str(error)
else:
    raise SystemExit("six rows were shared by four devices")
print("equal")
"""


@pytest.mark.slow
def test_four_devices_merge_to_the_whole():
    ended = subprocess.run(
        [sys.executable, "-c", _FOUR_DEVICES],
        capture_output=True,
        text=True,
        env=with_devices(4),
    )
    assert ended.stdout.strip() == "equal", ended.stderr[-2000:]


def test_float32_records_are_solved_in_float64(make_planted):
    x, y, kernel, _ = make_planted(500, 5, 3, dtype="float32")
    moments = accumulate(_batches(x, y, 100), dtype="float32")
    assert moments.cov_xx.dtype == np.float32
    fit = fit_least_squares(moments)
    assert fit.map.kernel.dtype == np.float64
    np.testing.assert_allclose(fit.map.kernel, kernel, atol=1e-5)
    assert jax.config.jax_enable_x64 is False


@pytest.mark.parametrize("outside", [False, True])
def test_a_stream_is_made_under_the_callers_own_setting(outside):
    found = []

    def batches():
        for _ in range(2):
            found.append(jnp.arange(3.0).dtype)
            yield np.ones((4, 2), np.float32), np.ones((4, 3), np.float32)

    with jax.enable_x64(outside):
        moments = accumulate(batches())
    assert found == [jnp.float64 if outside else jnp.float32] * 2
    assert moments.cov_xy.dtype == jnp.float64
