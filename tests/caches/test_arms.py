"""Every arm on embedded models: identities, controls and training."""

import jax
import numpy as np
import pytest

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.alignment import Descent, from_batch
from helix_jax.caches import (
    CacheStates,
    PromptShape,
    cache_form,
    cache_side,
    identity_map,
    make_prompts,
    read_cache_moments,
)
from helix_jax.caches.arms import ArmRows, measure_arms
from helix_jax.caches.attention import attention_outputs, native_streams
from helix_jax.caches.distil import make_lessons, train_map, with_delta
from helix_jax.caches.fit import FittedCacheMap, choose_layers, fit_cache_map
from helix_jax.caches.gate import calibration_numbers
from helix_jax.caches.measures import (
    ContinuationRows,
    continuation_numbers,
    continuation_tokens,
    retention_of_sums,
)
from helix_jax.caches.reading import read_native
from helix_jax.errors import RunError
from helix_jax.models.layers import dense, feed_forward, normalise
from helix_jax.text.docstrings import read_docstrings

states_of = jax.jit(CacheStates.__call__)


@pytest.fixture(scope="module")
def texts():
    return [text for text in read_docstrings() if len(text.text) > 300][:80]


@pytest.fixture(scope="module")
def sides(pebble, texts):
    """llama -> qwen3, which share a tokenizer: models, tokenizers, moments, a map."""
    both = [pebble(name) for name in ("llama", "qwen3")]
    moments = {}
    for split, some in (("fit", texts[:40]), ("select", texts[40:50])):
        pairs = TokenPairs(
            *(cache_side(*one) for one in both),
            lambda some=some: some,
            max_tokens=64,
            block_rows=512,
        )
        moments[split] = read_cache_moments(pairs, limit=4000)
    models, tokenizers = zip(*both)
    return models, tokenizers, moments


@pytest.mark.slow
def test_moments_of_two_kinds_are_those_of_the_rows(sides, texts):
    models, tokenizers, moments = sides
    ids = [tokenizers[0](text.text)["input_ids"][:64] for text in texts[40:50]]
    rows = []
    for model in models:
        states = CacheStates(model.params, model.spec)
        each = []
        for own in ids:  # alone, padded so that all lengths compile once
            padded = np.pad(own, (0, 64 - len(own)))[None]
            mask = np.arange(64)[None] < len(own)
            each.append(np.asarray(states_of(states, padded, mask))[:, 0, : len(own)])
        rows.append(np.concatenate(each, axis=1).astype(float))
    for part, own in enumerate((moments["select"].keys, moments["select"].values)):
        x, y = (np.split(side, 2)[part] for side in rows)
        x, y = (np.concatenate(side, axis=1) for side in (x, y))
        wanted = from_batch(x, y)
        assert float(own.joint.count) == len(x)
        for name in ("mean_x", "mean_y", "cov_xx", "cov_xy", "cov_yy"):
            found, exact = (np.asarray(getattr(z, name)) for z in (own.joint, wanted))
            assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max(), name


@pytest.mark.slow
def test_a_model_goes_on_from_its_own_cache_as_if_it_had_read(sides, texts):
    """Through states, places and back: the identity map loses nothing."""
    models, tokenizers, _ = sides
    model, tokenizer = models[0], tokenizers[0]
    same = identity_map(*[cache_form(model.spec)] * 2)
    prompts = make_prompts(texts, (tokenizer,) * 2, PromptShape(40, 12), count=5)
    arms = measure_arms(
        (model, model), tokenizer, prompts, {"as_is": same}, shuffled="as_is", batch=4
    )
    found = continuation_numbers(arms.rows, resamples=20)
    assert abs(found["caches/kl_nats_as_is"].value) < 1e-4
    assert found["caches/agreement_top1_as_is"].value > 0.98
    assert found["caches/retention_as_is"].value == pytest.approx(1, abs=1e-3)
    assert arms.cosines["as_is"].min() > 0.9999
    assert found["caches/kl_nats_shuffled"].value > 0.1
    assert found["caches/prompts"] == 5


