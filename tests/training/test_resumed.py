"""A descent that is interrupted after an epoch ends with the same map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.alignment import AffineMap, Descent, mse_rows
from helix_jax.errors import RunError
from helix_jax.training.resumed import resumed_gradient


class Killed(Exception):
    """Ends a descent between two epochs."""


def test_an_interrupted_descent_ends_with_the_same_map(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((120, 4)).astype(np.float32)
    rows = x, x @ generator.standard_normal((4, 3)).astype(np.float32)
    start = AffineMap(jnp.zeros((4, 3)), jnp.zeros(3))
    given = {"loss": mse_rows, "key": jax.random.key(1)}
    given["settings"] = Descent(learning_rate=0.05, batch=20, epochs=3)
    epochs = []

    def count(now, numbers):
        epochs.append(int(now.epoch))

    whole = resumed_gradient(start, rows, rows, on_epoch=count, **given)
    assert epochs == [1, 2, 3]
    place = tmp_path / "fit.safetensors"

    def kill(now, numbers):
        if now.epoch == 2:  # what follows the first epoch is lost
            raise Killed

    with pytest.raises(Killed):
        resumed_gradient(start, rows, rows, snapshot=place, on_epoch=kill, **given)
    again = resumed_gradient(start, rows, rows, snapshot=place, on_epoch=count, **given)
    assert epochs == [1, 2, 3, 2, 3]
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(whole)):
        np.testing.assert_array_equal(ours, theirs)
    place.write_bytes(b"no snapshot")
    with pytest.raises(RunError, match="delete it to start from the beginning"):
        resumed_gradient(start, rows, rows, snapshot=place, **given)
