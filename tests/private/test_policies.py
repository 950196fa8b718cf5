"""What answers show: logits, noisy logits, or the label."""

import numpy as np
import pytest

from helix_jax.private import Provider
from helix_jax.private.policies import Policy


@pytest.mark.parametrize("text", ["logits", "label", "rounded:1", "rounded:30"])
def test_policies_by_name_and_code(text):
    policy = Policy.parse(text)
    assert Policy.from_code(policy.code, policy.bits) == policy
    assert str(policy) == text


@pytest.mark.parametrize(
    "text", ["", "labels", "rounded", "rounded:0", "rounded:31", "rounded:-1", "order"]
)
def test_unknown_policies(text):
    with pytest.raises(ValueError, match="'logits', 'label' or 'rounded:BITS'"):
        Policy.parse(text)


def test_unknown_codes():
    with pytest.raises(ValueError, match="no answer policy 3"):
        Policy.from_code(3, 0)
    with pytest.raises(ValueError, match="BITS from 1"):
        Policy.from_code(Policy("rounded").code, 0)


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
    exact = 2.0 ** (provider._prepared.scales.flood_bits - layer.result_bits) / np.sqrt(
        3
    )
    assert abs(noise.std() / exact - 1) < 0.15
    assert abs(noise.mean()) < 6 * exact / np.sqrt(len(noise))
    assert np.abs(noise).max() <= layer.error


def test_what_is_shown_unless_another_policy_is_named():
    kernel = np.ones((3, 2))
    shown = Provider(kernel, input_norm=1.0)
    assert str(shown.layer.policy) == "rounded:12"
    assert 2 * 10.3 < shown.answer_bits < 2 * 12.4
    exact = Provider(kernel, input_norm=1.0, policy="logits")
    assert 2 * 20 < exact.answer_bits < 2 * 32
    public = Provider(kernel, input_norm=1.0, profile="open")
    assert str(public.layer.policy) == "logits"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 20])
def test_noise_and_results_never_wrap(bits):
    """The largest result and 2 R stay below q / 2; a result carries about `bits`."""
    kernel = np.random.default_rng(bits).standard_normal((6, 3))
    provider = Provider(kernel, input_norm=3.0, policy=f"rounded:{bits}")
    scales, profile = provider._prepared.scales, provider.layer.profile
    reach = 3.0 * (1 + 2**-5) * np.linalg.norm(kernel, axis=0).max()
    largest = reach * 2.0**scales.result_bits + 2.0 ** (scales.flood_bits + 1)
    assert largest < 0.97 * profile.modulus / 2
    # Both scales are powers of two: each costs a result up to a bit.
    most = bits + 0.32 + np.log2(1 + 4 * np.sqrt(3) / 2**bits)
    assert most - 2.02 < provider.answer_bits / 3 < most


def test_shared_scales_never_let_results_wrap():
    """Scales that are not of `shared_scales`: the hiding flood is a quarter of q."""
    layer = Provider(np.ones((4, 15)), input_norm=8.0).layer
    with pytest.raises(ValueError, match="the flood needs 100 bits"):
        Provider(np.ones((4, 15)), input_norm=8.0, shared=(50, layer.result_bits))


@pytest.mark.parametrize("policy", ["label", "rounded:8"])
@pytest.mark.parametrize("profile", ["open", "compact"])
def test_policies_need_a_guarded_profile(policy, profile):
    with pytest.raises(ValueError, match=f"needs a guarded profile; '{profile}'"):
        Provider(np.ones((3, 2)), input_norm=1.0, profile=profile, policy=policy)
