"""Weights in int8: against numpy, through the forward pass, and from a folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.errors import CheckpointError
from helix_jax.models import flatten, load_model, parameter_shapes, save_model
from helix_jax.models.layers import dense
from helix_jax.models.quantised import (
    is_quantised,
    parameter_bytes,
    quantisation_error,
    quantise_kernel,
)

RNG = np.random.default_rng(0)


def test_each_output_has_its_scale():
    kernel = RNG.normal(size=(3, 24, 10)).astype(np.float32)
    kernel *= 10.0 ** RNG.integers(-3, 3, 10)
    kernel[1, :, 4] = 0
    found = quantise_kernel(jnp.asarray(kernel))
    scale = np.abs(kernel).max(1) / np.float32(127)
    np.testing.assert_allclose(found["kernel_scale"], scale, rtol=2e-7)
    assert found["kernel"].dtype == jnp.int8
    largest = np.abs(np.asarray(found["kernel"], np.int32)).max(1)
    np.testing.assert_array_equal(largest, np.where(scale > 0, 127, 0))
    # Half a unit of the last place, and what float32 rounds.
    restored = np.asarray(found["kernel"]) * scale[:, None]
    assert (np.abs(restored - kernel) <= scale[:, None] * 0.5001).all()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.01)]
)
def test_the_product_is_that_of_the_restored_kernel(dtype, tolerance):
    """Tolerance: of the largest; observed 2e-7, and 0.003 (rounding of the result)."""
    x = jnp.asarray(RNG.normal(size=(5, 64)), dtype)
    found = quantise_kernel(jnp.asarray(RNG.normal(size=(64, 12)), jnp.float32))
    bias = jnp.asarray(RNG.normal(size=12), dtype)
    y = dense(found | {"bias": bias}, x)
    assert y.dtype == x.dtype
    restored = np.asarray(found["kernel"], np.float64) * found["kernel_scale"]
    wanted = np.asarray(x, np.float64) @ restored + np.asarray(bias, np.float64)
    assert np.abs(y - wanted).max() < tolerance * np.abs(wanted).max()


@pytest.fixture(scope="module")
def pebble():
    return load_model(str(assets.model_path("pebble-qwen3")), dtype="bfloat16")


def test_a_model_moves_little(pebble):
    """Of a trained model in bfloat16, |difference| / |states|: observed 0.018."""
    tokens = jnp.asarray(RNG.integers(5, pebble.spec.vocab_size, (4, 24)))
    mask = jnp.arange(24)[None] < jnp.array([24, 20, 9, 1])[:, None]
    layers = (0, 1, -1)
    error = quantisation_error(pebble.params, pebble.spec, tokens, mask, layers=layers)
    assert error[0] == 0  # the embedding is as it was
    assert (error[1:] > 1e-4).all()
    assert (error[1:] < 0.05).all()


def test_loaded_in_int8(pebble, tmp_path):
    model = load_model(str(pebble.folder), dtype="int8")
    assert model.fingerprint == pebble.fingerprint | {"dtype": "int8"}
    flat, plain = dict(flatten(model.params)), dict(flatten(pebble.params))
    scales = {path for path in flat if path.endswith("kernel_scale")}
    assert set(flat) - scales == set(plain)
    for path, value in plain.items():
        if is_quantised(path):
            wanted = quantise_kernel(value)
            np.testing.assert_array_equal(flat[path], wanted["kernel"])
            np.testing.assert_array_equal(flat[f"{path}_scale"], wanted["kernel_scale"])
        else:
            np.testing.assert_array_equal(flat[path], value)
    assert len(scales) == 7
    needed = parameter_bytes(parameter_shapes(model.spec), "int8", 2)
    assert needed == sum(value.nbytes for p, value in flat.items() if p not in scales)
    assert 2 * len(parameter_shapes(model.spec)) < needed
    with pytest.raises(CheckpointError, match=r"dtype must be one of .* got 'int8'"):
        save_model(tmp_path, model.params, model.spec, None, dtype="int8")
    with pytest.raises(CheckpointError, match=r"'int8'\], got 'int4'"):
        load_model(str(pebble.folder), dtype="int4")


def test_routers_stay_floats(twin):
    """Of a mixture of experts, and gates of shared experts."""
    model = load_model(str(twin("qwen2_moe")[1].folder), dtype="int8")
    layers = model.params["layers"]
    assert layers["experts"]["down"]["kernel"].dtype == jnp.int8
    assert layers["experts"]["down"]["kernel_scale"].shape == (3, 5, 32)
    assert layers["router"]["kernel"].dtype == jnp.bfloat16
    assert jax.tree.leaves(layers["shared_gate"])[0].dtype == jnp.bfloat16
