"""Data and comparison of the tests of dtypes: one value, every dtype that holds it."""

import jax
import jax.numpy as jnp
import numpy as np

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
WHOLE = SIGNED + UNSIGNED
RNG = np.random.default_rng(0)
N, CLASSES = 300, 77

LABELS = RNG.integers(CLASSES, size=N)
GUESSES = np.where(RNG.random(N) < 0.8, LABELS, RNG.integers(CLASSES, size=N))
# Whole numbers to 100 and more: float16 and every integer holds them, sums it does not.
ROWS = RNG.integers(-100, 100, size=(N, 8))
OTHERS = np.clip(ROWS[:, :5] + RNG.integers(-20, 20, size=(N, 5)), -127, 127)
LOGITS = RNG.integers(-60, 60, size=(N, 9))
NINE = RNG.integers(9, size=N)
KNOWN = RNG.integers(0, 90, size=N)
STRANGE = RNG.integers(30, 120, size=N + 20)
DOCUMENTS = np.arange(N) % 40


def arrays(values, dtypes=WHOLE + FLOATS):
    """The same values in each dtype that holds them, of numpy and of JAX."""
    for name in dtypes:
        made = np.asarray(values).astype(jnp.dtype(name))
        if not np.array_equal(made.astype(np.float64), values):
            continue
        yield name, made
        if name not in ("int64", "uint64", "float64"):
            yield f"{name} of jax", jnp.asarray(made)


def check(function, expected, *values, dtypes=WHOLE + FLOATS, rtol=1e-6, atol=1e-9):
    """function(*values) in every dtype is what float64 gives."""
    seen = 0
    for made in zip(*(arrays(value, dtypes) for value in values), strict=False):
        found = function(*(array for _, array in made))
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
            np.testing.assert_allclose(
                np.asarray(one, np.float64),
                np.asarray(other, np.float64),
                rtol=rtol,
                atol=atol,
                err_msg=made[0][0],
            )
        seen += 1
    assert seen >= 4  # not every dtype holds these numbers
    return seen


def softmax(logits):
    logits = np.asarray(logits, np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)
