"""Probe artefacts: exact round trip, refused on other states."""

import numpy as np
import pytest

from helix_jax.artefacts import save_artefact
from helix_jax.errors import ArtefactError, FingerprintError
from helix_jax.probes import Probe, load_probe, predict_logits, save_probe

MADE_OF = {"states": {"model": "a", "layer": -1}, "split": "fit"}


@pytest.fixture
def probe():
    rng = np.random.default_rng(0)
    return Probe(rng.normal(size=(4, 3)).astype("f"), rng.normal(size=3).astype("f"))


def test_logits_are_the_equation(probe):
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    want = x @ probe.kernel + probe.bias
    np.testing.assert_allclose(predict_logits(probe, x), want, atol=1e-6)
    with pytest.raises(ValueError, match="x needs width 4, got 3"):
        predict_logits(probe, x[:, :3])


def test_round_trip(tmp_path, probe):
    save_probe(tmp_path / "probe", probe, classes=["a", "b", "c"], fingerprints=MADE_OF)
    back, config = load_probe(tmp_path / "probe", expect={"states": MADE_OF["states"]})
    np.testing.assert_array_equal(back.kernel, probe.kernel)
    np.testing.assert_array_equal(back.bias, probe.bias)
    assert config == {"classes": ["a", "b", "c"], "fingerprints": MADE_OF}


def test_refusals(tmp_path, probe):
    names = ["a", "b", "c"]
    save_probe(tmp_path / "probe", probe, classes=names, fingerprints=MADE_OF)
    other = {"states": {"model": "b", "layer": -1}}
    with pytest.raises(FingerprintError, match=r"states: .*'a'.* against .*'b'"):
        load_probe(tmp_path / "probe", expect=other)
    with pytest.raises(ValueError, match="needs 3 class names"):
        save_probe(tmp_path / "x", probe, classes=["a"], fingerprints={})
    broken = probe.replace(bias=np.full(3, np.nan))
    with pytest.raises(ValueError, match="bias holds NaN"):
        save_probe(tmp_path / "x", broken, classes=names, fingerprints={})
    save_artefact(tmp_path / "map", "affine_map", {}, {"kernel": np.ones(2)})
    with pytest.raises(ArtefactError, match="holds a 'affine_map', expected a 'probe'"):
        load_probe(tmp_path / "map")
