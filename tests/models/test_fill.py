"""Parameters in memory: casts and transpositions against numpy, NaN, no copy."""

import jax
import ml_dtypes
import numpy as np
import pytest

from helix_jax.models import fill as fill_module
from helix_jax.models import load_model
from helix_jax.models.fill import LINE, aligned_empty, all_finite, fill
from helix_jax.models.weights import digest, stored_tensors, weight_files

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)


@pytest.mark.parametrize("source", [np.float64, *DTYPES])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_casts_and_transposes(source, dtype):
    values = np.random.default_rng(0).normal(size=(37, 21)).astype(source)
    for given in (values, values.T, values[:, 0], values[:, :1].T):
        target = aligned_empty(given.shape, dtype)
        assert target.ctypes.data % LINE == 0
        fill(target, given)
        np.testing.assert_array_equal(target, given.astype(dtype))


@pytest.mark.parametrize("shape", [(100, 21), (70, 3, 4), (5000,), ()])
def test_pages_of_a_file_are_released_while_it_is_read(shape, monkeypatch):
    """What is not released yet spans at most PAGES bytes of the file, and a line."""
    monkeypatch.setattr(fill_module, "PAGES", 4096)
    values = np.random.default_rng(0).normal(size=shape)
    for given in (values, values.T) if values.ndim < 3 else (values,):
        target, filled = aligned_empty(given.shape, np.float32), []
        target[...] = np.nan

        def release(target=target, filled=filled):
            filled.append(np.isfinite(target).sum())

        fill(target, given, release)
        np.testing.assert_array_equal(target, given.astype(np.float32))
        most = 4096 + fill_module.COLUMNS * 8 * np.prod(shape[1:])
        assert np.diff([0, *filled]).max() * 8 <= most
        assert filled[-1] == values.size


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_finite(dtype):
    largest = ml_dtypes.finfo(dtype).max
    array = np.full((3, 70_000), largest, dtype)
    array[0] = -largest
    assert all_finite(array)
    assert all_finite(array[:0])
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        damaged = array.copy()
        damaged[2, 69_999] = value
        assert not all_finite(damaged)


def test_values_beyond_the_dtype_are_not_finite():
    target = aligned_empty((2, 2), np.float16)
    fill(target, np.full((2, 2), 1e6, np.float32).T)
    assert not all_finite(target)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="copied to the device")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cpu_takes_arrays_as_they_lie(dtype):
    for shape in ((5, 3), (7,), ()):
        array = aligned_empty(shape, dtype)
        array[...] = 1
        assert jax.device_put(array).unsafe_buffer_pointer() == array.ctypes.data


def test_the_digest_in_one_pass_is_that_of_the_files(twin):
    _, model = twin("llama3")
    files, digests = weight_files(model.folder), []
    for stored in stored_tensors(files, digests):
        assert not stored.read().flags.writeable
    assert len(digests) == len(files)
    loaded = load_model(str(model.folder))
    assert loaded.fingerprint["weights"] == digest(files)
