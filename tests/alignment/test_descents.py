"""The named gradient fits are those of `fit_gradient` from where the table says."""

import jax
import numpy as np
import pytest

from helix_jax.alignment import (
    GRADIENT_METHODS,
    Descent,
    ResidualMap,
    apply_map,
    cosine_rows,
    fit_descent,
    fit_gradient,
    fit_least_squares,
    from_batch,
    huber_rows,
    mean_map,
    mse_rows,
    residual_affine,
    residual_low_rank,
    residual_mlp,
)

KEY = jax.random.key(1)


@pytest.fixture(scope="module")
def planted(make_planted):
    x, y, *_ = make_planted(300, 6, 4, noise=0.1, dtype="float32")
    return (x[:200], y[:200]), (x[200:], y[200:])


@pytest.fixture(scope="module")
def moments(planted):
    return from_batch(*planted[0])


@pytest.fixture(scope="module")
def beginnings(moments):
    mean, ridge = mean_map(moments), fit_least_squares(moments).map
    return {
        "gradient_mse": (residual_affine(mean), mse_rows),
        "gradient_low_rank": (residual_low_rank(KEY, mean, rank=4), mse_rows),
        "gradient_cosine": (residual_affine(ridge), cosine_rows),
        "gradient_huber": (residual_affine(ridge), huber_rows),
        "mlp": (residual_mlp(KEY, moments, ridge, hidden=256), mse_rows),
    }


@pytest.mark.parametrize("name", GRADIENT_METHODS)
@pytest.mark.slow
def test_a_name_is_a_beginning_and_a_loss(name, planted, moments, beginnings):
    begin, loss = beginnings[name]
    ridge = fit_least_squares(moments).map
    told = []
    got = fit_descent(
        name,
        *planted,
        moments=moments,
        ridge=ridge,
        key=KEY,
        epochs=2,
        on_step=lambda done, steps: told.append((done, steps)),
    )
    settings = Descent(epochs=2, batch=128)
    wanted = fit_gradient(begin, *planted, loss=loss, key=KEY, settings=settings).map
    x = planted[1][0]
    np.testing.assert_allclose(apply_map(got.map, x), apply_map(wanted, x), atol=1e-6)
    assert isinstance(got.map, ResidualMap)
    assert got.seconds > 0
    assert told == [(1, 2), (2, 2)]


def test_unknown_names_are_refused(planted, moments):
    with pytest.raises(ValueError, match="unknown method 'magic'; there are gradient_"):
        fit_descent(
            "magic",
            *planted,
            moments=moments,
            ridge=mean_map(moments),
            key=KEY,
            epochs=1,
        )
