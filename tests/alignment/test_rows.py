"""R2 from the rows is that of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from helix_jax.alignment import AffineMap, deviations, r2_interval, squared_errors


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(80, 4)), generator.normal(size=(80, 4))
    return x, y + x


AFFINE = AffineMap(0.8 * np.eye(4), np.zeros(4))


def test_errors_and_deviations_add_up_to_r2(rows):
    x, y = rows
    wanted = r2_score(y, 0.8 * x, multioutput="variance_weighted")
    error, deviation = squared_errors(AFFINE, x, y), deviations(y)
    assert error.shape == deviation.shape == (80,)
    assert 1 - error.sum() / deviation.sum() == pytest.approx(wanted, abs=1e-6)
    assert deviation.sum() == pytest.approx(80 * y.var(0).sum(), rel=1e-12)


def test_r2_of_rows_is_that_of_scikit_learn(rows):
    x, y = rows
    found = r2_interval(AFFINE, (x, y), np.arange(80), resamples=100)
    wanted = r2_score(y, 0.8 * x, multioutput="variance_weighted")
    assert float(found.value) == pytest.approx(wanted, abs=1e-5)
    assert float(found.low) < wanted < float(found.high)
