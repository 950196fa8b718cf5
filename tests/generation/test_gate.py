"""The gate: signals by hand, thresholds by brute force, and a planted case."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.alignment import AffineMap
from helix_jax.generation import stitch
from helix_jax.generation.gate import (
    GateRows,
    confidence_signals,
    coverage_curve,
    fit_gate,
    gate_rows,
    gate_scores,
    threshold_for,
    trusts,
)
from helix_jax.generation.gate_worth import gate_summary
from helix_jax.models import load_model, load_tokenizer
from helix_jax.types import Text


def planted_rows(count, seed):
    """Confident tokens agree; the entropy is noise."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(size=count)
    agrees = rng.uniform(size=count) < 1 / (1 + np.exp(-3 * margin))
    signals = np.stack([rng.normal(size=count), margin / 2, margin], 1)
    mapped = np.where(agrees, 1.0, 5.0)
    ids = np.array([f"d{i // 20}#{i // 5}" for i in range(count)], object)
    return GateRows(
        signals.astype(np.float32), agrees, mapped, np.full(count, 1.2), ids
    )


def test_signals_by_hand():
    p = np.array([[0.5, 0.25, 0.25], [0.98, 0.01, 0.01]])
    got = np.asarray(confidence_signals(jnp.log(p) + 7))
    np.testing.assert_allclose(got[:, 0], (p * np.log(p)).sum(1), atol=1e-5)
    np.testing.assert_allclose(got[:, 1], np.log(p[:, 0]), atol=1e-5)
    np.testing.assert_allclose(got[:, 2], np.log(p[:, 0] / p[:, 1]), atol=1e-5)


def test_the_threshold_is_the_lowest_that_is_good_enough():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, 200) / 10
    good = rng.uniform(size=200) < scores / 3
    got = threshold_for(scores, good, 0.8)
    enough = [t for t in np.unique(scores) if good[scores >= t].mean() >= 0.8]
    assert got == np.float32(min(enough))
    assert threshold_for(scores, np.zeros(200, bool), 0.5) == np.inf


def test_the_curve_by_hand():
    scores, good = np.array([3, 1, 2, 0]), np.array([1, 0, 1, 0])
    got = coverage_curve(scores, good, np.array([0.25, 0.5, 0.75, 1.0]))
    np.testing.assert_allclose(got, [1, 1, 2 / 3, 1 / 2])


@pytest.mark.parametrize("kind", ["margin", "logistic", "entropy"])
def test_a_gate_keeps_its_promise_on_new_rows(kind):
    fit, select, test = (planted_rows(4000, seed) for seed in range(3))
    gate = fit_gate(fit, select, kind=kind, quality=0.9)
    found = gate_summary(gate, test, resamples=100)
    if kind == "entropy":  # it says nothing here
        assert found["gate/coverage"].value < 0.02
        assert abs(found["gate/curve_gain"]) < 0.03
        return
    assert found["gate/agreement"].value == pytest.approx(0.9, abs=0.03)
    assert 0.33 < found["gate/coverage"].value < 0.47
    assert found["gate/curve_gain"] > 0.15
    assert found["gate/agreement_mixed"].value > found["gate/agreement_all"].value + 0.2
    assert found["gate/perplexity_mixed"].value < np.exp(test.mapped_nats.mean())
    by_text = gate_summary(gate, test, by_text=True, resamples=50)
    assert by_text["gate/agreement_at_100"] == found["gate/agreement_at_100"]
    assert by_text["gate/agreement_at_10"] < found["gate/agreement_at_10"]


def test_a_gate_is_used_inside_jit():
    gate = fit_gate(*(planted_rows(2000, seed) for seed in (0, 1)), kind="margin")
    logits = jax.random.normal(jax.random.key(0), (5, 50)) * 4
    scores = gate_scores(gate, confidence_signals(logits))
    np.testing.assert_array_equal(
        jax.jit(trusts)(gate, logits), scores >= gate.threshold
    )
    # One that is as good as the threshold is good enough; infinity trusts none.
    assert trusts(gate.replace(threshold=jnp.max(scores)), logits).sum() == 1
    assert not trusts(gate.replace(threshold=jnp.inf), logits).any()


@pytest.mark.slow
def test_rows_of_a_real_stitch():
    path = str(assets.model_path("pebble-llama"))
    model, tokenizer = load_model(path), load_tokenizer(path)
    parts = stitch(model, model, AffineMap(jnp.eye(128), jnp.zeros(128)))
    texts = [Text("a", "Return the mean of an array."), Text("b", "A cat sat.")]
    rows = gate_rows(parts, model, tokenizer, tokenizer, lambda: iter(texts))
    assert rows.agrees.all()
    np.testing.assert_allclose(rows.mapped_nats, rows.native_nats, atol=1e-4)
    assert set(rows.text_ids) == {"a", "b"}
    assert (
        len(
            gate_rows(
                parts, model, tokenizer, tokenizer, lambda: iter(texts), limit=3
            ).agrees
        )
        == 3
    )


def test_what_does_not_fit_is_refused():
    rows = planted_rows(100, 0)
    with pytest.raises(ValueError, match="kind must be one of"):
        fit_gate(rows, rows, kind="mood")
    with pytest.raises(ValueError, match="quality must be in"):
        fit_gate(rows, rows, quality=0)
