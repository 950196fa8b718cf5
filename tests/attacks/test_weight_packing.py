"""Integer weights from fewer queries than dimensions, where results are precise."""

import numpy as np
import pytest

from helix_jax.alignment import AffineMap
from helix_jax.attacks import weight_packing
from helix_jax.attacks.classifier_findings import measure_packed_weights
from helix_jax.attacks.setting import Setting


@pytest.mark.parametrize("shared", [1, 2, 3])
def test_packed_weights_in_the_clear(rng, shared):
    kernel = rng.standard_normal((25, 5))  # which two and three do not divide
    integers, unit = weight_packing.quantise(AffineMap(kernel, np.zeros(5)))
    assert np.abs(integers).max() == 127
    packing = weight_packing.pack(25, 8.0, shared=shared)
    assert len(packing.x) == -(-25 // shared)
    assert np.linalg.norm(packing.x, axis=1).max() == pytest.approx(8)
    found = weight_packing.unpack(packing, packing.x @ (unit * integers), unit)
    np.testing.assert_array_equal(found, integers)


@pytest.mark.slow
def test_packed_weights_fall_with_the_bits_of_results(rng):
    """24 weights a class in 12 queries of 25 bits; of 11 bits every other is read."""
    pytest.importorskip("Pyfhel")
    classifier = AffineMap(rng.standard_normal((24, 5)), np.zeros(5))
    x = np.full((1, 24), 8 / np.sqrt(24))
    setting = Setting(classifier, x, x, x, x, 0.0)
    numbers = measure_packed_weights(
        setting, profile="guarded", policies=("logits", "rounded:12")
    ).numbers
    for name in ("logits", "rounded_12"):
        assert numbers[f"packed_weights_{name}_3_plain_exact"].value == 1
    # The commonest integer is 3% of them; observed .45 to .52.
    assert numbers["packed_weights_logits_2_exact"].value == 1
    assert numbers["packed_weights_rounded_12_2_exact"].value < 0.7
