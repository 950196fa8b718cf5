"""Affine maps: apply, compose, and artefacts that refuse other models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.alignment import (
    AffineMap,
    ShiftMap,
    apply_map,
    compose_map,
    load_map,
    save_map,
    to_affine,
)
from helix_jax.artefacts import save_artefact
from helix_jax.errors import ArtefactError, FingerprintError
from helix_jax.maps_numpy import read_map

SOURCE = {"model": "a", "layer": -1}
TARGET = {"model": "b", "layer": -1}


def _random_map(seed, dx, dy):
    rng = np.random.default_rng(seed)
    return AffineMap(rng.normal(size=(dx, dy)), rng.normal(size=dy))


@pytest.mark.parametrize("jitted", [False, True])
def test_apply_is_the_equation_over_any_leading_axes(jitted):
    affine = _random_map(0, 5, 3)
    x = np.random.default_rng(1).normal(size=(2, 7, 5)).astype(np.float32)
    apply = jax.jit(apply_map) if jitted else apply_map
    np.testing.assert_allclose(
        apply(affine, x), x @ affine.kernel + affine.bias, atol=1e-5
    )


def test_apply_computes_half_precision_in_float32():
    affine = _random_map(0, 64, 3)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(9, 64)), jnp.bfloat16)
    got = apply_map(affine, x)
    assert got.dtype == jnp.float32
    want = np.asarray(x, np.float64) @ affine.kernel + affine.bias
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_compose_applies_first_then_second():
    first, second = _random_map(0, 5, 4), _random_map(1, 4, 3)
    x = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)
    np.testing.assert_allclose(
        apply_map(compose_map(first, second), x),
        apply_map(second, apply_map(first, x)),
        atol=1e-5,
    )


def test_a_shift_adds_its_vector_and_comes_back_from_its_folder(tmp_path):
    shift = ShiftMap(np.arange(3, dtype=np.float32))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(apply_map(shift, x), x + shift.shift)
    np.testing.assert_allclose(
        apply_map(to_affine(shift), x), x + shift.shift, atol=1e-6
    )
    record = {"source": SOURCE, "target": SOURCE, "penalty": None, "split": "fit"}
    folder = save_map(tmp_path / "map", shift, **record)
    loaded, _ = load_map(folder)
    assert isinstance(loaded, ShiftMap)
    np.testing.assert_array_equal(loaded.shift, shift.shift)
    np.testing.assert_array_equal(read_map(folder).map(x), x + shift.shift)


def test_widths_must_fit():
    with pytest.raises(ValueError, match="apply_map: x needs width 5, got 4"):
        apply_map(_random_map(0, 5, 3), np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="compose_map: second needs width 3, got 4"):
        compose_map(_random_map(0, 5, 3), _random_map(1, 4, 2))


def test_round_trip_is_exact(tmp_path):
    affine = _random_map(0, 5, 3)
    record = {"source": SOURCE, "target": TARGET, "penalty": 0.5, "split": "fit"}
    save_map(tmp_path / "map", affine, **record)
    back, fingerprints = load_map(tmp_path / "map", source=SOURCE, target=TARGET)
    np.testing.assert_array_equal(np.asarray(back.kernel), affine.kernel)
    np.testing.assert_array_equal(np.asarray(back.bias), affine.bias)
    assert fingerprints == record


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_map_of_other_models_is_refused_naming_both(tmp_path, side):
    save_map(
        tmp_path / "map",
        _random_map(0, 5, 3),
        source=SOURCE,
        target=TARGET,
        penalty=None,
        split="fit",
    )
    with pytest.raises(FingerprintError, match=rf"(?s)the {side} .*'layer'|layer: -1 "):
        load_map(tmp_path / "map", **{side: {**SOURCE, **TARGET, "layer": 2}})


def test_what_is_not_a_map_is_refused(tmp_path):
    save_artefact(tmp_path / "probe", "probe", {}, {"kernel": np.ones(2)})
    with pytest.raises(ArtefactError, match="holds a 'probe', expected a 'affine_map'"):
        load_map(tmp_path / "probe")
    broken = AffineMap(np.full((2, 2), np.nan), np.zeros(2))
    with pytest.raises(
        ValueError, match="kernel holds NaN or infinity, first in row 0"
    ):
        save_map(
            tmp_path / "map", broken, source={}, target={}, penalty=None, split="fit"
        )
    assert not (tmp_path / "map").exists()
