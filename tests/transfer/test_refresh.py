"""Maps that are kept, refreshed and fitted anew, where the later texts differ."""

import jax
import numpy as np
import pytest

from helix_jax.alignment import evaluate_map, fit_ridge, from_batch, ridge_at
from helix_jax.transfer.adapters import ADAPTERS, fit_adapters
from helix_jax.transfer.pair_fit import choose_map
from helix_jax.transfer.refresh import WEIGHTS, counted, refresh_map, refreshed_maps
from helix_jax.transfer.residuals import predicted_residuals
from helix_jax.transfer.ways import WAYS
from tests.transfer.planted_pairs import planted_pair

DX, DY = 10, 8
RNG = np.random.default_rng(0)
KERNEL, OTHER = RNG.normal(size=(2, DX, DY))


def made(rows, kernel, seed):
    """Rows x and y = x kernel + noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, DX))
    return x, x @ kernel + rng.normal(size=(rows, DY))


def test_counted_rows_are_repeated_rows():
    x, y = made(40, KERNEL, 1)
    found = counted(from_batch(x, y), 3.0)
    wanted = from_batch(np.tile(x, (3, 1)), np.tile(y, (3, 1)))
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_a_refreshed_map_finds_later_rows_better_than_the_kept_one():
    later_kernel = KERNEL + 0.7 * OTHER
    earlier = from_batch(*made(2000, KERNEL, 1))
    fit, select = (
        planted_pair(*made(rows, later_kernel, seed), name=f"s{seed}-")
        for rows, seed in ((400, 2), (100, 3))
    )
    test = from_batch(*made(500, later_kernel, 4))
    kept = evaluate_map(ridge_at(fit_ridge(earlier, penalties=1e-6), 0).map, test).r2
    r2 = {
        (kind, size): float(evaluate_map(one, test).r2)
        for size, maps in refreshed_maps(earlier, fit, select, (12, 400), seed=0)
        for kind, one in maps.items()
    }
    # Twelve rows do not make a map of ten dimensions; with the earlier ones they help.
    assert r2["weighted", 12] > max(float(kept), r2["refit", 12])
    assert r2["weighted", 400] > r2["refreshed", 400] > float(kept)
    assert r2["refit", 400] == pytest.approx(r2["weighted", 400], abs=0.02)


def test_the_weight_that_is_best_on_later_rows_is_taken():
    earlier = from_batch(*made(300, KERNEL, 1))
    same, other = (
        (from_batch(*made(30, kernel, 2)), from_batch(*made(300, kernel, 3)))
        for kernel in (KERNEL, OTHER)
    )
    for later, select in (same, other):
        alone = [
            refresh_map(earlier, later, select, weights=(weight,)) for weight in WEIGHTS
        ]
        best = refresh_map(earlier, later, select, weights=WEIGHTS)
        r2 = [float(evaluate_map(one, select).r2) for one in alone]
        assert float(evaluate_map(best, select).r2) == pytest.approx(max(r2), abs=1e-6)


@pytest.mark.slow
def test_rows_that_a_map_serves_badly_are_told_by_their_old_embeddings():
    """Where the first old dimension is large, the new model's rows are noise."""
    rng = np.random.default_rng(5)

    def rows(count):
        old = rng.normal(size=(count, DY))
        spread = np.where(old[:, :1] > 0, 4.0, 0.1)
        return old @ KERNEL.T + spread * rng.normal(size=(count, DX)), old

    pairs = {
        split: planted_pair(*rows(count), name=split)
        for split, count in (("fit", 800), ("select", 200))
    }
    new, old = (np.asarray(z, np.float32) for z in rows(300))
    select = from_batch(*pairs["select"].read())
    for way in WAYS.values():
        centre = np.zeros(DX if way.backward else DY)
        predicted = predicted_residuals(
            pairs["fit"], select, old, way=way, centre=centre
        )
        moments = {"fit": from_batch(*pairs["fit"].read()), "select": select}
        true = way.residuals(way.fit(moments).map, new, old, centre)
        worst, best = np.argsort(-predicted)[:75], np.argsort(predicted)[:75]
        assert true[worst].mean() > 2 * true[best].mean()


@pytest.mark.slow
def test_adapters_fit_the_pairs_that_are_of_their_kind():
    """Pairs that a rotation joins: the rotation is best; the mean's R2 is zero."""
    rng = np.random.default_rng(6)
    turn = np.linalg.qr(rng.normal(size=(DX, DX)))[0]

    def rows(count):
        x = rng.normal(size=(count, DX)).astype(np.float32)
        return x, (x @ turn + 0.1 * rng.normal(size=(count, DX))).astype(np.float32)

    pairs = {"fit": rows(60), "select": rows(60)}
    moments = {split: from_batch(*one) for split, one in pairs.items()}
    maps = fit_adapters(
        pairs, moments["fit"], choose_map(moments), key=jax.random.key(0), epochs=8
    )
    assert list(maps) == list(ADAPTERS)
    x, y = rows(400)
    r2 = {
        name: 1 - float(np.sum((np.asarray(one(x)) - y) ** 2) / np.sum(y**2))
        for name, one in maps.items()
    }
    assert r2["procrustes"] == max(r2.values())
    assert min(r2[name] for name in r2 if name != "low_rank") > 0.95
    assert 0 < r2["low_rank"] < 1  # it begins at the mean, and has few steps here