def test_what_attention_mixes_is_what_the_blocks_go_on_with(sides, texts):
    models, tokenizers, _ = sides
    model, tokenizer = models[0], tokenizers[0]
    prompts = make_prompts(texts, (tokenizer,) * 2, PromptShape(40, 12), count=2)
    read, spec = continuation_tokens(prompts)[0], model.spec
    cache = read_native(model, prompts, room=read.shape[1])
    streams, whole = native_streams(model.params, cache, read, spec=spec)
    outputs = attention_outputs(model.params, streams, whole, spec=spec)
    for layer in range(spec.num_layers - 1):
        own = jax.tree.map(lambda z, layer=layer: z[layer], model.params["layers"])
        h = streams[layer] + dense(own["out"], outputs[layer])
        h += feed_forward(own, normalise(own["ffn_norm"], h, spec), spec)
        np.testing.assert_allclose(h, streams[layer + 1], atol=1e-3)


@pytest.mark.slow
def test_training_gains_on_the_map_that_it_begins_with_and_resumes(
    sides, texts, tmp_path
):
    models, tokenizers, moments = sides
    start = fit_cache_map(moments, choose_layers(moments, count=1)).map
    shape = PromptShape(24, 12)
    prompts = make_prompts(texts[:40], tokenizers, shape, count=8)
    fit = make_lessons(models, prompts, batch=4)
    settings = {"rank": 4, "key": jax.random.split(jax.random.key(0))}
    descent = Descent(1e-2, 4, epochs=4, warmup_steps=2)
    path = tmp_path / "snapshot.safetensors"
    lessons = (start, models[1], fit, fit)
    trained, ended = train_map(*lessons, settings=descent, snapshot=path, **settings)
    none = Descent(3e-3, 4, epochs=0)
    _, before = train_map(*lessons, settings=none, **settings)
    assert float(ended.loss) < 0.95 * float(before.loss)
    assert int(ended.epoch) == 4
    # A training that has ended is read from its snapshot, whatever the lessons.
    again, _ = train_map(*lessons, settings=descent, snapshot=path, **settings)
    for one, other in zip(jax.tree.leaves(trained), jax.tree.leaves(again)):
        np.testing.assert_array_equal(one, other)
    untouched = with_delta(start, before.best)
    np.testing.assert_allclose(untouched.keys.kernel, start.keys.kernel)
    broken = [one._replace(states=one.states * np.nan) for one in fit]
    with pytest.raises(RunError, match="no longer finite"):
        train_map(start, models[1], broken, fit, settings=descent, **settings)


def test_the_gate_tells_all_layers_and_the_worst():
    """Three prompts, two layers: one prompt is bad everywhere, one layer on average."""
    cosines = np.array([[0.9, 0.7], [0.8, 0.6], [0.2, 0.3]])
    values = {
        "native": np.array([[0.0, 4.0, 8.0]] * 3),
        "mapped": np.array([[1.0, 3.0, 10.0]] * 3),
        "none": np.array([[9.0, 0.0, 16.0]] * 3),
    }
    rows = ContinuationRows(["a", "b", "c"], values, np.full(3, 4), np.full(3, 20))
    r2 = {"keys": np.array([0.5, 0.7]), "values": np.array([0.2, 0.4])}
    one = FittedCacheMap(None, r2, {})
    found = calibration_numbers({"mapped": one}, ArmRows(rows, {"mapped": cosines}))
    wanted = {
        "select_r2": 0.45,
        "select_r2_keys": 0.6,
        "select_r2_values": 0.3,
        "select_cosine": 3.5 / 6,
        "select_cosine_least": 1.6 / 3,
        "select_agreement": 0.75,
        "select_retention": 0.75,
    }
    assert found == pytest.approx({f"gate/{k}_mapped": v for k, v in wanted.items()})


def test_retention_is_one_for_native_and_none_for_no_context():
    assert retention_of_sums(np.array([5.0, 5.0, 9.0])) == 1
    assert retention_of_sums(np.array([9.0, 5.0, 9.0])) == 0
    assert retention_of_sums(np.array([11.0, 5.0, 9.0])) == -0.5
