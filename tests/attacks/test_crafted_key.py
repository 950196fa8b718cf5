"""A public key that is no key takes the mask off narrow layers."""

import numpy as np
import pytest

from helix_jax.attacks import crafted_key, raw_answers
from helix_jax.attacks.crafted_key_findings import measure_crafted_key
from helix_jax.attacks.setting import planted_setting, serve

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def attack(own):
    bias = own.client.decrypt(
        own.provider.answer(own.client.encrypt(own.layer, np.zeros(len(own.kernel))))
    )
    key = crafted_key.craft_key(own.layer)
    own.provider.register(key.bundle)
    query = crafted_key.empty_query(own.layer, key)
    answer = own.provider.answer(query)
    return key, query, answer, crafted_key.read_secret(answer, own.layer, key, bias)


def test_the_mask_of_a_narrow_layer_comes_off(parties):
    own = parties(width=8, classes=512, tiles=1)
    key, query, answer, secret = attack(own)
    assert secret.known.all()
    assert np.abs(secret.values).max() == 1
    left = crafted_key.unmask(answer, own.layer, key, secret)
    second = raw_answers.raw_answer(own.provider, query).second
    raw = np.asarray(raw_answers.inverse_transform(second, profile=own.layer.profile))
    raw = raw_answers.lift(raw, own.layer.profile) / own.layer.profile.modulus
    off = (left - raw.astype(float) + 0.5) % 1 - 0.5
    assert np.abs(off).max() < 2.0**-39  # rounding is all that is left


def test_wide_layers_keep_most_of_it(parties):
    own = parties(width=256, classes=8, tiles=1)
    *_, secret = attack(own)
    assert 0 < secret.known.mean() < 0.05


def test_the_finding_says_what_was_read_and_what_is_left(clients):
    """Shares follow from the digits of a result: 13 or 14 of the coefficients each."""
    setting = planted_setting(0)
    finding = measure_crafted_key(setting, profile="guarded")
    layer = serve(setting, "guarded").layer
    digits = crafted_key.craft_key(layer).digits
    share = layer.plan.classes * digits / (layer.plan.answers * layer.plan.degree)
    assert finding.numbers["crafted_key_own_known_share"] == share
    assert finding.numbers["crafted_key_8x512_known_share"] == 1
    assert finding.numbers["crafted_key_8x512_unmasked_error"] < 2.0**-39
    assert finding.rows[0][1] == "width 20, 4 classes"
    assert measure_crafted_key(setting, profile="open").rows == []
