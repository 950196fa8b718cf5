"""What answers show: logits, noisy logits, or their order."""

import numpy as np
import pytest

from helix_jax.private import Provider
from helix_jax.private.policies import Policy


@pytest.mark.parametrize("text", ["logits", "order", "rounded:1", "rounded:30"])
def test_policies_by_name_and_code(text):
    policy = Policy.parse(text)
    assert Policy.from_code(policy.code, policy.bits) == policy
    assert text in (policy.name, f"{policy.name}:{policy.bits}")


@pytest.mark.parametrize(
    "text", ["", "label", "rounded", "rounded:0", "rounded:31", "rounded:-1", "order:2"]
)
def test_unknown_policies(text):
    with pytest.raises(ValueError, match="'logits', 'order' or 'rounded:BITS'"):
        Policy.parse(text)


def test_unknown_codes():
    with pytest.raises(ValueError, match="no answer policy 3"):
        Policy.from_code(3, 0)
    with pytest.raises(ValueError, match="BITS from 1"):
        Policy.from_code(Policy("rounded").code, 0)


def test_order(parties, ask):
    """s (x W + b) + t: the order and ratios of differences, with s and t always new."""
    client, provider, layer, kernel, bias = parties(12, 5, policy="order")
    generator = np.random.default_rng(2)
    scales, offsets = [], []
    for _ in range(12):
        x = generator.standard_normal(12)
        expected, found = x @ kernel + bias, ask(client, provider, layer, x)
        assert np.argsort(found).tolist() == np.argsort(expected).tolist()
        design = np.stack([expected, np.ones(5)], axis=1)
        (scale, offset), *_ = np.linalg.lstsq(design, found, rcond=None)
        assert np.abs(design @ [scale, offset] - found).max() < 1e-3 * scale
        assert 15.9 < scale < 4096.1
        scales.append(scale)
        offsets.append(offset)
    assert np.ptp(np.log2(scales)) > 1
    assert np.ptp(offsets) > 100 * np.abs(bias).max()


@pytest.mark.parametrize("bits", [1, 4, 12])
def test_rounded(parties, ask, bits):
    """Noise of one to two times range / 2^BITS, of a mean near zero."""
    client, provider, layer, kernel, bias = parties(12, 60, policy=f"rounded:{bits}")
    columns = np.linalg.norm(kernel, axis=0).max()
    stated = (layer.input_norm * columns + np.abs(bias).max()) / 2.0**bits
    x = np.random.default_rng(3).standard_normal(12)
    noise = [ask(client, provider, layer, x) - (x @ kernel + bias) for _ in range(10)]
    noise = np.concatenate(noise)
    assert 0.85 * stated < noise.std() < 2.3 * stated
    exact = 2.0 ** (provider._scales.flood_bits - layer.result_bits) / np.sqrt(3)
    assert abs(noise.std() / exact - 1) < 0.15
    assert abs(noise.mean()) < 6 * exact / np.sqrt(len(noise))
    assert np.abs(noise).max() <= layer.error


@pytest.mark.parametrize("policy", ["order", "rounded:8"])
@pytest.mark.parametrize("profile", ["open", "compact"])
def test_policies_need_a_guarded_profile(policy, profile):
    with pytest.raises(ValueError, match=f"needs a guarded profile; '{profile}'"):
        Provider(np.ones((3, 2)), input_norm=1.0, profile=profile, policy=policy)
