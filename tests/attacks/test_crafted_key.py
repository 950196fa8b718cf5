"""A key that is none takes the mask off narrow layers, where no proof is asked for."""

import numpy as np
import pytest

from helix_jax.attacks import crafted_key, crafted_key_findings, raw_answers
from helix_jax.attacks.crafted_key_findings import attack_fit, measure_crafted_key
from helix_jax.attacks.setting import planted_setting, serve
from helix_jax.private import FitProvider
from helix_jax.private.internals import admit_unproved


def attack(own):
    bias = own.client.decrypt(
        own.provider.answer(own.client.encrypt(own.layer, np.zeros(len(own.kernel))))
    )
    key = crafted_key.craft_key(own.layer)
    admit_unproved(own.provider, key.public)
    query = crafted_key.empty_query(own.layer, key)
    answer = own.provider.answer(query)
    return key, query, answer, crafted_key.read_secret(answer, own.layer, key, bias)


@pytest.mark.slow
def test_the_mask_of_a_narrow_layer_comes_off(parties):
    own = parties(width=8, classes=512, tiles=1)
    key, query, answer, secret = attack(own)
    assert secret.known.all()
    assert np.abs(secret.values).max() == 1
    second = raw_answers.read_answer(answer, own.layer).second
    raw = raw_answers.raw_answer(own.provider, query).second
    error = crafted_key.unmasked_error(second, raw, key, secret)
    assert error < 2.0**-39  # rounding is all that is left
    one_wrong = secret.values.copy()
    one_wrong[0, 0] = (one_wrong[0, 0] + 2) % 3 - 1
    wrong = secret._replace(values=one_wrong)
    assert crafted_key.unmasked_error(second, raw, key, wrong) > 0.4


def test_wide_layers_keep_most_of_it(parties):
    own = parties(width=256, classes=8, tiles=1)
    *_, secret = attack(own)
    assert 0 < secret.known.mean() < 0.05


@pytest.mark.slow
def test_the_masks_of_a_fit_come_off():
    """Six digits of 768 coefficients, at the default's precision; two columns."""
    y = np.random.default_rng(0).standard_normal((5, 2))
    found = attack_fit(FitProvider(y, share=1e9), 768)
    assert found.refused
    assert found.known == 1
    assert found.error < 2.0**-39


@pytest.mark.slow
def test_the_finding_says_what_was_read_and_what_is_left(clients, monkeypatch):
    """Shares follow from the digits of a result: some 11 of the coefficients each."""
    monkeypatch.setattr(crafted_key_findings, "FITS", ())  # above
    setting = planted_setting(0)
    finding = measure_crafted_key(setting, profile="guarded")
    layer = serve(setting, "guarded").layer
    digits = crafted_key.craft_key(layer).digits
    share = layer.plan.classes * digits / (layer.plan.answers * layer.plan.degree)
    assert finding.numbers["crafted_key_own_known_share"] == share
    assert finding.numbers["crafted_key_own_refused"] == 1
    assert finding.numbers["crafted_key_8x512_known_share"] == 1
    assert finding.numbers["crafted_key_8x512_unmasked_error"] < 2.0**-39
    assert finding.rows[0][1] == "width 20, 4 classes"
    assert {row[3] for row in finding.rows} == {"refused"}
    assert measure_crafted_key(setting, profile="open").rows == []
